"""A board's console: Keyfob's events, MicroPython's tracebacks, ESP-IDF's and the ROM's lines.

Events count milliseconds since the boot; ``clock.set`` says what time that was by the board's
clock, and where a logger put its own time before the lines, by how much the two differ. What an
application prints is passed over, but for exceptions.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from keyfob_host.console import Event, parse_event
from keyfob_host.doctor.catalogue import causes_of_device_code
from keyfob_host.doctor.offline.readings import by_readers
from keyfob_host.doctor.offline.signs import Arrival, LogRead, Sign, merged
from keyfob_host.doctor.offline.stamps import split
from keyfob_host.printable import LINE_CHARS, printable

_TROUBLE = re.compile(
    r"Error\b|Exception\b|rst:0x|rst cause|Brownout|Guru Meditation|invalid header|wdt|watchdog|"
    r"ets_main|csum err|flash read err|CORRUPT HEAP|abort\(\)|DOWNLOAD|waiting for download|"
    r"No bootable|partition table|no AP found|beacon timeout|smashing"
)
_MOST_TEXT = 120
# A reset tells of trouble only where the board starts again and again.
_RESET = re.compile(r"rst:0x(?:1|3|c) |rst cause:[12]")
_RESETS = 4
# An event: the rungs that hold since; "" for all.
_STORE = ("settings", "store")
_PASSED: dict[str, tuple[str, ...]] = {
    "boot": ("firmware", "serial"),
    "wifi.up": ("wifi",),
    "clock.set": ("wifi", "clock", "name"),
    "store.loaded": _STORE,
    "tls.up": ("wifi", "clock", "name", "tcp", "tls", "x509", *_STORE),
    "mqtt.up": ("",),
}
# What begins otherwise was never DER; what is cut short begins well.
_NO_DER = re.compile(r"offset 0: tag (?!48,)")
_INNER = re.compile(r": ((?:x509|store|tls)\.[a-z-]{2,40})")
_CLOCK = re.compile(r", clock (\d{4}-\d\d-\d\dT[\d:]{8}Z)")
_AHEAD = "clock.board-ahead"
_DAY = timedelta(days=1)
_FALLBACK = "store.fallback"
_EARLY = re.compile(r": (\d{1,12}), want (\d{1,12})")
# The other end closed it: its own words count, where they are there.
_CLOSED = (
    "tls.closed", "tls.reset", "tls.truncated", "tls.no-answer", "tls.broken", "mqtt.closed-again",
)  # fmt: skip
# An exception that says no more than that either.
_LOST = re.compile(r"OSError: (?:\[Errno )?(?:104|32|103)\b|CONN_LOST|-29312|-30592")
# One that was not a person's hand, and whose words are in the same line.
_EXCEPTION = re.compile(r"(?!KeyboardInterrupt|SystemExit)[A-Za-z_]\w*(: \S|$)")
_BY_HAND = "KeyboardInterrupt"
_TRACEBACK = "Traceback (most recent call last):"
# Lost so again and again, the board is not well although it came back.
_TAKEN = ("mqtt.closed-again", "mqtt.taken-over")
_AGAIN = 2
_FAR_S = 120


def read_console_log(
    where: str, lines: list[tuple[int, str]], now: datetime, ahead_s: float = 0.0
) -> LogRead:
    """``ahead_s``: by how much the board's clock is ahead of the others."""
    read = LogRead(where, "board's console", len(lines))
    clock = _Clock(ahead_s)
    signs: list[Sign] = []
    devices: list[str] = []
    is_traceback = False
    for number, whole in lines:
        stamp, line = split(whole, now)
        event = parse_event(line)
        place = f"{where}:{number}"
        if event is None:
            sign = _of_text(place, line, stamp)
            is_last = is_traceback and not line.startswith(" ")
            if is_last and sign is None and _EXCEPTION.match(line):
                sign = _of_program(place, line, stamp, "firmware.program-error")
            elif is_last and line.startswith(_BY_HAND):
                sign = _of_program(place, line, stamp, "firmware.program-stopped")
            is_traceback = line.strip() == _TRACEBACK or (is_traceback and not is_last)
        else:
            at = clock.at(event, stamp, read)
            if event["ev"] == "boot":
                devices.append(printable(str(event.get("device", "")), limit=LINE_CHARS))
            sign = _of_event(place, event, at, now)
            signs = [_after(one, str(event["ev"])) for one in signs]
            if event["ev"] == "mqtt.up":
                client = str(event.get("client_id") or (devices or [""])[-1])
                read.arrivals.append(Arrival(printable(client, limit=LINE_CHARS), at))
        if sign is not None:
            signs.append(sign)
        read.saw(sign.at if sign else stamp)
    read.signs = [
        replace(one, is_over=one.is_over and not (one.kind in _TAKEN and one.count >= _AGAIN))
        for one in merged(signs)
        if one.count >= _RESETS or not _RESET.search(one.text)
    ]
    read.notes += clock.notes(where)
    return read


