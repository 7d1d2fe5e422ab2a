"""TOML files read strictly into dataclasses: what is not declared is not accepted.

The dataclass is the schema. A field without a default is required; ``Annotated[int,
Range(1, 9)]`` and ``Annotated[str, Pattern("…")]`` bound a value and ``Literal[…]`` lists
the values there are. Nested dataclasses are tables, ``tuple[X, ...]`` is an array and
``dict[str, X]`` a table whose keys the file chooses. The first fault is refused with
the field's dotted name, the file and the line. What a value means (does a chip of
that name exist?) is for the caller to check, with `refuse_field`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_Schema = TypeVar("_Schema")
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"^\s*({_DOTTED})\s*=")


@dataclass(frozen=True)
class Range:
    """The least and the greatest number (or length of an array) that a field takes."""

    least: float
    greatest: float

    def refuses(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""
        count = len(value) if isinstance(value, (str, tuple)) else value
        if self.least <= count <= self.greatest:
            return None
        return f"from {self.least:g} to {self.greatest:g}"


@dataclass(frozen=True)
class Pattern:
    """A regular expression that the whole of a string must match; ``means`` says it in words."""

    expression: str
    means: str

    def refuses(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""
        return None if re.fullmatch(self.expression, value) else self.means


def read_strict(path: Path, schema: type[_Schema], *, what: str = "settings") -> _Schema:
    """The file ``path`` as an instance of the dataclass ``schema``.

    ``what`` names the kind of file in errors ("board file"). Errors: `KeyfobHostError`
    ``file.*`` when it cannot be read, ``toml.syntax``, ``toml.missing-field``,
    ``toml.unknown-field``, ``toml.wrong-type`` and ``toml.out-of-range``.
    """
    content = read_bounded(path, f"read the {what}")
    try:
        text = content.decode("utf-8")
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers and nesting without end
        raise KeyfobHostError(
            "toml.syntax", f"the {what} {path.name} is not TOML",
            evidence=f"{path}: {error}", fix=f"correct {path} at the place named above",
        ) from error  # fmt: skip
    return cast(_Schema, _Reader(path, text, what).table(data, schema, ""))


def refuse_field(
    path: Path, dotted: str, value: object, wanted: str, *, what: str
) -> KeyfobHostError:
    """The error for a field of good type whose value the caller cannot accept."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    return _Reader(path, text, what).error("toml.out-of-range", dotted, f"is {value!r}", wanted)


class _Reader:
    def __init__(self, path: Path, text: str, what: str) -> None:
        self._path = path
        self._what = what
        self._lines = _locate(text)

    def error(self, code: str, dotted: str, wrong: str, wanted: str) -> KeyfobHostError:
        line = self._line(dotted)
        return KeyfobHostError(
            code,
            f"{self._what} {self._path.name}: {dotted} {wrong}",
            evidence=f"{self._path}:{line}: {dotted} {wrong}; wanted: {wanted}",
            fix=f"correct {dotted} in {self._path}, line {line}",
        )

    def _line(self, dotted: str) -> int:
        """The line of a field; of the table it belongs to where the file lacks it."""
        names = dotted
        while names:
            # With the number of a table in an array of them; without that of an item.
            for pattern in (r"$^", r"\[\d+\]$", r"\[\d+\]"):
                line = self._lines.get(re.sub(pattern, "", names))
                if line is not None:
                    return line
            names = names.rpartition(".")[0]
        return 1

    def table(self, data: dict[str, Any], schema: type[Any], prefix: str) -> Any:
        """``data`` as an instance of ``schema``; ``prefix`` is its dotted name and a dot."""
        hints = get_type_hints(schema, include_extras=True)
        fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
        for name in data:
            if name not in fields:
                near = difflib.get_close_matches(name, fields, 1)
                wanted = f"perhaps {near[0]}" if near else f"one of {', '.join(fields)}"
                raise self.error("toml.unknown-field", prefix + name, "is no field", wanted)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in data:
                values[name] = self.value(data[name], hints[name], prefix + name)
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise self.error(
                    "toml.missing-field", prefix + name, "is missing", _describe(hints[name])
                )
        return schema(**values)

    def value(self, value: Any, hint: Any, dotted: str) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            checked = self.value(value, arguments[0], dotted)
            for bound in arguments[1:]:
                wrong = bound.refuses(checked)
                if wrong:
                    raise self.error("toml.out-of-range", dotted, f"is {value!r}", wrong)
            return checked
        if origin in (Union, types.UnionType):  # an optional field: TOML has no null
            (inner,) = [one for one in arguments if one is not type(None)]
            return self.value(value, inner, dotted)
        if origin is Literal:
            if value not in arguments or type(value) not in {type(one) for one in arguments}:
                raise self.error("toml.out-of-range", dotted, f"is {value!r}", _describe(hint))
            return value
        if origin is tuple and isinstance(value, list):
            return tuple(
                self.value(item, arguments[0], f"{dotted}[{index}]")
                for index, item in enumerate(value)
            )
        if origin is dict and isinstance(value, dict):
            return {
                key: self.value(item, arguments[1], f"{dotted}.{key}")
                for key, item in value.items()
            }
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            return self.table(value, cast(type[Any], hint), f"{dotted}.")
        if hint is float and type(value) is int:
            return float(value)
        if type(value) is hint:  # exactly: true is no integer here
            return value
        raise self.error("toml.wrong-type", dotted, f"is {value!r}", _describe(hint))


def _describe(hint: Any) -> str:
    """What a field takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [b for b in arguments[1:] if isinstance(b, (Range, Pattern))]
        words = [b.means if isinstance(b, Pattern) else b.refuses(b.least - 1) for b in bounds]
        return " ".join([_describe(arguments[0]), *(word for word in words if word)])
    if origin in (Union, types.UnionType):
        return _describe(next(one for one in arguments if one is not type(None)))
    if origin is Literal:
        return "one of " + ", ".join(repr(one) for one in arguments)
    if origin is tuple:
        return f"an array, each {_describe(arguments[0])}"
    return _NAMES.get(hint, "a table")


def _locate(text: str) -> dict[str, int]:
    """Line number of each dotted name in TOML that is known to parse; the first of each wins.

    A table of an array (``[[x]]``) is there as ``x[0]``, ``x[1]`` … and, the first, as ``x``.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    fence: str | None = None  # inside a multi-line string: what ends it
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is None:
            header, assignment = _HEADER.match(line), _ASSIGNMENT.match(line)
            if header:
                table = _plain(header[2])
                lines.setdefault(table, number)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = f"{table}[{counts[table]}]"
                    lines[table] = number
            elif assignment:
                name = _plain(assignment[1])
                lines.setdefault(f"{table}.{name}" if table else name, number)
        for mark in re.findall(r'"""|\'\'\'', line):
            if fence is None:
                fence = mark
            elif mark == fence:
                fence = None
    return lines


def _plain(dotted: str) -> str:
    """``a . "b"`` as ``a.b``."""
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))
