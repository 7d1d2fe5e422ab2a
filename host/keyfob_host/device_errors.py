"""``firmware/errors.txt``: what each error code of the board means and how to mend it.

Blocks separated by blank lines; a code, then indented ``cause``, ``fix``, ``source``
and ``retry`` (``wait``: network or clock, tried again soon; ``stop``: told at once,
retried slowly). A longer value goes on in lines indented deeper. The board's shell
reads the same file; that every code raised stands in it is for a test to prove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded

_FIELDS = ("cause", "fix", "source", "retry")
_CODE = re.compile(r"[a-z0-9]+\.[a-z0-9-]+")
_FIELD = re.compile(r"  (\w+): (.*\S)")
_CONTINUED = re.compile(r" {4,}(.*\S)")


@dataclass(frozen=True)
class DeviceError:
    """One code of the board's. ``retry`` is ``wait`` or ``stop``."""

    code: str
    cause: str
    fix: str
    source: str
    retry: str


def load_device_errors(path: Path | None = None) -> dict[str, DeviceError]:
    """All codes in ``path`` (by default the firmware's own ``errors.txt``).

    Errors: ``file.*``, ``firmware.bad-errors-file`` with the line.
    """
    path = path or data_path("firmware") / "errors.txt"
    content = read_bounded(path, "read the board's error table")
    errors: dict[str, DeviceError] = {}
    code, fields, start, last = "", dict[str, str](), 0, ""
    lines = content.decode("utf-8", "replace").splitlines()
    for number, line in enumerate([*lines, ""], start=1):
        field, continued = _FIELD.fullmatch(line), _CONTINUED.fullmatch(line)
        if not line.strip():
            if code:
                errors[code] = _block(path, start, code, fields)
            code, fields, last = "", {}, ""
        elif line.startswith("#"):
            continue
        elif not code and _CODE.fullmatch(line) and line not in errors:
            code, start = line, number
        elif code and field and field[1] in _FIELDS and field[1] not in fields:
            last = field[1]
            fields[last] = field[2]
        elif last and continued:
            fields[last] += f" {continued[1]}"
        else:
            raise _bad(path, number, f"not expected here: {line!r}")
    return errors


def _block(path: Path, line: int, code: str, fields: dict[str, str]) -> DeviceError:
    missing = [name for name in _FIELDS if name not in fields]
    if missing:
        raise _bad(path, line, f"{code} has no {', '.join(missing)}")
    if fields["retry"] not in ("wait", "stop"):
        raise _bad(path, line, f"{code}: retry is {fields['retry']!r}, neither wait nor stop")
    return DeviceError(code, **fields)


def _bad(path: Path, line: int, what: str) -> KeyfobHostError:
    return KeyfobHostError(
        "firmware.bad-errors-file", f"{path.name} does not have the shape it should",
        evidence=f"{path}:{line}: {what}", fix=f"correct {path}, line {line}",
    )  # fmt: skip
