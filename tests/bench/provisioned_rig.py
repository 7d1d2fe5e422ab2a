"""A provisioned virtual board with a real broker and a time server of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision_bench import powered_board

from keyfob_host.boards import BoardRef
from keyfob_host.broker import MosquittoBroker
from keyfob_host.mqtt_host import HostClient
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard

NAME = "broker.keyfob.test"
DEVICE_ID = "sensor-01"


@dataclass
class Rig:
    """``key``: the board's private key, PEM, to prove that it is nowhere shown."""

    ref: BoardRef
    virtual: VirtualBoard
    broker: MosquittoBroker
    ntp: NtpServer
    folder: Path
    key: bytes

    def host(self) -> HostClient:
        """The bench's own client, which may read and write everything."""
        folder = self.folder / "id" / "keyfob-host"
        return HostClient("127.0.0.1", self.broker.port, folder, self.folder / "ca.pem", NAME)


@contextlib.contextmanager
def provisioned_board(
    folder: Path,
    files: dict[str, str | bytes] | None = None,
    app: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> Iterator[Rig]:
    """Keyfob's firmware, ``files`` beside it, and an identity; the application runs.

    ``extra``: more settings, by dotted key.
    """
    authority = Authority.ephemeral(common_name="Bench CA")
    (folder / "ca.pem").write_bytes(authority.cert_pem())
    authority.issue_broker(NAME).write(folder / "id" / NAME)
    authority.issue_host().write(folder / "id" / "keyfob-host")
    device = authority.issue_device(DEVICE_ID)
    with (
        MosquittoBroker(
            folder / "run", identity_dir=folder / "id" / NAME, ca_pem_path=folder / "ca.pem",
            host_identity_dir=folder / "id" / "keyfob-host",
        ) as broker,
        NtpServer() as ntp,
        powered_board(folder) as ref,
    ):  # fmt: skip
        sync_board(ref, reset=False)
        with open_transport(ref) as board:
            for path, text in (files or {}).items():
                board.write(path, text.encode() if isinstance(text, str) else text)
        given = Settings(
            broker=f"{NAME}:{broker.port}", ntp=[f"ntp.keyfob.test:{ntp.port}"],
            app=app or {}, extra=extra or {},
        )  # fmt: skip
        provision_board(ref, device, given)
        assert ref.virtual is not None
        yield Rig(ref, ref.virtual, broker, ntp, folder, device.key_pem())
