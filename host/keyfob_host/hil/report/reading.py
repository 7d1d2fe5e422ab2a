"""``report.json`` read strictly: a report may come from another machine, and be no report.

The dataclasses of `keyfob_host.hil.report.data` are the schema: a field that is missing,
unknown or of another type is refused with its place (``results[3].verdict``), and so are
names that do not fit together. What is larger than can be written is cut, see
`keyfob_host.hil.report.bounds`. Not checked: that times and verdicts make sense.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from collections import abc
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.hil.report import bounds
from keyfob_host.hil.report.data import FORMAT, Report
from keyfob_host.printable import LINE_CHARS, printable

REPORT_JSON = "report.json"
# A thousand results with all their evidence; see `bounds.TOTAL_CHARS`.
MAX_BYTES = 64 << 20
_ITEMS = 20_000
_EXACT = 1 << 53  # above, a whole number is none that every reader of JSON takes
_TYPES = {float: "a number", str: "a text"}

_Schema = TypeVar("_Schema")


class _Refused(ValueError):
    """Why it is no report: a place in it and what is wrong there."""


def read_report(path: Path) -> Report:
    """The report in the file ``path``, or in the folder ``path``.

    Errors: ``hil.bad-report``, ``file.*``.
    """
    file = path / REPORT_JSON if path.is_dir() else path
    content = read_bounded(file, "read the report", limit=MAX_BYTES)
    try:
        data = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
        report = from_data(Report, data)
        _check(report)
        # What is printed of it is printable, whoever wrote it.
        return bounds.bounded(report)
    except (ValueError, RecursionError) as error:
        raise KeyfobHostError(
            "hil.bad-report",
            f"{file.name} is no report of the suites",
            evidence=printable(f"{file}: {error}", limit=bounds.LINE_CHARS),
            fix=f"ls -l {quote(str(file.parent))}  # of a report, {REPORT_JSON} is the one to read",
        ) from error


def from_data(schema: type[_Schema], data: object) -> _Schema:
    """``data``, as JSON has it, as an instance of the dataclass ``schema`` of a report.

    Raises `ValueError` when it is none.
    """
    return cast(_Schema, _table(data, schema, ""))


def _table(data: object, schema: type[Any], place: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(place or "it", data, "an object")
    hints = _hints(cast(abc.Hashable, schema))
    fields = {field.name: field for field in dataclasses.fields(schema)}
    unknown = [name for name in data if name not in fields]
    if unknown:
        raise _Refused(f"{_below(place, unknown[0])} is no field of a report")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(data[name], hints[name], _below(place, name))
        elif field.default is dataclasses.MISSING or name == "format":
            raise _Refused(f"{_below(place, name)} is missing")
    return schema(**values)


@functools.cache
def _hints(schema: type[Any]) -> dict[str, Any]:
    return get_type_hints(schema)


def _value(value: Any, hint: Any, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = [one for one in arguments if one is not type(None)]
        return _value(value, inner, place)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _wrong(place, value, f"one of {', '.join(arguments)}")
        return value
    if origin is tuple:
        if not isinstance(value, list) or len(value) > _ITEMS:
            raise _wrong(place, value, f"a list of at most {_ITEMS}")
        return tuple(_value(one, arguments[0], f"{place}[{at}]") for at, one in enumerate(value))
    if origin is abc.Mapping:
        if not isinstance(value, dict):
            raise _wrong(place, value, "an object")
        return {key: _value(one, arguments[1], _below(place, key)) for key, one in value.items()}
    if dataclasses.is_dataclass(hint):
        return _table(value, cast(type[Any], hint), place)
    if hint is float and type(value) is int and abs(value) <= _EXACT:
        return value
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise _wrong(place, value, _TYPES.get(hint, "another type"))
    return value


def _check(report: Report) -> None:
    """That it is of this format, and that its parts name each other."""
    if report.format != FORMAT:
        raise _Refused(f"format is {report.format!r}, wanted {FORMAT!r}")
    boards = [one.name for one in report.boards]
    cases = [one.id for one in report.cases]
    cells = [(one.board, one.case) for one in report.results]
    for what, names in (("boards", boards), ("cases", cases), ("results", cells)):
        if len(set(names)) != len(names):
            twice = next(one for at, one in enumerate(names) if one in names[:at])
            raise _Refused(f"{what}: {twice!r} is there twice")
    known_boards, known_cases = set(boards), set(cases)
    for at, result in enumerate(report.results):
        if result.board not in known_boards:
            raise _Refused(f"results[{at}].board: there is no board {result.board!r}")
        if result.case not in known_cases:
            raise _Refused(f"results[{at}].case: there is no case {result.case!r}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("an object has a name twice")
    return found


def _no_number(name: str) -> None:
    raise _Refused(f"{name} is no number of JSON")


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _wrong(place: str, value: object, wanted: str) -> _Refused:
    shown = printable(repr(value), limit=LINE_CHARS)
    return _Refused(f"{place} is {shown}, wanted {wanted}")
