"""The folder of a run: ``report.json``, ``report.html`` and ``junit.xml``, all or none."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import PUBLIC_MODE
from keyfob_host.hil.report.bounds import bounded
from keyfob_host.hil.report.data import Report
from keyfob_host.hil.report.junit import junit_xml
from keyfob_host.hil.report.page import report_page
from keyfob_host.hil.report.reading import REPORT_JSON
from keyfob_host.pki.folder import write_folder

REPORT_HTML, JUNIT_XML = "report.html", "junit.xml"
OURS = {REPORT_JSON, REPORT_HTML, JUNIT_XML}
_SHOWN = 5


def check_report_folder(folder: Path) -> None:
    """Refuse a folder in which a report cannot be written, before anything is run.

    It is replaced whole, so there may be nothing else in it. Errors:
    ``hil.not-a-report-folder``, ``file.*``.
    """
    with explain_os_error(folder, "write the report"):
        if not folder.exists():
            return
        others = sorted({one.name for one in folder.iterdir()} - OURS)
    if others:
        shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
        raise KeyfobHostError(
            "hil.not-a-report-folder",
            "a report is a folder of its own, and this one holds other things",
            evidence=f"{folder}: {shown}",
            fix=f"keyfob hil run --report {quote(str(folder / 'hil-report'))}",
            status=ExitStatus.INPUT,
        )


def write_report(folder: Path, report: Report, previous: Report | None = None) -> Report:
    """Write the three files, in place of another report if there is one; what was written.

    ``previous``: what the page compares it with. Errors: ``hil.not-a-report-folder``,
    ``file.*``, ``host.*``; then nothing has changed.
    """
    target = folder.resolve()
    check_report_folder(target)
    fit = bounded(report)
    texts = {
        REPORT_JSON: json.dumps(fit.as_dict(), ensure_ascii=False, allow_nan=False, indent=1),
        REPORT_HTML: report_page(fit, previous),
        JUNIT_XML: junit_xml(fit),
    }
    files = {name: (text.encode(), PUBLIC_MODE) for name, text in texts.items()}
    write_folder(target, files, replace=True)
    return fit
