"""The results of a run, gathered where the report is written: a pytest plugin.

What each result says was told where its case ran (`keyfob_host.hil.telling`), by this process
or by a worker with a board of its own. A case that was tried again keeps every attempt; one
that a worker died of is an error of that board, and of no other. A test that asks for nothing
of the bench is told as pytest reports it, and a case of which nothing came is an error: what
was not looked at must not look as if it were well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from keyfob_host.hil.case import bounded
from keyfob_host.hil.lineup import HEIR_OF, Options
from keyfob_host.hil.plugin import BENCH_ERROR, TOLD
from keyfob_host.hil.progress import Progress
from keyfob_host.hil.report.data import (
    VERDICTS,
    Attempt,
    Board,
    Case,
    Measure,
    Result,
    Text,
    Verdict,
)
from keyfob_host.hil.telling import reason_of

PREFIX, SUFFIX = "test_", ".py"


class Results:
    """Registered as ``keyfob-results``; `cases`, `boards` and `results` when pytest has ended.

    ``progress`` shows them as they come. ``boards``: those of the run. `broken`: files that
    could not be loaded, with the reason. `is_interrupted`: by a person, which pytest's exit
    status does not tell from files that are broken and from stopping at a failure.
    """

    def __init__(self, progress: Progress, boards: Sequence[Options]) -> None:
        self._progress = progress
        self._asked = {one.name: Board(**one.told()) for one in boards}
        self.boards: dict[str, Board] = {}
        self.cases: dict[str, Case] = {}
        self.results: dict[tuple[str, str], Result] = {}
        self.broken: dict[str, str] = {}
        self.is_interrupted = False
        self.bench_error: Exception | None = None
        self._orphaned: list[str] = []  # boards whose worker died
        self._heirs: dict[str, str] = {}  # the board of a worker that has another's place
        self._again: set[tuple[str, str]] = set()  # its next report is of another attempt

    def count(self, verdict: Verdict) -> int:
        """How many results there are of that verdict."""
        return sum(one.verdict == verdict for one in self.results.values())

    @property
    def has_failed(self) -> bool:
        """Whether any case did."""
        return bool(self.count("fail") or self.count("error"))

    def add_missing(self) -> None:
        """Of what should have been run to its end: an error for each case without a result."""
        for board in self._asked.values():
            of_board = {case for name, case in self.results if name == board.name}
            # The only one may be called otherwise by now: a device, once it is known.
            seen = of_board if len(self._asked) > 1 else {case for _, case in self.results}
            for case in self.cases.values():
                if case.id not in seen:
                    told = _nothing_told(self._board_named(board.name), "error", "it was not run")
                    self._add(case, told, 0.0, is_again=False)

    # -- hooks of pytest

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken[report.nodeid] = why_broken(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest and pytest-xdist have subclasses of KeyboardInterrupt for reasons of their own.
        self.is_interrupted = excinfo.type in (KeyboardInterrupt, pytest.exit.Exception)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._know(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._know(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self._orphaned.append(self._board_of(node))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        # Workers are called as their boards; one in place of another goes on with its board.
        if self._orphaned:
            self._heirs[node.gateway.id] = self._orphaned.pop(0)
            node.workerinput[HEIR_OF] = self._board_of(node)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = getattr(report, TOLD, None)
        if told is None:
            told = self._told_by_pytest(report)
        if told is not None:
            is_again = str(report.outcome) == "rerun"  # an outcome of pytest-rerunfailures
            self._add(case_of(report.nodeid), told, report.duration, is_again=is_again)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.bench_error = session.config.stash.get(BENCH_ERROR, None)

    # -- inside

    def _told_by_pytest(self, report: pytest.TestReport) -> dict[str, Any] | None:
        """Of a worker that is gone, or of a test that asks for nothing of the bench."""
        node = getattr(report, "node", None)
        board = self._board_named(self._board_of(node) if node else None)
        if report.when not in ("setup", "call", "teardown"):
            return _nothing_told(board, "error", "the process that ran it died")
        if report.when != "call" and report.passed:
            return None
        verdict: Verdict = "pass" if report.passed else "skip" if report.skipped else "fail"
        if verdict == "fail" and report.when != "call":
            verdict = "error"
        told = _nothing_told(board, verdict, reason_of(report))
        if report.failed:
            told["evidence"] = [{"title": "assertion", "text": bounded(report.longreprtext)}]
        return told

    def _board_named(self, name: str | None) -> Board:
        if name is None:
            return next(iter({**self._asked, **self.boards}.values()))
        return {**self._asked, **self.boards}.get(name, Board(name, "", name))

    def _board_of(self, node: Any) -> str:
        worker = str(node.gateway.id)
        return self._heirs.get(worker, worker)

    def _know(self, ids: Iterable[str]) -> None:
        for nodeid in ids:
            case = case_of(nodeid)
            self.cases.setdefault(case.id, case)
        if self.cases and not self.broken:
            self._progress.begin(len(self.cases))

    def _add(self, case: Case, told: dict[str, Any], seconds: float, *, is_again: bool) -> None:
        board = Board(**told["board"])
        self.boards[board.name] = board
        # A case that failed before it told its criterion has the one that it told elsewhere.
        known = self.cases.get(case.id, case)
        criterion = told["criterion"] or known.criterion
        self.cases[case.id] = replace(known, rung=told["rung"], criterion=criterion)
        key = (board.name, case.id)
        before = self.results.get(key)
        attempt = Attempt(told["verdict"], told["reason"], seconds)
        earlier = before.attempts if before else ()
        if before is not None and key not in self._again:
            # Its call was told, and now what came behind it.
            last, earlier = earlier[-1], earlier[:-1]
            if VERDICTS.index(last.verdict) > VERDICTS.index(attempt.verdict):
                attempt = last
        self._again.discard(key)
        if is_again:
            self._again.add(key)
        self.results[key] = Result(
            board=board.name,
            case=case.id,
            verdict=attempt.verdict,
            seconds=attempt.seconds,
            reason=attempt.reason,
            warnings=tuple(told["warnings"]),
            attempts=(*earlier, attempt),
            evidence=tuple(Text(**one) for one in told["evidence"]),
            events=tuple(told["events"]),
            measures=tuple(
                Measure(one["name"], one["unit"], tuple(one["values"]), one["note"])
                for one in told["measures"]
            ),
            diagnosis=told["diagnosis"],
        )
        is_last = key not in self._again
        self._progress.show(self.cases[case.id], self.results[key], is_last=is_last)


def case_of(nodeid: str) -> Case:
    """The case of pytest's ``keyfob/test_tls.py::test_broker_…``."""
    file, _, name = nodeid.partition("::")
    path = PurePosixPath(file)
    part = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
    suite = path.parent.name or "own"
    words = name.removeprefix(PREFIX).replace("_", " ")
    return Case(id=f"{suite}/{part}::{name}", suite=suite, part=part, name=words)


def why_broken(report: pytest.CollectReport) -> str:
    """Why a file could not be loaded: the last line that pytest marks as its error."""
    lines = report.longreprtext.splitlines()
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (marked or lines or ["pytest gave no reason"])[-1]


def _nothing_told(board: Board, verdict: Verdict, reason: str | None) -> dict[str, Any]:
    return {
        "board": vars(board), "verdict": verdict, "reason": reason, "rung": None,
        "criterion": None, "warnings": [], "measures": [], "evidence": [], "events": [],
        "diagnosis": None,
    }  # fmt: skip
