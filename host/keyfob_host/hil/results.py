"""The results of a run, gathered where the report is written: a pytest plugin.

What each result says was told where its case ran (`keyfob_host.hil.telling`), by this process
or by a worker with a board of its own. A case that was tried again keeps every attempt; one
that a worker died of is an error of that board, and of no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from keyfob_host.hil.lineup import HEIR_OF
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

PREFIX, SUFFIX = "test_", ".py"


class Results:
    """Registered as ``keyfob-results``; `cases`, `boards` and `results` when pytest has ended.

    ``progress`` shows them as they come.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.boards: dict[str, Board] = {}
        self.cases: dict[str, Case] = {}
        self.results: dict[tuple[str, str], Result] = {}
        self.bench_error: Exception | None = None
        self._orphaned: list[str] = []  # boards whose worker died
        self._heirs: dict[str, str] = {}  # the board of a worker that has another's place
        self._again: set[tuple[str, str]] = set()  # its next report is of another attempt

    def count(self, verdict: Verdict) -> int:
        """How many results there are of that verdict."""
        return sum(one.verdict == verdict for one in self.results.values())

    # -- hooks of pytest

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
        if told is not None:
            self._add(case_of(report.nodeid), told, report)
        elif report.when not in ("setup", "call", "teardown"):
            # pytest-xdist's own, of a worker that is gone.
            board = self._board_of(getattr(report, "node"))  # noqa: B009 (xdist's addition)
            reason = "the process that ran it died"
            known = self.boards.get(board, Board(board, "", board))
            self._add(case_of(report.nodeid), _nothing_told(known, reason), report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.bench_error = session.config.stash.get(BENCH_ERROR, None)

    # -- inside

    def _board_of(self, node: Any) -> str:
        worker = str(node.gateway.id)
        return self._heirs.get(worker, worker)

    def _know(self, ids: Iterable[str]) -> None:
        for nodeid in ids:
            case = case_of(nodeid)
            self.cases.setdefault(case.id, case)
        self._progress.begin(len(self.cases))

    def _add(self, case: Case, told: dict[str, Any], report: pytest.TestReport) -> None:
        board = Board(**told["board"])
        self.boards[board.name] = board
        # A case that failed before it told its criterion has the one that it told elsewhere.
        known = self.cases.get(case.id, case)
        criterion = told["criterion"] or known.criterion
        self.cases[case.id] = replace(known, rung=told["rung"], criterion=criterion)
        key = (board.name, case.id)
        before = self.results.get(key)
        attempt = Attempt(told["verdict"], told["reason"], report.duration)
        earlier = before.attempts if before else ()
        if before is not None and key not in self._again:
            # Its call was told, and now what came behind it.
            last, earlier = earlier[-1], earlier[:-1]
            if VERDICTS.index(last.verdict) > VERDICTS.index(attempt.verdict):
                attempt = last
        self._again.discard(key)
        if str(report.outcome) == "rerun":  # an outcome of pytest-rerunfailures
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


def _nothing_told(board: Board, reason: str) -> dict[str, Any]:
    return {
        "board": vars(board), "verdict": "error", "reason": reason, "rung": None,
        "criterion": None, "warnings": [], "measures": [], "evidence": [], "events": [],
        "diagnosis": None,
    }  # fmt: skip