def _after(sign: Sign, event: str) -> Sign:
    """Over, if ``event`` says that the board came past it."""
    places = _PASSED.get(event)
    if sign.kind.startswith(_FALLBACK):
        places = ("",) if event == "boot" else None  # it runs, with its other identity
    if sign.is_over or places is None:
        return sign
    return replace(sign, is_over="" in places or sign.causes[0].partition(".")[0] in places)


class _Clock:
    """The board's: what time it was at a boot's beginning, once ``clock.set`` said so."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)
        self._booted: datetime | None = None
        self._against: timedelta | None = None

    def at(self, event: Event, stamp: datetime | None, read: LogRead) -> datetime | None:
        """When ``event`` was: a logger's own time before it is another clock's, and is kept."""
        since = event.get("t")
        if event["ev"] == "boot":
            self._booted = None
        if not isinstance(since, int):
            return stamp
        unix_s = event.get("unix_s")
        if event["ev"] == "clock.set" and isinstance(unix_s, int) and 0 <= unix_s < 1 << 34:
            set_at = datetime.fromtimestamp(unix_s, timezone.utc)
            self._booted = set_at - self._ahead - timedelta(milliseconds=since)
            if stamp is not None:
                self._against = set_at - stamp
        if stamp is not None:
            return stamp
        if self._booted is None or not 0 <= since < 1 << 31:
            return None
        at = self._booted + timedelta(milliseconds=since)
        read.saw(at)
        return at

    def notes(self, where: str) -> list[str]:
        if self._against is None or abs(self._against.total_seconds()) < _FAR_S:
            return []
        seconds = round(self._against.total_seconds())
        how = "ahead of" if seconds > 0 else "behind"
        return [
            f"{where}: the board's clock is {abs(seconds)} s {how} the logger's (clock.set "
            "against the time before its line)"
        ]


def _of_event(where: str, event: Event, at: datetime | None, now: datetime) -> Sign | None:
    code = event.get("code")
    if not isinstance(code, str):
        return None
    detail = event.get("detail")
    inner = _INNER.search(str(detail)) if code == "store.no-identity" else None
    causes = causes_of_device_code(inner[1]) if inner else ()
    causes = causes or causes_of_device_code(code)
    if not causes:
        return None
    early = _EARLY.search(str(detail)) if code == "clock.implausible" else None
    if early and int(early[1]) < int(early[2]):
        causes = ("clock.no-ntp-answer",)  # what the server said, and not the board's own time
    if "x509.malformed" in (code, inner[1] if inner else "") and _NO_DER.search(str(detail)):
        causes = ("store.wrong-form",)
    clock = _CLOCK.search(str(detail))
    read = split(clock[1], now)[0] if clock else None
    if read is not None and _AHEAD in causes:  # it says what its clock was, so that is known
        is_ahead = read > now + _DAY
        causes = tuple(one for one in causes if (one == _AHEAD) == is_ahead) or causes
    text = f"{code}: {detail}" if detail else code
    return Sign(
        "board", f"{_FALLBACK}{code}" if event["ev"] == _FALLBACK else code,
        printable(text, limit=_MOST_TEXT), where, causes, at, is_echo=code in _CLOSED
    )  # fmt: skip


def _of_text(where: str, line: str, at: datetime | None) -> Sign | None:
    if not _TROUBLE.search(line):
        return None
    kind, causes = by_readers(line)
    if not causes:
        return None
    is_echo = bool(_LOST.search(line))
    return Sign(
        "board", kind, printable(line, limit=_MOST_TEXT), where, causes, at, is_echo=is_echo
    )


def _of_program(where: str, line: str, at: datetime | None, cause: str) -> Sign:
    """The last line of a traceback that says nothing of Keyfob's way to the broker."""
    text = printable(line, limit=_MOST_TEXT)
    return Sign("board", text, text, where, (cause,), at)
