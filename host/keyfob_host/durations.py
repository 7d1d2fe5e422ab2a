"""Spans of time as people type them: ``12h``, ``30d``, ``4w``.

A whole number from 1 to 99999 and one unit, hours, days or weeks; nothing else. Months
and years are refused because they have no one length, minutes because ``m`` could be
either.
"""

from __future__ import annotations

import re
from datetime import timedelta

from keyfob_host.errors import ExitStatus, KeyfobHostError

_DURATION = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_duration(text: str) -> timedelta:
    """The span that ``text`` says; error ``host.bad-duration``."""
    found = _DURATION.fullmatch(text)
    if found is not None:
        return int(found[1]) * _UNITS[found[2]]
    raise KeyfobHostError(
        "host.bad-duration",
        "a span of time is a whole number and h, d or w, for hours, days or weeks",
        evidence=repr(text[:40]),
        fix="for example: 30d",
        status=ExitStatus.USAGE,
    )
