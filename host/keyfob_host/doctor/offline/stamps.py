"""The time at the beginning of a log's line, in the forms that brokers and loggers write.

mosquitto's seconds since 1970 and its ``log_timestamp_format``, ISO 8601, syslog's; one behind
the other, as journald puts its own before mosquitto's: the inner one, which the program wrote,
counts. A time without a zone is taken for UTC, and syslog's, which has no year, for the last
one that is not in the future of ``now``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_EPOCH = re.compile(r"(\d{9,11})(?:\.\d{1,9})?: ?")
_ISO = re.compile(
    r"\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?\]?:? ?"
)
_SYSLOG = re.compile(
    r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d) (?:[\w.-]{1,64} )?(?:[\w./-]{1,40}"
    r"(?:\[\d{1,7}\])?: )?"
)
_MONTHS = {name: number for number, name in enumerate(
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
)}  # fmt: skip
_DAY = timedelta(days=1)
_STAMPS = 2


def split(line: str, now: datetime) -> tuple[datetime | None, str]:
    """The time of a line, None if it has none, and what stands behind it."""
    at: datetime | None = None
    for _ in range(_STAMPS):
        for pattern, read in ((_EPOCH, _epoch), (_ISO, _iso), (_SYSLOG, _syslog)):
            match = pattern.match(line)
            found = read(match, now) if match else None
            if match and found:
                at, line = found, line[match.end() :]
                break
        else:
            break
    return at, line


def _epoch(match: re.Match[str], _now: datetime) -> datetime | None:
    return datetime.fromtimestamp(int(match[1]), timezone.utc)


def _iso(match: re.Match[str], _now: datetime) -> datetime | None:
    zone = match[4] or "Z"
    if zone != "Z" and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    fraction = f".{match[3][:6]:0<6}" if match[3] else ""
    return _made(f"{match[1]}T{match[2]}{fraction}{'+00:00' if zone == 'Z' else zone}")


def _syslog(match: re.Match[str], now: datetime) -> datetime | None:
    if match[1] not in _MONTHS:
        return None
    for year in (now.year, now.year - 1):
        at = _made(f"{year}-{_MONTHS[match[1]]:02}-{int(match[2]):02}T{match[3]}+00:00")
        if at is not None and at <= now + _DAY:
            return at
    return None


def _made(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
