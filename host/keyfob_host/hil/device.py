"""A device under test of which nothing is known but that it speaks MQTT over TLS to the bench.

What the cases of the advisor may use of it: `BoardDevice` is a Keyfob board behind that
face, `ExternalDevice` one that nobody here can reach but over the network.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from keyfob_host.hil.bench_board import BenchBoard
from keyfob_host.hil.external import ExternalBench
from keyfob_host.hil.topic_filters import example_of


@dataclass(frozen=True)
class Topics:
    """``command``: what it subscribes to, None if that is nothing; ``publishes``: a filter of
    what it publishes."""

    command: str | None
    publishes: str


class Device(Protocol):
    """``name``: its client identifier as the broker last saw it; None before it connected."""

    @property
    def name(self) -> str | None: ...

    @property
    def topics(self) -> Topics: ...

    def restart(self) -> None:
        """Have it connect anew, from the beginning where it can be reset; returns at once."""

    def knows(self, capability: str) -> bool:
        """Whether it can be seen, or done to, in that way: ``"serial"``, ``"power"``, …"""


class BoardDevice:
    """A Keyfob board; ``capabilities``: those of its bench."""

    def __init__(self, board: BenchBoard, capabilities: Collection[str]) -> None:
        self._board = board
        self._capabilities = capabilities

    @property
    def name(self) -> str | None:
        return self._board.device_id

    @property
    def topics(self) -> Topics:
        prefix = f"devices/{self._board.device_id}"
        return Topics(f"{prefix}/command", f"{prefix}/#")

    def restart(self) -> None:
        """As its reset button does."""
        self._board.reset()

    def knows(self, capability: str) -> bool:
        return capability in self._capabilities


class ExternalDevice:
    """One of any make."""

    def __init__(self, bench: ExternalBench) -> None:
        self._bench = bench

    @property
    def name(self) -> str | None:
        return self._bench.client_id

    @property
    def topics(self) -> Topics:
        """Of what it subscribed to when it came, and whatever it publishes."""
        command = next(map(example_of, self._bench.filters), None)
        return Topics(command, "#")

    def restart(self) -> None:
        """It is cut off, and connects by itself."""
        self._bench.broker.relay.cut()

    def knows(self, capability: str) -> bool:
        return capability in self._bench.options.capabilities()
