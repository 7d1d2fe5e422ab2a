"""What the tap saw, in files: events as JSON lines, and a pcap file for Wireshark.

The pcap is made up from what passed the proxy (IPv4 and TCP headers of its own, a packet a
TLS record, linktype RAW), not taken from a network: no retransmissions, no true addresses
but the board's IPv4. Bytes of encrypted records, and of what is no TLS, are zeros in it, so
it holds no more than the events do. Both are bounded, and readable by their owner only.
"""

from __future__ import annotations

import ipaddress
import json
import os
import struct
import time
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any

from keyfob_host.doctor.conversation import Sender
from keyfob_host.errors import explain_os_error
from keyfob_host.files import KEY_MODE

MOST_EVENT_BYTES = 8 << 20
MOST_CAPTURE_BYTES = 64 << 20

_MAGIC_NS = 0xA1B23C4D  # pcap with nanoseconds
_LINKTYPE_RAW = 101
_SNAP_BYTES = 65535
_SEGMENT_BYTES = 60000
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_ELSEWHERE = "127.0.0.1"


class EventFile:
    """Appends events to ``path``; when it is full, it becomes ``path``.1 and a new one begins.

    Errors at the start: ``file.*``, ``host.*``. Later ones end the writing, and are in `trouble`.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self.path = path
        self.trouble = ""
        self._most_bytes = most_bytes
        with explain_os_error(path, "write the tap's events"):
            self._file = self._open()

    def write(self, event: dict[str, Any]) -> None:
        """One line, at once in the file."""
        if self.trouble:
            return
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        try:
            if self._file.tell() and self._file.tell() + len(line) > self._most_bytes:
                self._file.close()
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                self._file = self._open()
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror or error}"

    def close(self) -> None:
        """Nothing is written from here on."""
        self._file.close()

    def _open(self) -> BufferedWriter:
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, KEY_MODE), "ab")


@dataclass
class _Flow:
    """Addresses, and what each side has sent so far."""

    address: dict[Sender, tuple[bytes, int]]
    sequence: dict[Sender, int] = field(default_factory=lambda: {"board": 0, "broker": 0})


class Capture:
    """A pcap file at ``path``, begun anew. Errors as `EventFile`."""

    def __init__(self, path: Path, most_bytes: int = MOST_CAPTURE_BYTES) -> None:
        self.path = path
        self.trouble = ""
        self._left = most_bytes
        self._flows: dict[int, _Flow] = {}
        with explain_os_error(path, "write the capture"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, KEY_MODE)
            self._file = os.fdopen(descriptor, "wb")
        self._put(struct.pack("<IHHiIII", _MAGIC_NS, 2, 4, 0, 0, _SNAP_BYTES, _LINKTYPE_RAW))

    def opened(self, number: int, peer: str, target: tuple[str, int]) -> None:
        """A connection begins: TCP's three packets."""
        host, _, port = peer.rpartition(":")
        flow = _Flow(
            {"board": (_packed(host), int(port)), "broker": (_packed(target[0]), target[1])}
        )
        self._flows[number] = flow
        self._packet(flow, "board", _SYN)
        flow.sequence["board"] += 1
        self._packet(flow, "broker", _SYN | _ACK)
        flow.sequence["broker"] += 1
        self._packet(flow, "board", _ACK)

    def sent(self, number: int, sender: Sender, data: bytes) -> None:
        """``data``, which was stripped of all that is not to be kept."""
        flow = self._flows[number]
        for at in range(0, len(data), _SEGMENT_BYTES):
            part = data[at : at + _SEGMENT_BYTES]
            self._packet(flow, sender, _PSH | _ACK, part)
            flow.sequence[sender] += len(part)

    def ended(self, number: int, sender: Sender, is_reset: bool) -> None:
        """FIN or RST of ``sender``."""
        flow = self._flows[number]
        self._packet(flow, sender, (_RST if is_reset else _FIN) | _ACK)
        flow.sequence[sender] += 1

    def closed(self, number: int) -> None:
        """No more of this connection."""
        self._flows.pop(number, None)

    def close(self) -> None:
        """Nothing is written from here on."""
        self._file.close()

    def _packet(self, flow: _Flow, sender: Sender, flags: int, data: bytes = b"") -> None:
        other: Sender = "broker" if sender == "board" else "board"
        (source, source_port), (target, target_port) = flow.address[sender], flow.address[other]
        acknowledged = flow.sequence[other] if flags & _ACK else 0
        tcp = struct.pack(
            ">HHIIBBHHH", source_port, target_port, flow.sequence[sender] & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0,
        ) + data  # fmt: skip
        pseudo = source + target + struct.pack(">BBH", 0, 6, len(tcp))
        tcp = tcp[:16] + struct.pack(">H", _checksum(pseudo + tcp)) + tcp[18:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + source + target
        ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
        now_ns = time.time_ns()
        size = len(ip) + len(tcp)
        head = struct.pack("<IIII", now_ns // 10**9, now_ns % 10**9, size, size)
        self._put(head + ip + tcp)

    def _put(self, data: bytes) -> None:
        if self.trouble:
            return
        self._left -= len(data)
        if self._left < 0:
            self.trouble = f"{self.path} is full and ends here"
            return
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self.trouble = f"{self.path}: {error.strerror or error}"


def _packed(host: str) -> bytes:
    try:
        return ipaddress.IPv4Address(host).packed
    except ValueError:  # a name or IPv6
        return ipaddress.IPv4Address(_ELSEWHERE).packed


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
