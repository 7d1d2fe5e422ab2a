"""Who has a port: the program that already listens where something of ours wants to.

Linux reads /proc, elsewhere ``lsof`` is asked where there is one. Nobody is asked to
leave: the answer is for an error message.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Protocol = Literal["tcp", "udp"]

_TCP_LISTEN = "0A"  # include/net/tcp_states.h
_UDP_BOUND = "07"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago; another program may still be faster."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def loopback_of(bind: str) -> str:
    """Where this machine reaches a listener bound to ``bind``: "every address" is none to dial."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared only


def who_listens(port: int, protocol: Protocol = "tcp") -> str:
    """The holder of ``port`` in words: ``pid 812 (mosquitto)``, or that it cannot be seen."""
    if Path("/proc/net/tcp").exists():
        return _from_proc(port, protocol)
    if shutil.which("lsof"):
        return _from_lsof(port, protocol)
    return "a program that cannot be named without lsof"


def _from_proc(port: int, protocol: Protocol) -> str:
    owner = ""
    for inode, uid in _sockets(port, protocol):
        for fd_folder in Path("/proc").glob("[0-9]*/fd"):
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                for link in fd_folder.iterdir():
                    if _target(link) == f"socket:[{inode}]":
                        pid = fd_folder.parent.name
                        return f"pid {pid} ({_program(pid)})"
        owner = _user(uid)
    return f"a program of user {owner}" if owner else "a program that ended meanwhile"


def _sockets(port: int, protocol: Protocol) -> Iterator[tuple[str, int]]:
    """(inode, uid) of every socket that holds ``port``."""
    wanted = _TCP_LISTEN if protocol == "tcp" else _UDP_BOUND
    for table in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == wanted:
                    yield fields[9], int(fields[7])


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _program(pid: str) -> str:
    try:
        words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError:
        return "?"
    # The program and what it was started with, without the path in front of it.
    return " ".join([Path(words[0]).name, *words[1:4]]).strip()[:120]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _from_lsof(port: int, protocol: Protocol) -> str:
    state = ["-sTCP:LISTEN"] if protocol == "tcp" else []
    shown = subprocess.run(
        ["lsof", "-nP", f"-i{protocol.upper()}:{port}", *state, "-Fpc"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    pid = next((line[1:] for line in shown if line.startswith("p")), "")
    program = next((line[1:] for line in shown if line.startswith("c")), "?")
    return f"pid {pid} ({program})" if pid else "a program of another user"
