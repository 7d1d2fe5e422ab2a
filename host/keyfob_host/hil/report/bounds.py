"""A report made fit to be written: foreign text spelled out, everything of bounded size.

Consoles, brokers' logs and events hold what boards and peers said. What is no printable
character is spelled out (see `keyfob_host.printable`); what is too long is cut where a
reader misses it least, and says so. What a text means is not looked at: that no key and no
password is in it is for those to see to who gathered it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from keyfob_host.hil.report.data import Attempt, Board, Case, Measure, Report, Result, Text
from keyfob_host.printable import printable

LINE_CHARS = 1_000  # a reason, a warning, a name
TEXT_CHARS = 20_000  # a piece of evidence, a diagnosis
EVENT_CHARS = 2_000  # an event as JSON
EVENTS = 200
VALUES = 1_000
FEW = 50  # warnings, attempts, pieces of evidence, measures of one result
DEPTH = 8  # of what is in an event or a diagnosis
# Of all evidence together: more makes a page that a browser is slow to open.
TOTAL_CHARS = 24_000_000
_HEAD = 5  # of what is left of a text this part is its beginning
# What gives way first where all of it is too much.
_SHORTER = (("pass", 4_000), ("pass", 500), ("warn", 2_000), ("skip", 500), ("", 4_000), ("", 500))


def bounded(report: Report) -> Report:
    """``report`` as it can be written, and read again."""
    run = replace(
        report.run,
        command=line(report.run.command),
        suites=tuple(line(one) for one in report.run.suites[:FEW]),
        seconds=number(report.run.seconds),
    )
    results = tuple(_result(one) for one in report.results)
    for verdict, limit in _SHORTER:
        if sum(_size(one) for one in results) <= TOTAL_CHARS:
            break
        results = tuple(
            _shortened(one, limit) if verdict in ("", one.verdict) else one for one in results
        )
    return replace(
        report,
        run=run,
        versions={line(key): _maybe(value) for key, value in report.versions.items()},
        boards=tuple(_board(one) for one in report.boards),
        cases=tuple(_case(one) for one in report.cases),
        results=results,
    )


def line(text: str, limit: int = LINE_CHARS) -> str:
    """``text`` as one line of printable characters."""
    one = " ".join(text.split())
    return one if one.isprintable() and len(one) <= limit else printable(one, limit=limit)


def text(said: str, limit: int = TEXT_CHARS) -> str:
    """``said`` with its lines, the middle left out where it is too long."""
    if said.isprintable() and len(said) <= limit:
        return said.rstrip()
    lines = said.replace("\r\n", "\n").rstrip().split("\n")
    # Most lines of most texts need nothing, and there are hundreds of thousands of them.
    shown = "\n".join(one if one.isprintable() else printable(one, keep="\t") for one in lines)
    if len(shown) <= limit:
        return shown
    gap = f"\n… {len(shown) - limit} characters left out …\n"
    head = limit // _HEAD
    return shown[:head] + gap + shown[len(shown) - (limit - head - len(gap)) :]


def number(value: float) -> float:
    """``value`` with three decimals, 0 if it is no number."""
    return round(value, 3) if math.isfinite(value) else 0


def event(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event, or of one that is too long its time and name."""
    found: dict[str, Any] = _plain(dict(said), DEPTH)
    if len(json.dumps(found)) <= EVENT_CHARS:
        return found
    short = {key: found[key] for key in ("t", "ev") if isinstance(found.get(key), (int, str))}
    kept = {key: line(one, 80) if isinstance(one, str) else one for key, one in short.items()}
    return {**kept, "cut": "it was too long"}


def _board(one: Board) -> Board:
    return replace(
        one, name=line(one.name), kind=line(one.kind), title=line(one.title),
        place=_maybe(one.place), chip=_maybe(one.chip), firmware=_maybe(one.firmware),
        micropython=_maybe(one.micropython), error=_maybe(one.error),
    )  # fmt: skip


def _case(one: Case) -> Case:
    return replace(
        one, id=line(one.id), suite=line(one.suite), part=line(one.part), name=line(one.name),
        rung=_maybe(one.rung), criterion=_maybe(one.criterion),
    )  # fmt: skip


def _result(one: Result) -> Result:
    return replace(
        one,
        board=line(one.board),
        case=line(one.case),
        seconds=number(one.seconds),
        reason=_maybe(one.reason),
        warnings=tuple(line(said) for said in one.warnings[:FEW]),
        attempts=tuple(_attempt(tried) for tried in one.attempts[-FEW:]),
        evidence=tuple(Text(line(said.title), text(said.text)) for said in one.evidence[:FEW]),
        events=tuple(event(said) for said in one.events[-EVENTS:]),
        measures=tuple(_measure(taken) for taken in one.measures[:FEW]),
        diagnosis=_diagnosis(one.diagnosis),
    )


def _attempt(one: Attempt) -> Attempt:
    return replace(one, reason=_maybe(one.reason), seconds=number(one.seconds))


def _measure(one: Measure) -> Measure:
    values = [value for value in one.values if math.isfinite(value)]
    left_out = len(one.values) - len(values[:VALUES])
    notes = [one.note, f"{left_out} more are left out" if left_out else ""]
    return Measure(
        line(one.name),
        line(one.unit),
        tuple(round(value, 6) for value in values[:VALUES]),
        line("; ".join(note for note in notes if note)),
    )


def _diagnosis(found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if found is None:
        return None
    plain: dict[str, Any] = _plain(dict(found), DEPTH)
    if len(json.dumps(plain)) <= TEXT_CHARS:
        return plain
    kept = ("code", "cause", "confidence", "note")
    return {key: line(plain[key]) for key in kept if isinstance(plain.get(key), str)}


def _maybe(said: str | None) -> str | None:
    return None if said is None else line(said)


def _plain(value: Any, depth: int) -> Any:
    """``value`` as JSON can have it, of bounded depth and without what cannot be printed."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return text(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {line(str(key)): _plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, Iterable):
        return [_plain(one, depth - 1) for one in value]
    return line(str(value))


def _size(one: Result) -> int:
    return sum(len(said.text) for said in one.evidence) + 100 * len(one.events)


def _shortened(one: Result, limit: int) -> Result:
    events = one.events[-max(1, limit // 100) :]
    evidence = tuple(Text(said.title, text(said.text, limit)) for said in one.evidence)
    return replace(one, evidence=evidence, events=events)
