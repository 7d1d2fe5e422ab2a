"""Brokers that are no package of this machine's, from Debian, unpacked and never installed.

- ejabberd, an independent implementation of MQTT 3.1.1 and 5.0 with all of QoS 0 to 2.
- mosquitto 2.1, which can be told to refuse versions of the protocol.

Fetched once, below the cache folder, as `tools/micropython32.py` does it: the mirror is
that of the machine's own apt sources, apt checks the signatures, and the programs run
with their own libraries through their own dynamic loader.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

from keyfob_host.listeners import free_port
from keyfob_host.mpy import cache_folder
from keyfob_host.virtual import micropython32
from keyfob_host.virtual.micropython32 import KEYRING, Unavailable, mirror, run

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
_START_LIMIT_S = 30.0
_Self = TypeVar("_Self", bound="BrokerProcess")


def unpacked(package: str, suite: str) -> Path:
    """Where it is, with all that it needs; skips the test where it cannot be had."""
    folder = cache_folder() / f"{package}-{suite}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            try:
                _fetch(folder, package, suite)
            except Unavailable as why:
                pytest.skip(f"no {package} of Debian {suite}: {why}")
    return folder


def _fetch(folder: Path, package: str, suite: str) -> None:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise Unavailable("an amd64 program needs x86-64 Linux")
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("apt-get and dpkg-deb are not here")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        state = Path(scratch)
        for name in ("lists/partial", "archives/partial", "etc"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        state.chmod(0o755)  # apt reads as its own user
        (state / "etc/sources.list").write_text(
            f"deb [arch=amd64 signed-by={KEYRING}] {mirror()} {suite} main\n"
        )
        options = [word.replace("i386", "amd64") for word in micropython32.options(state)]
        apt = ["apt-get", "-q", *options]
        run([*apt, "update"])
        run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", package])
        root = state / "root"
        for file in sorted((state / "archives").glob("*.deb")):
            run(["dpkg-deb", "-x", str(file), str(root)])
        # What installing would have done: a link for each library's soname.
        run([shutil.which("ldconfig") or "/sbin/ldconfig", "-n", str(root / LIBRARIES)])
        root.replace(folder)


class BrokerProcess:
    """A process that listens on `port`."""

    port: int

    def start(self, command: list[str], folder: Path, **environment: str) -> None:
        self._log = folder / "broker.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, "HOME": str(folder), **environment},
            )  # fmt: skip
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Ejabberd(BrokerProcess):
    """Anybody may log in, but must: with `LOGIN`."""

    SUITE = "trixie"
    LOGIN = ("bench", "bench")
    CONFIG = """\
hosts: [localhost]
loglevel: info
listen:
  - {{port: {port}, ip: "127.0.0.1", module: mod_mqtt}}
auth_method: anonymous
anonymous_protocol: login_anon
modules:
  mod_mqtt: {{}}
"""

    def __init__(self, folder: Path) -> None:
        root = unpacked("ejabberd", self.SUITE)
        self.port = free_port()
        (folder / "ejabberd.yml").write_text(self.CONFIG.format(port=self.port))
        erlang = root / "usr/lib/erlang"
        (programs,) = erlang.glob("erts-*/bin")
        code = min((root / LIBRARIES).glob("ejabberd-*/ebin"))  # one is a link to the other
        loader = f"{root / LOADER} --library-path {root / LIBRARIES}"
        helpers = folder / "bin"
        helpers.mkdir()
        for name in ("erl_child_setup", "inet_gethost"):
            (helpers / name).write_text(f'#!/bin/sh\nexec {loader} {programs / name} "$@"\n')
            (helpers / name).chmod(0o755)
        emulator = ["-root", str(erlang), "-bindir", str(helpers), "-progname", "erl"]
        self.start(
            [
                *loader.split(), str(programs / "beam.smp"), "--", *emulator,
                "--", "-home", str(folder), "--",
                "-noinput", "-boot", "start_sasl", "-pa", str(code),
                "-mnesia", "dir", f'"{folder}/db"', "-s", "ejabberd",
            ],
            folder, EMU="beam", ROOTDIR=str(erlang), BINDIR=str(helpers), PROGNAME="erl",
            EJABBERD_CONFIG_PATH=str(folder / "ejabberd.yml"),
            EJABBERD_LOG_PATH=str(folder / "ejabberd.log"),
        )  # fmt: skip


class Mosquitto21(BrokerProcess):
    """mosquitto 2.1 with ``lines`` for its only listener."""

    SUITE = "forky"

    def __init__(self, folder: Path, *lines: str) -> None:
        root = unpacked("mosquitto", self.SUITE)
        self.port = free_port()
        config = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "log_type all"]
        (folder / "mosquitto.conf").write_text("\n".join([*config, *lines]) + "\n")
        self.start(
            [
                str(root / LOADER), "--library-path", str(root / LIBRARIES),
                str(root / "usr/sbin/mosquitto"), "-c", str(folder / "mosquitto.conf"),
            ],
            folder,
        )  # fmt: skip
