"""The two forms of time in a certificate: RFC 5280 section 4.1.2.5.

Always Zulu, always with seconds; UTCTime with two digits of the year until 2049,
GeneralizedTime with four from 2050 on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from keyfob_host.lint.der import GENERALIZED_TIME, UTC_TIME, Element, MalformedError, Walk

_FORM = re.compile(rb"(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?(Z|[+-]\d{4})?")
_FIRST_YEAR_OF_FOUR_DIGITS = 2050


@dataclass(frozen=True)
class Time:
    """``moment``: what is meant, None where nobody can tell. ``wrong``: why it is not as
    RFC 5280 says, "" if it is."""

    text: str
    moment: datetime | None
    wrong: str = ""

    def __str__(self) -> str:
        return f"{self.moment:%Y-%m-%dT%H:%M:%SZ}" if self.moment else self.text


def read_time(walk: Walk, element: Element) -> Time:
    """Errors: `MalformedError` for what is no time at all."""
    if element.tag not in (UTC_TIME, GENERALIZED_TIME):
        raise MalformedError(element.start, f"tag {element.tag:02x}, want a time")
    content = walk.content(element)
    text = content.decode("latin-1")
    short = element.tag == UTC_TIME
    wanted = "YYMMDDHHMMSSZ" if short else "YYYYMMDDHHMMSSZ"
    matched = _FORM.fullmatch(content)
    if matched is None or (len(matched[1]) == 2) != short:
        return Time(text, None, f"{text!r}, want {wanted}")
    year = int(matched[1])
    if short:
        year += 1900 if year >= 50 else 2000
    month, day, hour, minute, second = (int(part or 0) for part in matched.groups()[1:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        moment -= _offset(matched[7] or b"Z")
    except (ValueError, OverflowError):
        return Time(text, None, f"{text!r}, which is on no calendar")
    if len(content) != len(wanted) or content[-1:] != b"Z":
        return Time(text, moment, f"{text!r}, want {wanted}")
    if not short and year < _FIRST_YEAR_OF_FOUR_DIGITS:
        return Time(text, moment, f"{text!r}: four digits of a year before 2050, want UTCTime")
    return Time(text, moment)


def _offset(zone: bytes) -> timedelta:
    if zone == b"Z":
        return timedelta()
    sign = 1 if zone[:1] == b"+" else -1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
