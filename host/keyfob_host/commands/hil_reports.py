"""``keyfob hil reports``: the reports of this bench, and the older ones removed."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.report.data import Report, in_words
from keyfob_host.hil.report.history import remove_report, report_folders, reports_dir
from keyfob_host.hil.report.reading import read_report
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


@click.command()
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Remove all but the last N.")
@click.pass_obj
def reports(ui: Ui, keep: int | None) -> None:
    """Show the runs whose reports are in the bench's folder, the latest first.

    Runs leave a report each and remove none. With --keep the older ones go, for good; a
    folder in which somebody put other things stays, and so do those that --report named.
    """
    folder = reports_dir(find_home())
    there = report_folders(folder)
    older = there[keep:] if keep is not None else []
    removed = [one.name for one in older if remove_report(one)]
    left = [one for one in there if one.name not in removed]
    rows = [(one.name, _told(one)) for one in left]
    lines = [
        f"{name}  {report if isinstance(report, str) else in_words(report)}"
        for name, report in rows
    ]
    if removed:
        lines.append(f"removed: {len(removed)}, up to {removed[0]}")
    data = {
        "folder": str(folder),
        "removed": removed,
        "reports": [{"id": name, **_as_dict(report)} for name, report in rows],
    }
    ui.result("\n".join(lines) or "no report yet; run a suite: keyfob hil run smoke", data)


def _told(folder: Path) -> Report | str:
    """The report, or why it cannot be read."""
    try:
        return read_report(folder)
    except KeyfobHostError as error:
        return error.cause


def _as_dict(report: Report | str) -> dict[str, object]:
    if isinstance(report, str):
        return {"status": None, "why_not": report}
    return {
        "status": report.run.status,
        "suites": list(report.run.suites),
        "boards": [one.name for one in report.boards],
        "seconds": round(report.run.seconds, 1),
        **report.counts(),
    }
