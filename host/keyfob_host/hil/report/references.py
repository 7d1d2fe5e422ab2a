"""Which report is meant: a folder, a ``report.json``, a run's id, ``latest``, ``previous``."""

from __future__ import annotations

from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.report.data import Report
from keyfob_host.hil.report.history import previous_report, report_folders
from keyfob_host.hil.report.reading import REPORT_JSON, read_report

LATEST, PREVIOUS = "latest", "previous"
_SHOWN = 5


def two_reports(folder: Path, before: str, after: str) -> tuple[Report, Report]:
    """The reports that a person named; ``folder`` is where the bench's are.

    ``previous`` is the one before the other of the two that can be compared with it. Errors:
    ``hil.no-report``, those of `read_report`.
    """
    if before == PREVIOUS:
        later = find_report(folder, after)
        return _before(folder, later), later
    first = find_report(folder, before)
    return first, _before(folder, first) if after == PREVIOUS else find_report(folder, after)


def find_report(folder: Path, name: str) -> Report:
    """The report called ``name``, which is not ``previous``. Errors: see `two_reports`."""
    there = report_folders(folder)
    known = {one.name: one for one in there}
    if name == LATEST and there:
        return read_report(there[0])
    if name in known:
        return read_report(known[name])
    path = Path(name)
    if path.is_file() or (path / REPORT_JSON).is_file():
        return read_report(path)
    if path.is_dir():
        seen = f"the folder {path} has no {REPORT_JSON}"
    elif name in (LATEST, PREVIOUS):
        seen = f"no report is in {folder}"
    else:
        seen = f"{name!r} is neither a run of this bench nor a file or folder"
    shown = ", ".join(one.name for one in there[:_SHOWN])
    more = f" and {len(there) - _SHOWN} older" if len(there) > _SHOWN else ""
    raise KeyfobHostError(
        "hil.no-report",
        "there is no such report",
        evidence=seen + (f"; there are {shown}{more}" if there else ""),
        fix=f"keyfob hil compare {there[1].name} {LATEST}" if there[1:] else "keyfob hil run smoke",
        status=ExitStatus.INPUT,
    )


def _before(folder: Path, report: Report) -> Report:
    found = previous_report(folder, report)
    if found is not None:
        return found
    kinds = ", ".join(sorted({one.kind for one in report.boards}))
    raise KeyfobHostError(
        "hil.no-report",
        "there is no earlier report to compare with",
        evidence=f"{folder}: none before {report.run.id} is of {', '.join(report.run.suites)} "
        f"on {kinds}",
        fix=report.run.command,
        status=ExitStatus.INPUT,
    )
