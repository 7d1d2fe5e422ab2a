"""``keyfob hil compare``: what changed between two runs of the suites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import write_atomic
from keyfob_host.hil.report.compare import CHANGES, Change, Comparison, Difference
from keyfob_host.hil.report.compare import compare as compared
from keyfob_host.hil.report.data import Result, in_words
from keyfob_host.hil.report.history import reports_dir
from keyfob_host.hil.report.page import report_page
from keyfob_host.hil.report.references import LATEST, PREVIOUS, two_reports
from keyfob_host.home import find_home
from keyfob_host.ui import Ui

_FILE = click.Path(path_type=Path, dir_okay=False, resolve_path=True)
_BOARDS = 3  # named of those on which a case changed alike
_CASES = 20  # shown of one kind of change, unless it is for the worse
_HINTS = {"slower": " (a hint)"}


@click.command()
@click.argument("before", metavar="[A]", default=PREVIOUS)
@click.argument("after", metavar="[B]", default=LATEST)
@click.option("--html", type=_FILE, metavar="FILE", help="B's page, compared with A, into FILE.")
@click.pass_obj
def compare(ui: Ui, before: str, after: str, html: Path | None) -> int:
    """Tell what changed from run A to run B: folders, report.json files or ids of runs.

    Without them it is the run before the latest, and the latest. The exit status is 0 unless
    something fails in B that did not fail in A.
    """
    folder = reports_dir(find_home())
    comparison = compared(*two_reports(folder, before, after))
    _check_common(comparison)
    if html:
        write_atomic(html, report_page(comparison.after, comparison.before))
        ui.step(f"wrote {html}")
    ui.result("\n".join(_lines(comparison)), comparison.as_dict())
    return ExitStatus.TESTS if comparison.is_worse else 0


def _check_common(comparison: Comparison) -> None:
    """Refuse runs of different suites: each would seem to have lost all of the other."""
    ones = (comparison.before, comparison.after)
    first, second = ({case.id for case in one.cases} for one in ones)
    if first and second and not first & second:
        raise KeyfobHostError(
            "hil.not-comparable",
            "no case is in both of the runs, so nothing can be compared",
            evidence=" and ".join(f"{one.run.id} of {', '.join(one.run.suites)}" for one in ones),
            fix=f"keyfob hil compare {PREVIOUS} {comparison.after.run.id}",
            status=ExitStatus.INPUT,
        )


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"from  {comparison.before.run.id}  {in_words(comparison.before)}"
    yield f"to    {comparison.after.run.id}  {in_words(comparison.after)}"
    if comparison.before.run.started > comparison.after.run.started:
        yield "the first of them is the later one"
    for run in (comparison.before.run, comparison.after.run):
        if run.status == "interrupted":
            yield f"what {run.id} did not come to is not compared"
    for words, boards in zip(("new", "missing"), comparison.boards, strict=True):
        if boards:
            yield f"\n{words} boards\n  {_some(boards)}"
    for board in comparison.lost:
        yield f"\nnot tested\n  {board.name}: {board.error}"
    names = comparison.case_names()
    for change, words in CHANGES.items():
        groups = comparison.groups(change)
        if groups:
            yield f"\n{words}{_HINTS.get(change, '')}"
            shown = groups if change == "failing" else groups[:_CASES]
            for group in shown:
                yield from _told(change, group, names[group[0].case])
            if groups[len(shown) :]:
                yield f"  and {len(groups) - len(shown)} more; all of them: --json"
    if comparison.versions:
        yield "\nversions"
        for one in comparison.versions:
            yield f"  {one.name}: {one.before or 'none'} -> {one.after or 'none'}"
    yield ""
    yield "worse than before" if comparison.is_worse else "nothing got worse"


def _told(change: Change, group: list[Difference], name: str) -> Iterator[str]:
    """A case, how it ended before and now, on which boards, and why it fails."""
    first = group[0]
    part = first.case.partition("::")[0]
    boards = _some([one.board for one in group])
    if change == "slower" and first.before and first.after:
        ends = f"{first.before.seconds:.1f} s -> {first.after.seconds:.1f} s"
    else:
        ends = f"{_ended(first.before)} -> {_ended(first.after)}"
        tries = len(first.after.attempts) if first.after else 0
        name += f", {tries} attempts" if tries > 1 else ""
    yield f"  {ends:<16}{part}: {name}  ({boards})"
    reason = first.after.reason if first.after else None
    if change == "flaky" and first.after:
        reason = "; ".join(one.reason or "" for one in first.after.attempts[:-1])
    if reason and change in ("failing", "flaky", "skipped"):
        yield f"  {'':<16}{reason}"


def _some(boards: list[str]) -> str:
    more = f" and {len(boards) - _BOARDS} more" if len(boards) > _BOARDS else ""
    return ", ".join(boards[:_BOARDS]) + more


def _ended(result: Result | None) -> str:
    return result.verdict if result else "none"
