"""What is told of one result: by the case, the board and the bench; plain data, for a report.

Made where the case ran, which with several boards is another process than the one that
writes the report. Its shape is `keyfob_host.hil.report.data`'s, a result and its board.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.capabilities import rung_of
from keyfob_host.hil.case import Case, bounded
from keyfob_host.hil.evidence import BenchFailure
from keyfob_host.hil.lineup import own_board

if TYPE_CHECKING:
    from keyfob_host.hil.opening import AnyBench

_EVENTS = 200
_LINES = 200  # of each piece of evidence


def tell(
    item: pytest.Item,
    report: pytest.TestReport,
    error: BaseException | None,
    case: Case,
    bench: AnyBench | None,
) -> dict[str, Any]:
    """Of ``item``'s ``report``; ``error``: what it ended with; ``bench``: None, it is down."""
    is_bench_down = bench is None and report.failed
    lost = bench.lost() if bench is not None and report.failed else None
    found: dict[str, Any] = {
        "verdict": "error" if lost else _verdict(report, case),
        "reason": reason_of(report, lost or error),
        "is_bench_down": is_bench_down,
        "rung": rung_of(item),
        "criterion": case.told_criterion,
        "warnings": case.warnings,
        "measures": case.measures,
        "evidence": [{"title": title, "text": text} for title, text in case.texts],
        "events": [],
        "diagnosis": None,
    }
    shown = lost or error
    if isinstance(shown, KeyfobHostError):
        found["evidence"].insert(0, {"title": "error", "text": in_words(shown)})
    if bench is None:
        why = str(found["reason"]) if is_bench_down else None
        found["board"] = {**own_board(item.config).told(), "error": why}
    else:
        found["board"] = bench.told()
        if not report.skipped:
            found["events"] = list(bench.events())[-_EVENTS:]
            found["evidence"] += [
                {"title": title, "text": bounded(text)}
                for title, text in bench.evidence.sections(_LINES)
            ]
        if report.failed and lost is None:
            found["evidence"].insert(0, {"title": "assertion", "text": _assertion(report, error)})
            text, found["diagnosis"] = bench.diagnosis()
            found["evidence"].insert(0, {"title": "doctor", "text": text})
    # Through JSON: a tuple or an enumeration would not travel from a worker.
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def reason_of(report: pytest.TestReport, error: BaseException | None = None) -> str | None:
    """Why it did not pass, in one line; None if it did. ``error``: what it ended with."""
    if report.skipped:
        expected = getattr(report, "wasxfail", None)  # pytest's, of a case marked xfail
        if expected is not None:
            return f"expected to fail: {expected.removeprefix('reason: ')}".removesuffix(": ")
        _, _, said = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
        return said.removeprefix("Skipped: ") or "skipped"
    if not report.failed:
        return None
    if isinstance(error, KeyfobHostError):
        return f"{error.code}: {error.cause}"
    if isinstance(error, BenchFailure):
        return error.what.partition("\n")[0].removesuffix("; its last events:")
    if error is None:
        # Of another process, or pytest's own verdict: that a case marked xfail passed.
        crash = getattr(report.longrepr, "reprcrash", None)
        said = str(crash.message if crash else report.longrepr or "failed").partition("\n")[0]
        return said.removeprefix("AssertionError: ")
    said = str(error).strip().partition("\n")[0]
    name = type(error).__name__
    return said if said and isinstance(error, AssertionError) else f"{name}: {said}".rstrip(": ")


def in_words(error: KeyfobHostError) -> str:
    """Code and cause, what was seen, and the fix, a line each."""
    lines = [f"{error.code}: {error.cause}"]
    lines += [f"  seen  {error.evidence}"] if error.evidence else []
    return "\n".join([*lines, f"  fix   {error.fix}"])


def _assertion(report: pytest.TestReport, error: BaseException | None) -> str:
    """pytest's own words; the evidence in those of a `BenchFailure` is told apart from them."""
    if isinstance(error, BenchFailure):
        return f"{error.what}\n\n{report.longreprtext.rstrip().rpartition(chr(10))[2]}"
    return report.longreprtext


def _verdict(report: pytest.TestReport, case: Case) -> str:
    if report.skipped:
        return "skip"
    if report.passed:
        return "warn" if case.warnings else "pass"
    # What broke before or behind the case says nothing about what it checks.
    return "fail" if report.when == "call" else "error"
