"""Everything a board said during a run, and waiting for what it says next.

The console is closed and opened again around work at the board's prompt; the log is
one. A story has a cursor in it: `EventLog.wait` looks at what came after the last
event that a wait returned, so that waits written one after the other are an order
that is checked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone

from keyfob_host.console import Event, matches, parse_event
from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.evidence import Evidence

Predicate = Callable[[Event], bool]

_KEEP_LINES = 5_000
_SHOWN_EVENTS = 12
_SHOWN_LINES = 40
# Events that say whether the board has its connection; the last of them counts.
_CONNECTED, _NOT_CONNECTED = "mqtt.up", ("boot", "mqtt.down")


class EventLog:
    """Filled by `add`, a line at a time and from any thread; read by stories."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._changed = threading.Condition()
        self._lines: deque[str] = deque(maxlen=_KEEP_LINES)
        self._events: list[Event] = []
        self._last_at: datetime | None = None
        self._begin = 0
        self._cursor = 0
        self._line_begin = 0
        self._line_total = 0
        self._boot_is_due = False
        self._gone: KeyfobHostError | None = None

    @property
    def gone(self) -> KeyfobHostError | None:
        """What the console ended with, None while lines can come."""
        with self._changed:
            return self._gone

    def end(self, error: KeyfobHostError | None) -> None:
        """No line comes any more, so that nobody waits for one; None: they come again."""
        with self._changed:
            self._gone = error
            self._changed.notify_all()

    def add(self, line: str) -> None:
        """A whole line came from the board."""
        event = parse_event(line)
        with self._changed:
            self._lines.append(line)
            self._line_total += 1
            if event is not None:
                self._events.append(event)
                self._last_at = datetime.now(timezone.utc)
                if self._boot_is_due and event["ev"] == "boot":
                    self._boot_is_due = False
                    self._begin = self._cursor = len(self._events) - 1
            self._changed.notify_all()

    def begin(self, *, boot: bool = False) -> None:
        """From here on only what comes is looked at; with ``boot``, from the next boot on.

        What a board printed just before it was reset may still be under way in the
        line, so after a reset nothing counts until it says that it booted.
        """
        with self._changed:
            self._begin = self._cursor = len(self._events)
            self._line_begin = self._line_total
            self._boot_is_due = boot

    def events(self, name: str = "") -> list[Event]:
        """The events since `begin`, all or those called ``name`` (``error``, ``clock.*``)."""
        with self._changed:
            if self._boot_is_due:
                return []
            return [one for one in self._events[self._begin :] if not name or matches(one, name)]

    def latest(self, name: str) -> Event | None:
        """The last event ``name`` of the run."""
        with self._changed:
            return next((one for one in reversed(self._events) if one["ev"] == name), None)

    @property
    def last_at(self) -> datetime | None:
        """When the last event came, by this host's clock."""
        with self._changed:
            return self._last_at

    def tail(self) -> str:
        """The last console lines, whichever story's: evidence."""
        with self._changed:
            return "\n".join(list(self._lines)[-_SHOWN_LINES:])

    def everything(self) -> str:
        """All console lines of the run that are still kept."""
        with self._changed:
            return "\n".join(self._lines)

    def lines(self) -> list[str]:
        """The console lines since `begin`."""
        with self._changed:
            count = self._line_total - self._line_begin
            return list(self._lines)[-count:] if count else []

    def is_connected(self) -> bool:
        """Whether the last that was heard of the connection is that it stands."""
        with self._changed:
            for event in [] if self._boot_is_due else reversed(self._events):
                if event["ev"] == _CONNECTED:
                    return True
                if event["ev"] in _NOT_CONNECTED:
                    return False
        return False

    def is_starting(self) -> bool:
        """Whether the board was reset, and nothing has gone wrong since."""
        with self._changed:
            if self._boot_is_due:
                return True
            recent = self._events[self._begin :]
        return bool(recent) and recent[0]["ev"] == "boot" and not self.events("error")

    def wait(self, name: str, where: Predicate | None, timeout_s: float, wanted: str) -> Event:
        """The next event ``name`` ("": any) that ``where`` accepts; ``wanted`` says it in words."""
        __tracebackhide__ = True
        event = self.find(name, where, timeout_s)
        if event is None:
            raise self._evidence.failure(
                f"{wanted} did not come within {timeout_s:g} s; its last events:\n" + self._shown()
            )
        return event

    def find(self, name: str, where: Predicate | None, timeout_s: float) -> Event | None:
        """As `wait`, but None when it did not come. Errors: what the console ended with."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for at in range(self._cursor, 0 if self._boot_is_due else len(self._events)):
                    event = self._events[at]
                    is_named = not name or matches(event, name)
                    if is_named and (where is None or where(event)):
                        self._cursor = at + 1
                        return event
                if self._gone is not None:
                    raise self._gone
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def wait_line(self, text: str, timeout_s: float) -> str:
        """The first line since `begin` with ``text`` in it."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout_s
        while True:
            for line in self.lines():
                if text in line:
                    return line
            with self._changed:
                if self._gone is not None:
                    raise self._gone
                if time.monotonic() > end:
                    break
                self._changed.wait(0.1)
        raise self._evidence.failure(f"a line with {text!r} did not come within {timeout_s:g} s")

    def _shown(self) -> str:
        found = self.events()[-_SHOWN_EVENTS:]
        return "\n".join(f"    {_text(event)}" for event in found) or "    (none)"


def _text(event: Event) -> str:
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("t", "ev"))
    return f"{event.get('t', '?'):>7} ms  {event['ev']}  {fields}"
