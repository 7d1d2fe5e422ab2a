"""The reports there are, ``reports/hil/<id>/`` of a bench, and the run before a run.

A report that cannot be read is passed over: it is no reason for a run to fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.hil.report.data import Report
from keyfob_host.hil.report.reading import REPORT_JSON, read_report
from keyfob_host.hil.report.writing import OURS
from keyfob_host.home import Home


def reports_dir(home: Home) -> Path:
    """Where the runs of a bench leave their reports."""
    return home.root / "reports" / "hil"


def report_folders(folder: Path) -> list[Path]:
    """Those in ``folder`` with a report in it, the newest first."""
    # Their names are the runs' starts, and so is their order.
    found = sorted(folder.glob(f"*/{REPORT_JSON}"), reverse=True)
    return [one.parent for one in found if not one.parent.name.startswith(".")]


def remove_report(folder: Path) -> bool:
    """Remove a report of `report_folders`; False where other things lie in it, which stays.

    Errors: ``file.*``, ``host.*``.
    """
    with explain_os_error(folder, "remove the report"):
        if {one.name for one in folder.iterdir()} - OURS:
            return False
        # Under a name that nobody reads: one that is cut off here is no half a report.
        gone = folder.rename(folder.with_name(f".{folder.name}.removed"))
        shutil.rmtree(gone)
    return True


def previous_report(folder: Path, report: Report) -> Report | None:
    """The newest in ``folder`` that is earlier than ``report`` and can be compared with it:
    of at least one suite of it, with a board of a kind that it has."""
    kinds = {one.kind for one in report.boards}
    for found in _earlier(folder, report):
        is_alike = set(found.run.suites) & set(report.run.suites)
        if is_alike and kinds & {one.kind for one in found.boards}:
            return found
    return None


def _earlier(folder: Path, report: Report) -> Iterator[Report]:
    for place in report_folders(folder):
        try:
            found = read_report(place)
        except KeyfobHostError:
            continue
        if found.run.started < report.run.started and found.run.id != report.run.id:
            yield found
