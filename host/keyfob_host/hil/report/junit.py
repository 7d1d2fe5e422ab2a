"""A run as JUnit XML, as Jenkins, GitLab and others read it: a test suite for each board.

Elements and their order are those that both Maven Surefire's schema and that of Jenkins'
xUnit plugin allow, with reruns told as theirs are: what failed before it passed is a
``flakyFailure``, what failed again a ``rerunFailure``. There is no verdict between passed
and failed in it, so a warning is told in ``system-out``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as Xml

from keyfob_host.hil.report.data import BAD, Attempt, Board, Case, Report, Result, Verdict

_NAME = "keyfob-hil"
_ELEMENTS: dict[Verdict, str] = {"fail": "failure", "error": "error", "skip": "skipped"}
# What XML 1.0 has no way to say, escaped or not (section 2.2, Char).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: Report) -> str:
    """The whole file."""
    cases = {one.id: one for one in report.cases}
    suites = [
        _suite(report, board, [(one, cases[one.case]) for one in report.results
                               if one.board == board.name])
        for board in report.boards
    ]  # fmt: skip
    root = Xml.Element("testsuites", _legal({"name": _NAME, "time": _time(report.run.seconds)}))
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.extend(suites)
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _suite(report: Report, board: Board, results: list[tuple[Result, Case]]) -> Xml.Element:
    cases = [_case(result, case) for result, case in results]
    if board.error is not None:
        cases.append(_not_tested(board))
    counts = {
        name: str(sum(case.find(element) is not None for case in cases))
        for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    seconds = sum(result.seconds for result, _ in results)
    suite = Xml.Element(
        "testsuite",
        _legal({"name": board.name, "tests": str(len(cases)), **counts, "time": _time(seconds)}),
        timestamp=report.run.started.removesuffix("Z"),
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in _properties(report, board):
        Xml.SubElement(properties, "property", _legal({"name": name, "value": value}))
    suite.extend(cases)
    return suite


def _properties(report: Report, board: Board) -> Iterable[tuple[str, str]]:
    of_board = {
        "kind": board.kind, "place": board.place, "chip": board.chip,
        "firmware": board.firmware, "micropython": board.micropython,
    }  # fmt: skip
    yield "run", report.run.id
    yield "command", report.run.command
    for name, value in of_board.items():
        yield f"board.{name}", value or ""
    for name, value in report.versions.items():
        yield f"version.{name}", value or ""


def _case(result: Result, case: Case) -> Xml.Element:
    names = {"name": case.name, "classname": f"{case.suite}.{case.part}"}
    found = Xml.Element("testcase", _legal(names), time=_time(result.seconds))
    before = [_rerun(one, result.is_flaky) for one in result.attempts[:-1] if one.verdict in BAD]
    own = []
    if result.verdict in _ELEMENTS:
        own.append(_ending(result))
    # The order that Surefire's schema wants.
    wanted = (
        "failure", "rerunFailure", "flakyFailure", "skipped", "error", "rerunError", "flakyError",
    )  # fmt: skip
    found.extend(sorted([*own, *before], key=lambda one: wanted.index(one.tag)))
    said = "\n\n".join(_said(result, case))
    if said:
        Xml.SubElement(found, "system-out").text = _clean(said)
    return found


def _ending(result: Result) -> Xml.Element:
    reason = result.reason or ""
    element = Xml.Element(_ELEMENTS[result.verdict], _legal({"message": reason}))
    if result.verdict != "skip":
        element.set("type", result.verdict)
        element.text = _clean(reason)
    return element


def _rerun(one: Attempt, is_flaky: bool) -> Xml.Element:
    name = ("flaky" if is_flaky else "rerun") + ("Failure" if one.verdict == "fail" else "Error")
    attributes = {"message": one.reason or "", "type": one.verdict}
    element = Xml.Element(name, _legal(attributes))
    Xml.SubElement(element, "stackTrace").text = _clean(
        f"after {one.seconds:.1f} s: {one.reason or 'no reason was given'}"
    )
    return element


def _said(result: Result, case: Case) -> Iterable[str]:
    """Warnings and criterion; the evidence of what did not simply pass."""
    yield from (f"warning: {one}" for one in result.warnings)
    if result.verdict == "skip" or (result.verdict == "pass" and not result.is_flaky):
        return
    if case.criterion:
        yield f"criterion: {case.criterion}"
    yield from (f"--- {one.title} ---\n{one.text}" for one in result.evidence)


def _not_tested(board: Board) -> Xml.Element:
    """A board that did not come up has no results, and must not look as if all were well."""
    case = Xml.Element("testcase", name="the board comes up", classname="bench", time=_time(0))
    error = Xml.SubElement(case, "error", _legal({"message": board.error or ""}), type="error")
    error.text = _clean(board.error or "")
    return case


def _time(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _legal(attributes: dict[str, str]) -> dict[str, str]:
    return {name: _clean(value) for name, value in attributes.items()}


def _clean(text: str) -> str:
    return _ILLEGAL.sub("", text)
