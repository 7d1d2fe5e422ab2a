"""What a run of the suites came to, as data: what ``report.json`` holds, field for field.

A run fills these and hands them to `keyfob_host.hil.report.writing`; what is read back by
`keyfob_host.hil.report.reading` is the same again. Nothing is checked or cut here: what is
read is checked there, what is written is cut by `keyfob_host.hil.report.bounds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

FORMAT = "keyfob-hil-1"

Verdict = Literal["pass", "warn", "fail", "skip", "error"]
# error: the run ended before all was tested, or the bench did not come up.
Status = Literal["passed", "failed", "error", "interrupted"]
VERDICTS: tuple[Verdict, ...] = ("pass", "warn", "fail", "skip", "error")
BAD: frozenset[Verdict] = frozenset(("fail", "error"))
GOOD: frozenset[Verdict] = frozenset(("pass", "warn"))


def run_id(started: datetime) -> str:
    """How a run is called that began then, in UTC: ``20261121T231500Z``."""
    return started.strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True)
class Run:
    """``id`` is that of `run_id`, ``started`` the same as RFC 3339 has it."""

    id: str
    started: str
    seconds: float
    command: str
    suites: tuple[str, ...]
    status: Status


@dataclass(frozen=True)
class Board:
    """A board (or another device) that was tested. None: not known, or it has none.

    ``error``: why it could not be tested at all.
    """

    name: str
    kind: str
    title: str
    place: str | None = None
    chip: str | None = None
    firmware: str | None = None
    micropython: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Case:
    """A case: ``id`` is ``smoke/tls::test_…``, ``rung`` one of the doctor's ladder."""

    id: str
    suite: str
    part: str
    name: str
    rung: str | None = None
    criterion: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One of the times that a case was tried on a board."""

    verdict: Verdict
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class Text:
    """A named piece of evidence: a console's lines, a broker's log, what a tap saw."""

    title: str
    text: str


@dataclass(frozen=True)
class Measure:
    """A series of measured values, in the order in which they were taken."""

    name: str
    unit: str
    values: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True)
class Result:
    """How ``case`` (its id) ended on ``board`` (its name): a cell of the matrix.

    ``reason``: one line, of what did not pass. ``attempts``: all of them in order, the
    last being the verdict's. ``events``: the board's, the last ones. ``diagnosis``: the
    doctor's, in its ``--json`` shape.
    """

    board: str
    case: str
    verdict: Verdict
    seconds: float
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Text, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    measures: tuple[Measure, ...] = ()
    diagnosis: Mapping[str, Any] | None = None

    @property
    def is_flaky(self) -> bool:
        """Whether it passed, but not at once: with the same firmware it did both."""
        return self.verdict in GOOD and any(one.verdict in BAD for one in self.attempts[:-1])


@dataclass(frozen=True)
class Report:
    """All of a run. ``versions``: of what took part, None where it is not here."""

    run: Run
    versions: Mapping[str, str | None]
    boards: tuple[Board, ...]
    cases: tuple[Case, ...]
    results: tuple[Result, ...]
    format: str = field(default=FORMAT)

    def as_dict(self) -> dict[str, Any]:
        """As ``report.json`` has it, made of what JSON knows."""
        told = asdict(self)
        return {"format": told.pop("format"), **told}

    def cells(self) -> dict[tuple[str, str], Result]:
        """The results by board and case; a case that was not begun on a board has none."""
        return {(one.board, one.case): one for one in self.results}

    def counts(self) -> dict[str, int]:
        """How many results each verdict has, and ``flaky``: of those that passed, not at once."""
        found = Counter(one.verdict for one in self.results)
        flaky = sum(one.is_flaky for one in self.results)
        return {**{name: found[name] for name in VERDICTS}, "flaky": flaky}


def in_words(report: Report) -> str:
    """``smoke on 8 boards: 54 pass, 2 fail``: what a run was and came to, in a line."""
    counts = report.counts()
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    kinds = sorted({one.kind for one in report.boards})
    boards = kinds[0] if len(report.boards) == 1 else f"{len(report.boards)} boards"
    how = "; interrupted" if report.run.status == "interrupted" else ""
    return f"{', '.join(report.run.suites)} on {boards}: {told or 'no result'}{how}"
