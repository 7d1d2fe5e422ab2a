"""A board's console, read in the background: its lines, and its events to wait for.

An event is a line ``kf {json}`` with ``t`` (milliseconds since boot) and ``ev``;
DESIGN and `firmware/keyfob/events.py` list them. Nothing is sent to the board unless
`Console.write` is called, and opening does not reset it (`keyfob_host.serial_stream`).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.remote_ports import how_to_bring_back
from keyfob_host.serial_stream import ByteStream, open_stream

Event = dict[str, Any]
_Found = TypeVar("_Found")

_PREFIX = "kf "
_POLL_S = 0.1
_KEEP_LINES = 20_000
_SHOWN_LINES = 12
# A board with native USB leaves the bus at each reset and comes back.
_REOPEN_TIMEOUT_S = 8.0
_CLOSE_TIMEOUT_S = 10.0  # opening a port that has just come back may take a while
_MAX_LINE = 16_384
_MAX_T_MS = 1 << 42  # of a board's time since its boot: 139 years


def parse_event(line: str) -> Event | None:
    """The event in a console line, None if it has none (a broken one is plain text)."""
    # The prompt of an interrupted REPL may stand before it on the same line.
    _, found, text = line.partition(_PREFIX + "{")
    if not found:
        return None
    try:
        event = json.loads("{" + text)
    except (ValueError, RecursionError):
        return None
    t = event.get("t", 0)
    is_time = type(t) is int and 0 <= t < _MAX_T_MS
    return event if is_time and isinstance(event.get("ev"), str) else None


class Console:
    """The console at ``port`` (a device, a PTY, ``socket://…``, ``rfc2217://…``).

    Context manager. ``on_line`` is called in the reader's thread for each whole line.
    A port that goes away is opened again for ``reopen_timeout_s`` before that is an error,
    which ``on_gone`` is given in that thread.
    Errors on opening: those of `open_stream`.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = 115200,
        on_line: Callable[[str], None] | None = None,
        on_gone: Callable[[KeyfobHostError], None] | None = None,
        reopen_timeout_s: float = _REOPEN_TIMEOUT_S,
    ) -> None:
        self.port = port
        self._baud = baud
        self._on_line = on_line
        self._on_gone = on_gone
        self._reopen_timeout_s = reopen_timeout_s
        self._lines: deque[str] = deque(maxlen=_KEEP_LINES)
        self._events: list[Event] = []
        self._rest = ""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._gone: str | None = None
        self._total = 0  # lines ever read: the deque forgets the oldest
        self._stream: ByteStream
        self._thread: threading.Thread
        self._start()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port; lines and events stay readable."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)
        self._stream.close()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let another program (esptool, mpremote) have the port; go on reading afterwards.

        What the board prints meanwhile is that program's to see and is missing here.
        """
        self.close()
        try:
            yield
        finally:
            self._start()

    @property
    def events(self) -> list[Event]:
        """All events so far, oldest first."""
        with self._changed:
            return list(self._events)

    def lines(self) -> list[str]:
        """The last whole lines (at most 20,000), oldest first, without line ends."""
        with self._changed:
            return list(self._lines)

    def mark(self) -> int:
        """How many events there are: ``since`` of `wait_event`, to wait for later ones only."""
        with self._changed:
            return len(self._events)

    def write(self, data: bytes | str) -> None:
        """Send ``data`` to the board as if typed. Errors: ``port.unplugged``."""
        try:
            self._stream.write(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise self._unplugged(str(error)) from error

    def wait_event(
        self,
        name: str,
        predicate: Callable[[Event], bool] | None = None,
        *,
        timeout_s: float = 10.0,
        since: int = 0,
    ) -> Event:
        """The first event ``name`` at index ``since`` or later that ``predicate`` accepts.

        ``name`` may end in ``.*``. Waits for it if it has not come. Errors:
        ``console.no-event`` after ``timeout_s``, with the last lines; ``port.unplugged``.
        """

        def found() -> Event | None:
            for event in self._events[since:]:
                if matches(event, name) and (predicate is None or predicate(event)):
                    return event
            return None

        event = self._wait(found, timeout_s)
        if event is not None:
            return event
        wanted = f"event {name}" + (" that fits the condition" if predicate else "")
        raise self._too_late("console.no-event", wanted, timeout_s)

    def wait_line(self, pattern: str, *, timeout_s: float = 10.0) -> str:
        """The first line in which the regular expression ``pattern`` is found.

        Errors: ``console.no-line`` after ``timeout_s``, with the last lines.
        """

        def found() -> str | None:
            return next((line for line in self._lines if re.search(pattern, line)), None)

        line = self._wait(found, timeout_s)
        if line is not None:
            return line
        raise self._too_late("console.no-line", f"line like {pattern!r}", timeout_s)

    def follow(self, timeout_s: float | None = None) -> Iterator[str]:
        """Each line as it comes, from the first on; ends after ``timeout_s``.

        Errors: ``port.unplugged`` when the port went away and did not come back.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        read = 0
        while True:
            with self._changed:
                fresh = list(self._lines)[read - self._total :] if self._total > read else []
                read = self._total
                if not fresh:
                    left = _POLL_S if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        return
                    if self._gone is not None:
                        raise self._unplugged(self._gone)
                    self._changed.wait(min(left, _POLL_S))
            yield from fresh

    def _start(self) -> None:
        self._stream = open_stream(self.port, self._baud)
        self._closing.clear()
        self._gone = None
        self._thread = threading.Thread(target=self._read, name=f"console {self.port}", daemon=True)
        self._thread.start()

    def _wait(self, found: Callable[[], _Found | None], timeout_s: float) -> _Found | None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                result = found()
                if result is not None:
                    return result
                if self._gone is not None:
                    raise self._unplugged(self._gone)
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def _too_late(self, code: str, wanted: str, timeout_s: float) -> KeyfobHostError:
        last = [*self.lines()[-_SHOWN_LINES:], self._rest]
        shown = "\n".join(line for line in last if line) or "(the board printed nothing)"
        return KeyfobHostError(
            code,
            f"the board showed no {wanted} within {timeout_s:g} s",
            evidence=f"last on {self.port}:\n{shown}",
            fix="watch it live: keyfob monitor",
            status=ExitStatus.BOARD,
        )

    def _unplugged(self, why: str) -> KeyfobHostError:
        return KeyfobHostError(
            "port.unplugged", f"the port {self.port} went away and did not come back",
            evidence=why,
            fix=f"{how_to_bring_back(self.port)}; for a virtual board: keyfob board list",
            status=ExitStatus.BOARD,
        )  # fmt: skip

    def _read(self) -> None:
        while not self._closing.is_set():
            try:
                data = self._stream.read(_POLL_S)
            except (OSError, TypeError) as error:  # TypeError: pyserial, closed while reading
                if not self._reopened():
                    with self._changed:
                        self._gone = str(error)
                        self._changed.notify_all()
                    if self._on_gone and not self._closing.is_set():
                        self._on_gone(self._unplugged(str(error)))
                    return
                continue
            if data:
                self._take(data.decode("utf-8", "replace"))

    def _reopened(self) -> bool:
        self._stream.close()
        deadline = time.monotonic() + self._reopen_timeout_s
        while not self._closing.is_set() and time.monotonic() < deadline:
            try:
                self._stream = open_stream(self.port, self._baud)
                return True
            except KeyfobHostError:
                self._closing.wait(_POLL_S)
        return False

    def _take(self, text: str) -> None:
        *whole, rest = (self._rest + text).split("\n")
        if len(rest) > _MAX_LINE:  # noise without a line end must not fill the memory
            whole.append(rest)
            rest = ""
        whole = [line.rstrip("\r") for line in whole]
        with self._changed:
            self._rest = rest
            self._lines.extend(whole)
            self._total += len(whole)
            for line in whole:
                event = parse_event(line)
                if event is not None:
                    self._events.append(event)
            self._changed.notify_all()
        if self._on_line:
            for line in whole:
                self._on_line(line)


def matches(event: Event, name: str) -> bool:
    """Whether ``event`` is called ``name``, or its kind is ``name`` without a final ``.*``."""
    if name.endswith(".*"):
        return str(event["ev"]).startswith(name[:-1])
    return bool(event["ev"] == name)
