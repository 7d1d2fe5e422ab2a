"""A device under real mutual TLS, and a relay that fails at a record of its own choosing.

The device is the firmware as it stands (Wi-Fi, clock and identity included) on the unix
MicroPython, with an application that does what it is told (`mqtt_device.py`). What is
inside a record nobody but its ends can read; where one begins, everybody can.
"""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from certificates import Pair, make_leaf
from firmware_bench import DEVICE_ID, HERE, MICROPYTHON, Board, Mosquitto, mutual_tls
from mqtt_rig import EAGER, Device, Edit

from keyfob_host.relay import Connection, Direction, Fault, TcpRelay
from keyfob_host.relay_link import Link

APPLICATION_DATA = 23
_HEADER_BYTES = 5
Where = Literal["before", "header", "middle"]
_APP = """
from keyfob.client import Client
from mqtt_device import Device, follow

async def run(config):
    async with Client(config) as client:
        await follow(Device(client), config["app"]["steps"])
"""


class TlsBroker(Mosquitto):
    """mosquitto with mutual TLS on `port`, and in clear text on `plain_port` for the host."""

    def __init__(self, folder: Path, ca: Pair) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.plain_port = probe.getsockname()[1]
        server = make_leaf(ca, "broker", ("localhost",))
        tls = mutual_tls(folder, server, ca, "set_tcp_nodelay true", "max_queued_messages 0")
        super().__init__(folder, [*tls, f"listener {self.plain_port} 127.0.0.1"])


def make_flash(folder: Path, ca: Pair, *edits: Edit) -> Path:
    """What is on the flash of the device, but for its settings."""
    board = Board(folder)
    for module, old, new in [*EAGER, *edits]:
        board.edit(f"keyfob/{module}", old, new)
    board.provision([ca])
    (folder / "apps" / "story.py").write_text(_APP)
    shutil.copy(HERE / "mqtt_device.py", folder)
    return folder


class TlsDevice(Device):
    """Boots from a folder of `make_flash`."""

    def __init__(self, flash: Path, port: int, ntp_port: int, *steps: list, version: int) -> None:
        settings = {
            "device_id": DEVICE_ID,
            "wifi": {"ssid": "bench", "password": "bench"},
            "ntp": {"servers": [f"127.0.0.1:{ntp_port}"]},
            "broker": {"host": "localhost", "port": port, "keepalive_s": 5, "version": version},
            "app": {"name": "story", "steps": steps},
        }
        (flash / "keyfob.json").write_text(json.dumps(settings))
        run = [str(HERE / "run_firmware.py"), str(HERE / "shims"), str(flash)]
        self._start([str(MICROPYTHON), *run], flash, "")


@dataclass
class _Stream:
    """One direction of a connection, read as TLS records."""

    seen: bytearray = field(default_factory=bytearray)
    at: int = 0  # the first record whose header is not all there yet
    starts: list[int] = field(default_factory=list)  # of records of application data

    def read(self, passed: int, data: bytes) -> None:
        self.seen[passed:] = data
        while len(self.seen) >= self.at + _HEADER_BYTES:
            if self.seen[self.at] == APPLICATION_DATA:
                self.starts.append(self.at)
            size = self.seen[self.at + 3] << 8 | self.seen[self.at + 4]
            self.at += _HEADER_BYTES + size

    def place(self, record: int, where: Where) -> int | None:
        """The byte where that record of application data is hit, once it is known."""
        if record >= len(self.starts):
            return None
        start = self.starts[record]
        size = self.seen[start + 3] << 8 | self.seen[start + 4]
        return start + {"before": 0, "header": 3, "middle": _HEADER_BYTES + size // 2}[where]


class RecordRelay(TcpRelay):
    """Fails as `plan` says; what does not end the connection stays until `clear`."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self._planned: Fault | None = None
        self._plan: tuple[Direction, int, Where] = ("up", 0, "before")
        self._streams: dict[tuple[int, Direction], _Stream] = {}
        self._hit: Connection | None = None

    def plan(self, fault: Fault, direction: Direction, record: int, where: Where) -> RecordRelay:
        """``fault``, once: at that record, counted from 0 on each connection."""
        self._plan = (direction, record, where)
        self._hit = None
        self._planned = fault
        return self

    @property
    def was_hit(self) -> bool:
        return self._hit is not None

    @property
    def is_over(self) -> bool:
        """Whether the connection that was hit has ended."""
        return self._hit is not None and not self._hit.alive

    def records(self, direction: Direction) -> int:
        """How many of application data the first connection carried."""
        return len(self._stream(self.connections[0], direction).starts)

    def _stream(self, connection: Connection, direction: Direction) -> _Stream:
        return self._streams.setdefault((id(connection), direction), _Stream())

    async def _portion(self, link: Link, direction: Direction, data: bytes) -> bytes | None:
        passed = link.connection.passed[direction]
        stream = self._stream(link.connection, direction)
        stream.read(passed, data)
        wanted, record, where = self._plan
        if self._planned and not self.was_hit and direction == wanted:
            place = stream.place(record, where)
            if place is not None and place > passed:
                data = data[: place - passed]
            elif place == passed:
                self._hit = link.connection
                self._apply(self._planned)
        return await super()._portion(link, direction, data)
