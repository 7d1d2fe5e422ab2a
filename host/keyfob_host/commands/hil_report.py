"""What ``keyfob hil run`` leaves and says when the cases have been run: report, result, status."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from keyfob_host.errors import ExitStatus, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.hil.report.data import Report, Result
from keyfob_host.hil.report.history import previous_report, reports_dir
from keyfob_host.hil.report.writing import JUNIT_XML, check_report_folder, write_report
from keyfob_host.home import Home
from keyfob_host.ui import Ui

_SHOWN = 20  # results of one kind, by name


def prepare(home: Home, report: Path | None, junit: Path | None, run_id: str) -> Path:
    """The folder for the report of the run ``run_id``, which can be made there.

    Errors: ``hil.not-a-report-folder``, ``file.*``, ``host.*``.
    """
    home.ensure()
    folder = report or _unused(reports_dir(home) / run_id)
    check_report_folder(folder)
    with explain_os_error(folder, "write the report"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Tried: it is written when all has been run, which may take hours.
        with TemporaryDirectory(prefix=".", dir=folder.parent):
            pass
    if junit:
        with explain_os_error(junit, "write the report"):
            junit.parent.mkdir(parents=True, exist_ok=True)
            junit.open("ab").close()
    return folder


def finish(ui: Ui, home: Home, report: Report, folder: Path, junit: Path | None) -> int:
    """Write the report, say what the run came to; the command's exit status.

    `KeyboardInterrupt` for a run that was interrupted, once what there is was written.
    """
    write_report(folder, report, previous_report(reports_dir(home), report))
    if junit:
        write_atomic(junit, (folder / JUNIT_XML).read_bytes())
    if report.run.status == "interrupted":
        ui.step(f"interrupted; what there is: {folder}")
        raise KeyboardInterrupt
    counts = report.counts()
    data = {
        **counts, "seconds": round(report.run.seconds, 1), "report": str(folder),
        "results": [_row(one) for one in report.results],
    }  # fmt: skip
    with contextlib.suppress(BrokenPipeError, SystemExit):  # the reader went away: rich exits
        ui.result("\n".join(_lines(report, counts, folder)), data)
    if counts["skip"] == len(report.results):
        # Green for ever is what nobody looks at.
        ui.err.print("nothing was tested: every case was skipped")
        return ExitStatus.TESTS
    return ExitStatus.TESTS if counts["fail"] or counts["error"] else 0


def _lines(report: Report, counts: dict[str, int], folder: Path) -> list[str]:
    several = len(report.boards) > 1
    names = {one.id: f"{one.suite}/{one.part}: {one.name}" for one in report.cases}

    def called(one: Result) -> str:
        return (f"{one.board}  " if several else "") + names[one.case]

    lines = _named("flaky", report, lambda one: one.is_flaky, lambda one: _tried(one, called))
    lines += _named(
        "warned",
        report,
        lambda one: one.verdict == "warn",
        lambda one: f"{called(one)}: {one.warnings[0]}",
    )
    lines += [f"no bench  {one.name}: {one.error}" for one in report.boards if one.error]
    words = {"pass": "passed", "warn": "warned", "fail": "failed", "skip": "skipped"}
    told = [f"{count} {words.get(name, name)}" for name, count in counts.items() if count]
    on = f" on {len(report.boards)} boards" if several else ""
    lines.append(f"{', '.join(told)}{on} in {report.run.seconds:.0f} s")
    return [*lines, f"report: {folder / 'report.html'}"]


def _named(
    word: str, report: Report, which: Callable[[Result], bool], words: Callable[[Result], str]
) -> list[str]:
    found = [words(one) for one in report.results if which(one)]
    more = [f"{word}  … {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [f"{word}  {one}" for one in found[:_SHOWN]] + more


def _tried(one: Result, called: Callable[[Result], str]) -> str:
    reasons: Iterable[str] = (tried.reason or "" for tried in one.attempts[:-1])
    return f"{called(one)}: passed at attempt {len(one.attempts)}; before: {'; '.join(reasons)}"


def _row(one: Result) -> dict[str, object]:
    return {
        "board": one.board, "case": one.case, "verdict": one.verdict,
        "seconds": round(one.seconds, 3), "reason": one.reason, "attempts": len(one.attempts),
        "warnings": list(one.warnings), "diagnosis": one.diagnosis,
    }  # fmt: skip


def _unused(folder: Path) -> Path:
    """``folder``; of two runs that begin in the same second the second's has a number."""
    number, found = 1, folder
    while found.exists():
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found
