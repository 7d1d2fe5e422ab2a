"""A bench for keys that are born on a board: with a CA, a broker and a time server for it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from esp8266_rig import make_esp8266
from littlefs import LittleFS
from provision_bench import board_files, powered_board
from virtual_rig import log, wait_until

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.home import Home
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.on_board import KeyChoice, OnBoardReport, provision_on_board
from keyfob_host.provision.provisioning import Settings
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport

NAME = "broker.keyfob.test"


@dataclass
class Bench:
    """A board with Keyfob's firmware, and a CA, a broker and a time server for it."""

    ref: BoardRef
    home: Home
    authority: Authority
    broker: MosquittoBroker | None
    settings: Settings

    def provision(self, ref: BoardRef | None = None, **options: Any) -> OnBoardReport:
        """As the command does it; the board restarts."""
        given = {"choice": KeyChoice(), "source": self.authority.issue_from_request, **options}
        with open_transport(ref or self.ref) as board:
            report = provision_on_board(board, self.ref.kind, self.home, self.settings, **given)
            board.reset()
        return report

    def log(self) -> str:
        assert self.ref.virtual is not None
        return log(self.ref.virtual)

    def connects(self, device_id: str, seen: int) -> str:
        """Wait until the board is connected as ``device_id``; what it said since ``seen``."""
        up = f'"client_id":"{device_id}"'
        wait_until(lambda: up in self.log()[seen:], lambda: self.log()[seen:])
        return self.log()[seen:]

    def files(self) -> dict[str, bytes]:
        """All files in the board's flash, read by another LittleFS than its own."""
        if self.ref.kind.chip != "esp8266":
            return board_files(self.ref)
        assert self.ref.virtual is not None
        flash = Path(self.ref.virtual.info()["flash"]).read_bytes()
        blocks = 763  # from the first megabyte on, to the 20 KB that the SDK keeps
        fs = LittleFS(block_size=4096, block_count=blocks, mount=False)
        fs.context.buffer = bytearray(flash[0x100000 : 0x100000 + blocks * 4096])
        fs.mount()
        found: dict[str, bytes] = {}
        for root, _, names in fs.walk("/"):
            for name in names:
                path = f"{root.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def slot(self) -> dict[str, bytes]:
        """Files of the active slot, by name."""
        files = self.files()
        folder = f"/id/{files['/id/active'].decode()}/"
        return {
            path.removeprefix(folder): content
            for path, content in files.items()
            if path.startswith(folder)
        }


@contextlib.contextmanager
def bench_with(folder: Path, kind: str) -> Iterator[Bench]:
    home = Home(folder / "home")
    authority = Authority.create(home.ca_dir)
    authority.issue_broker(NAME).write(home.certs_dir / "broker" / NAME)
    authority.issue_host().write(home.certs_dir / "device" / "keyfob-host")
    (folder / "ca.pem").write_bytes(authority.cert_pem())
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(
            MosquittoBroker(
                folder / "run", identity_dir=home.certs_dir / "broker" / NAME,
                ca_pem_path=folder / "ca.pem",
                host_identity_dir=home.certs_dir / "device" / "keyfob-host",
            )
        )  # fmt: skip
        ntp = stack.enter_context(NtpServer())
        if kind == "virtual-esp32":
            ref = stack.enter_context(powered_board(folder))
        else:
            stack.callback(make_esp8266(home).down)
            ref = open_board(kind, home=home)
        sync_board(ref, reset=False)
        settings = Settings(broker=f"{NAME}:{broker.port}", ntp=[f"ntp.keyfob.test:{ntp.port}"])
        yield Bench(ref, home, authority, broker, settings)


def keyfob(bench: Bench, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON document, and everything printed."""
    run = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", *map(str, arguments)],
        env={**os.environ, "KEYFOB_HOME": str(bench.home.root)},
        capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    return run.returncode, json.loads(run.stdout or "{}"), run.stdout + run.stderr


def on_board(bench: Bench, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    ntp = bench.settings.ntp[0]
    given = ("--broker", str(bench.settings.broker), "--ntp", ntp)
    return keyfob(bench, "provision", "--key-on-board", *given, *arguments)


def public_of(der: bytes) -> bytes:
    key = load_der_private_key(der, None)
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
