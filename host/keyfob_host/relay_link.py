"""A connection that a relay carries: its two sockets, what has passed, and how it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

from keyfob_host.relay_fault import Direction, Fault

_HEAD_BYTES = 16384
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, not FIN


@dataclass
class Connection:
    """One connection that the relay carried; counts go on while it lives."""

    started_s: float
    passed: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    head: dict[Direction, bytearray] = field(
        default_factory=lambda: {"up": bytearray(), "down": bytearray()}
    )
    alive: bool = True


@dataclass(eq=False)
class Link:
    """The two sockets of a live connection."""

    connection: Connection
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    was_reset: bool = False

    def close_by(self, fault: Fault, direction: Direction) -> bool:
        """Close as ``fault`` says; False when it is of a kind that closes nothing."""
        if fault.kind == "cut":
            self.reset()
        elif fault.kind == "half-close":
            writer = self.server if direction == "up" else self.client
            if not writer.is_closing() and writer.can_write_eof():
                writer.write_eof()
        return fault.kind in ("cut", "half-close")

    def count(self, direction: Direction, part: bytes) -> None:
        """So much more has passed."""
        self.connection.passed[direction] += len(part)
        head = self.connection.head[direction]
        head += part[: max(0, _HEAD_BYTES - len(head))]

    def reset(self) -> None:
        """Close both so that their ends see ECONNRESET."""
        self.was_reset = True
        reset_stream(self.client)
        reset_stream(self.server)

    def finish(self) -> None:
        """Close both; what was written still goes out."""
        self.connection.alive = False
        self.client.close()
        self.server.close()


def address_of(writer: asyncio.StreamWriter) -> str:
    """Of who is at the other end."""
    peer = writer.get_extra_info("peername") or ("?", 0)  # gone again already
    return f"{peer[0]}:{peer[1]}"


def reset_stream(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees ECONNRESET."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
