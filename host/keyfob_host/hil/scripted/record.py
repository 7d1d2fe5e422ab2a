"""What a scripted broker saw: connections, packets, and waiting for the next of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.scripted.connection import ScriptedConnection, Seen
from keyfob_host.hil.scripted.packets import Packet

WAIT_S = 40.0
_SHOWN_LINES = 60
Found = TypeVar("Found")


class Record:
    """Filled from the connections' threads; read, and waited on, by a case.

    ``connections`` and ``packets``: all of them, in the order in which they came.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.connections: list[ScriptedConnection] = []
        self.packets: list[Seen] = []
        self._evidence = evidence
        self._changed = threading.Condition()
        # Cursors: what waits have returned; and where `mark` was.
        self._connection_at = self._packet_at = 0
        self._begin = self._packet_begin = 0

    def mark(self) -> None:
        """From here on waits, `waits`, `received` and `opened` look only at what comes."""
        with self._changed:
            self._connection_at = self._begin = len(self.connections)
            self._packet_at = self._packet_begin = len(self.packets)

    def wait_connection(self, timeout_s: float = WAIT_S) -> ScriptedConnection:
        """The next connection: TCP alone, see its `tls_version` and `connect` for more.

        Connections are consumed in their order, as packets are by `wait_packet`.
        """
        __tracebackhide__ = True

        def next_one() -> ScriptedConnection | None:
            if len(self.connections) <= self._connection_at:
                return None
            self._connection_at += 1
            return self.connections[self._connection_at - 1]

        return self.wait(next_one, timeout_s, "a connection")

    def wait_session(self, timeout_s: float = WAIT_S) -> ScriptedConnection:
        """A connection that is open and was let in by a CONNACK: the newest one."""
        __tracebackhide__ = True
        return self.wait(self._session, timeout_s, "a session")

    def wait_packet(
        self,
        kind: str,
        where: Callable[[Packet], bool] | None = None,
        timeout_s: float = WAIT_S,
    ) -> Seen:
        """The next packet ``kind`` that ``where`` accepts.

        Packets are consumed in their order: a later wait looks at later packets only.
        """
        __tracebackhide__ = True
        wanted = f"a {kind}" + (" (fitting)" if where else "")
        return self.wait(lambda: self._find(kind, where), timeout_s, wanted)

    def find_packet(
        self, kind: str, where: Callable[[Packet], bool] | None, timeout_s: float
    ) -> Seen | None:
        """As `wait_packet`, but None when it did not come."""
        return self.look(lambda: self._find(kind, where), timeout_s)

    def wait_closed(
        self, connection: ScriptedConnection | None = None, timeout_s: float = WAIT_S
    ) -> ScriptedConnection:
        """Wait until ``connection`` (the newest) is over; its `end` says by whom."""
        __tracebackhide__ = True
        one = connection or self.connections[-1]
        return self.wait(lambda: None if one.is_open else one, timeout_s, f"end of #{one.number}")

    def look(self, find: Callable[[], Found | None], timeout_s: float) -> Found | None:
        """What ``find`` gives as soon as it gives something; None when it did not in time."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while (found := find()) is None:
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            return found

    def wait(self, find: Callable[[], Found | None], timeout_s: float, wanted: str) -> Found:
        """As `look`, but fails with the bench's evidence, in which ``wanted`` says for what."""
        __tracebackhide__ = True
        found = self.look(find, timeout_s)
        if found is None:
            raise self._evidence.failure(
                f"{wanted} did not come to the scripted broker within {timeout_s:g} s"
            )
        return found

    def received(self, kind: str = "") -> list[Seen]:
        """What came since `mark`: everything or the packets ``kind``."""
        with self._changed:
            came = self.packets[self._packet_begin :]
            return [one for one in came if kind in ("", one.packet.kind)]

    def opened(self) -> list[ScriptedConnection]:
        """The connections that were opened since `mark`."""
        with self._changed:
            return self.connections[self._begin :]

    def waits(self) -> list[float]:
        """Seconds from the end of each connection to the beginning of the next, since `mark`;
        the first counts from the one that was open then."""
        with self._changed:
            found = []
            for one, following in pairwise(self.connections[max(self._begin - 1, 0) :]):
                ended_s = following.opened_s if one.ended_s is None else one.ended_s
                found.append(max(following.opened_s - ended_s, 0.0))
            return found

    def live(self) -> ScriptedConnection:
        """The newest open connection that was let in; fails when there is none."""
        __tracebackhide__ = True
        with self._changed:
            found = self._session()
        if found is None:
            raise self._evidence.failure("no device is connected to the scripted broker")
        return found

    def text(self) -> str:
        """What happened, a line each: evidence."""
        with self._changed:
            lines = [line for one in self.connections for line in one.lines]
        return "\n".join(text for _at_s, text in sorted(lines)[-_SHOWN_LINES:])

    # -- inside

    def _session(self) -> ScriptedConnection | None:
        for one in reversed(self.connections):
            if one.is_open and one.is_accepted:
                return one
        return None

    def _find(self, kind: str, where: Callable[[Packet], bool] | None) -> Seen | None:
        for at in range(self._packet_at, len(self.packets)):
            seen = self.packets[at]
            if seen.packet.kind == kind and (where is None or where(seen.packet)):
                self._packet_at = at + 1
                return seen
        return None
