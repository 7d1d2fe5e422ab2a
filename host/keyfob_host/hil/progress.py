"""What a person sees of a run: a line for each result, as it comes, and what failed.

pytest's own output is switched off: it is made for tests of a program, of one process that
runs one after the other, and shows neither warnings nor a criterion. What failed is told at
the end with its evidence, a few cases of it: all of them are in the report.
"""

from __future__ import annotations

import contextlib
import sys

import pytest

from keyfob_host.hil.report.data import BAD, Case, Result
from keyfob_host.printable import printable

_DETAILED = 5
_MARKS = {"pass": "passed", "warn": "WARNED", "fail": "FAILED", "skip": "skipped", "error": "ERROR"}


class Progress:
    """A pytest plugin; ``boards``: their names, in the order of the columns of the report."""

    def __init__(self, boards: list[str]) -> None:
        self._boards = boards
        self._is_several = len(boards) > 1
        self._width = max(len(name) for name in boards) + 2 if self._is_several else 0
        # Taken now: standard output may stand for standard error during the run.
        self._out = sys.stdout
        self._shows_now = not self._is_several and self._out.isatty()
        self._cases: int | None = None
        self._done: set[tuple[str, str]] = set()
        self._errors: set[tuple[str, str]] = set()

    def begin(self, cases: int) -> None:
        """``cases`` were found; said once."""
        if self._cases is None:
            self._cases = cases
            where = f"{len(self._boards)} boards" if self._is_several else self._boards[0]
            noun = "case" if cases == 1 else "cases"
            self.say(f"{cases} {noun} on {where}; the bench comes up first")

    def show(self, case: Case, result: Result, *, is_last: bool) -> None:
        """A result; ``is_last``: the case is not tried again on that board."""
        if is_last:
            # What breaks behind a case is told of it as well.
            self._done.add((result.board, case.id))
        total = (self._cases or 0) * len(self._boards)
        why = result.warnings[0] if result.verdict == "warn" else result.reason or ""
        if result.verdict == "error":
            # Of a board that did not come up all cases say the same.
            is_known = (result.board, why) in self._errors
            self._errors.add((result.board, why))
            why = "as before" if is_known else why
        board = f"{result.board:<{self._width}}" if self._is_several else ""
        self.say(
            f"[{len(self._done):>{len(str(total))}}/{total}] {board}"
            f"{_MARKS[result.verdict]:<8}{result.seconds:5.1f} s  "
            f"{case.suite}/{case.part}: {case.name}"
            + (f": {why}" if why else "")
            + ("" if is_last else "; once more")
        )

    def show_failures(self, results: list[tuple[Case, Result]]) -> None:
        """The evidence of the first of those that failed; of a bench that broke, once."""
        failed = [(case, result) for case, result in results if result.verdict in BAD]
        others = {
            (one.board, one.reason if one.verdict == "error" else one.case): (case, one)
            for case, one in reversed(failed)
        }
        shown = list(reversed(others.values()))[:_DETAILED]
        for case, result in shown:
            on = f"{result.board}  " if self._is_several else ""
            self.say(f"\n== {on}{case.suite}/{case.part}: {case.name}")
            self.say(f"   {result.reason}")
            for text in result.evidence:
                lines = text.text.splitlines()
                self.say(f"-- {text.title}")
                self.say("\n".join(f"   {line}" for line in lines[-25:]))
        if len(failed) > len(shown):
            self.say(f"\n{len(failed) - len(shown)} more failed; the report has them all")
        if failed:
            self.say("")

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        # Not by "-p no:terminal", which would go to the workers, where others rely on it.
        for name in ("terminalreporter", "terminaldistreporter"):
            if config.pluginmanager.hasplugin(name):
                config.pluginmanager.unregister(name=name)
        session = config.pluginmanager.getplugin("dsession")
        if session is not None:
            session.terminal = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.say(report.longreprtext)
        elif report.skipped:
            said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.say(f"left out  {report.nodeid}: {said.removeprefix('Skipped: ')}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._shows_now:
            name = nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
            self._out.write(f"\r\x1b[K... {printable(name, limit=70)}")
            self._out.flush()

    def say(self, text: str) -> None:
        """A line of text, whatever is being shown."""
        if self._shows_now:
            self._out.write("\r\x1b[K")
        with contextlib.suppress(BrokenPipeError):  # `keyfob hil run | head`: the run goes on
            self._out.write(printable(text, keep="\n\t") + "\n")
            self._out.flush()
