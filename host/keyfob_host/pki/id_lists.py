"""Which ids: a pattern with a number in it, or a file with one id a line.

A pattern has one placeholder, ``{}`` or a width filled with zeros and a base (``{:05}``,
``{:04x}``), which is all that is read of Python's format syntax: nothing in a pattern can
reach further. Every id is judged as a device's id is, and none may come twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.pki.names import check_device_id

MAX_IDS = 1_000_000

_PLACEHOLDER = re.compile(r"\{(?::(?:0([1-9][0-9]?))?([dxX]?))?\}")
_EXAMPLE = "--pattern 'sensor-{:05}' --count 10000"
# An id has at most 64 characters; comments and line ends come on top.
_MAX_FILE_BYTES = 128 * MAX_IDS


def numbered_ids(pattern: str, start: int, count: int) -> list[str]:
    """``count`` ids from ``start`` on; errors ``cert.bad-pattern``, ``cert.bad-id``."""
    found = list(_PLACEHOLDER.finditer(pattern))
    rest = _PLACEHOLDER.sub("", pattern)
    if len(found) != 1 or set("{}") & set(rest):
        raise KeyfobHostError(
            "cert.bad-pattern",
            "a pattern has one placeholder for the number: {}, or as {:05} and {:04x}",
            evidence=f"{pattern[:80]!r} has {len(found)}"
            + (" and other braces" if set("{}") & set(rest) else ""),
            fix=f"keyfob cert devices {_EXAMPLE}",
        )
    before, after = pattern[: found[0].start()], pattern[found[0].end() :]
    width, base = found[0].groups()
    form = (f"0{width}" if width else "") + (base or "")
    ids = [f"{before}{number:{form}}{after}" for number in range(start, start + count)]
    for device_id in ids:
        check_device_id(device_id)
    return ids


def read_ids(path: Path) -> list[str]:
    """One id a line, without empty lines and those that begin with ``#``.

    Errors: ``cert.bad-id`` and ``cert.id-twice`` with the line, ``cert.no-ids``, ``file.*``.
    """
    content = read_bounded(path, "read the ids", limit=_MAX_FILE_BYTES)
    found: dict[str, int] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        device_id = line.strip()
        if not device_id or device_id.startswith("#"):
            continue
        if device_id in found:
            raise KeyfobHostError(
                "cert.id-twice",
                "an id stands twice in the file, and two devices of one id shut each other out",
                evidence=f"{path}: {device_id!r} in lines {found[device_id]} and {number}",
                fix=f"sort {quote(str(path))} | uniq -d",
            )
        try:
            check_device_id(device_id)
        except KeyfobHostError as error:
            error.evidence = f"{path}, line {number}: {error.evidence}"
            raise
        found[device_id] = number
    if not 0 < len(found) <= MAX_IDS:
        raise KeyfobHostError(
            "cert.no-ids",
            f"the file has {'no ids' if not found else 'too many ids'}; "
            f"1 to {MAX_IDS} are made at a time",
            evidence=f"{path}: {len(found)}",
            fix=f"one id a line, or: keyfob cert devices {_EXAMPLE}",
        )
    return list(found)
