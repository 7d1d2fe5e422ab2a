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
from keyfob_host.doctor.explain import printable
from keyfob_host.doctor.offline.readings import by_readers
from keyfob_host.doctor.offline.signs import Arrival, LogRead, Sign, merged
from keyfob_host.doctor.offline.stamps import split

_TROUBLE = re.compile(
    r"Error\b|Exception\b|rst:0x|rst cause|Brownout|Guru Meditation|invalid header|wdt|watchdog|"
    r"ets_main|csum err|flash read err|CORRUPT HEAP|abort\(\)|DOWNLOAD|waiting for download|"
    r"No bootable|partition table|no AP found|beacon timeout|smashing"
)
_MOST_TEXT = 120
# A reset tells of trouble only where the board starts again and again.
_RESET = re.compile(r"rst:0x(?:1|3|c) |rst cause:[12]")
_RESETS = 4
_AGAIN = 3  # lost that often, the board is not well although it came back
_FAR_S = 120


def read_console_log(
    where: str, lines: list[tuple[int, str]], now: datetime, ahead_s: float = 0.0
) -> LogRead:
    """``ahead_s``: by how much the board's clock is ahead of the others."""
    read = LogRead(where, "board's console", len(lines))
    clock = _Clock(ahead_s)
    signs: list[Sign] = []
    devices: list[str] = []
    downs = 0  # since the last boot
    for number, whole in lines:
        stamp, line = split(whole, now)
        event = parse_event(line)
        place = f"{where}:{number}"
        if event is None:
            sign = _of_text(place, line, stamp)
        else:
            at = clock.at(event, stamp, read)
            if event["ev"] == "boot":
                devices.append(printable(str(event.get("device", ""))))
                downs = 0
                signs = [_booted(one) for one in signs]
            sign = _of_event(place, event, at)
            downs += event["ev"] == "mqtt.down"
            if event["ev"] == "mqtt.up" and downs < _AGAIN:
                signs = [replace(one, is_over=True) for one in signs]
                client = str(event.get("client_id") or (devices or [""])[-1])
                read.arrivals.append(Arrival(printable(client), at))
        if sign is not None:
            signs.append(sign)
        read.saw(sign.at if sign else stamp)
    read.signs = [
        one for one in merged(signs) if one.count >= _RESETS or not _RESET.search(one.text)
    ]
    read.notes += clock.notes(where)
    return read


def _booted(sign: Sign) -> Sign:
    """Over, if it is the ROM's or the firmware's: the program has begun."""
    return replace(sign, is_over=sign.is_over or sign.causes[0].startswith("firmware."))


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


def _of_event(where: str, event: Event, at: datetime | None) -> Sign | None:
    code = event.get("code")
    if not isinstance(code, str):
        return None
    causes = causes_of_device_code(code)
    if not causes:
        return None
    detail = event.get("detail")
    text = f"{code}: {detail}" if detail else code
    return Sign("board", code, printable(text[:_MOST_TEXT]), where, causes, at)


def _of_text(where: str, line: str, at: datetime | None) -> Sign | None:
    if not _TROUBLE.search(line):
        return None
    kind, causes = by_readers(line)
    if not causes:
        return None
    return Sign("board", kind, printable(line[:_MOST_TEXT]), where, causes, at)
