"""What can be made to fail on a link that a relay carries, as data.

"up" is from the client (the board) to the server, "down" the other way; a byte's number
counts from the start of its connection, in its direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]
Kind = Literal["cut", "half-close", "stall", "delay", "throttle", "split"]


@dataclass(frozen=True)
class Fault:
    """One way of failing, in force for every connection until the next `TcpRelay.clear`.

    ``cut``         both sides are reset when byte ``at_byte`` is to pass
    ``half-close``  the receiver sees end of stream there; the other direction lives on
    ``stall``       nothing passes from there on, and nothing is closed
    ``delay``       every portion from there on arrives ``delay_s`` later
    ``throttle``    from there on ``bytes_per_s`` pass
    ``split``       from there on everything arrives, in pieces of ``piece_bytes``
    """

    kind: Kind
    direction: Literal["up", "down", "both"] = "both"
    at_byte: int = 0
    delay_s: float = 0.0
    bytes_per_s: int = 0
    piece_bytes: int = 0

    def __post_init__(self) -> None:
        if self.at_byte < 0 or self.delay_s < 0:
            raise ValueError(f"at_byte and delay_s are not negative: {self}")
        if (self.kind == "delay") != (self.delay_s > 0):
            raise ValueError(f"delay_s belongs to the delay, and a delay needs it: {self}")
        if (self.kind == "throttle") != (self.bytes_per_s > 0):
            raise ValueError(f"bytes_per_s belongs to the throttle, and it needs it: {self}")
        if (self.kind == "split") != (self.piece_bytes > 0):
            raise ValueError(f"piece_bytes belongs to the split, and it needs it: {self}")

    def acts_on(self, direction: Direction, passed: int) -> bool:
        """Whether it is in force for the next byte of ``direction``."""
        return self.direction in (direction, "both") and passed >= self.at_byte
