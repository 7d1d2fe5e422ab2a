"""The JUnit file of a run, against the rules of those who read it.

The rules below are what two published schemas have in common, written down here: that of
Maven Surefire (surefire-test-report.xsd), which has an order, and that of Jenkins' xUnit
plugin (junit-10.xsd), which has the suites around it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from hil_report_rig import MARKUP, all_passed, report, with_result

from keyfob_host.hil.report.bounds import bounded
from keyfob_host.hil.report.data import Attempt, Report, Text
from keyfob_host.hil.report.junit import junit_xml

TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")
RERUN = ({"type"}, {"message"}, "stackTrace (system-out )?(system-err )?")
# Attributes that are wanted, those that may be, and the children in order.
RULES = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, "(testsuite )*"),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped"},
        {"time", "timestamp"},
        "(properties )*(testcase )*",
    ),
    "properties": (set(), set(), "(property )*"),
    "property": ({"name", "value"}, set(), ""),
    "testcase": (
        {"name", "classname", "time"},
        set(),
        "(failure )*(rerunFailure )*(flakyFailure )*(skipped )?(error )?(rerunError )*"
        "(flakyError )*(system-out )?(system-err )?",
    ),
    "failure": ({"type"}, {"message"}, ""),
    "error": ({"type"}, {"message"}, ""),
    "skipped": (set(), {"message"}, ""),
    "rerunFailure": RERUN,
    "rerunError": RERUN,
    "flakyFailure": RERUN,
    "flakyError": RERUN,
    "stackTrace": (set(), set(), ""),
    "system-out": (set(), set(), ""),
}
WITH_TEXT = {"failure", "error", "skipped", "stackTrace", "system-out"}


def read(made: Report) -> Xml.Element:
    """What another parser makes of it, once it holds to the rules."""
    root = Xml.fromstring(junit_xml(made).encode())  # noqa: S314 (made right here)
    for element in root.iter():
        wanted, allowed, children = RULES[element.tag]
        assert wanted <= set(element.attrib) <= wanted | allowed, element.tag
        assert re.fullmatch(children, "".join(f"{one.tag} " for one in element)), element.tag
        assert element.tag in WITH_TEXT or not (element.text or "").strip()
        assert TIME.fullmatch(element.get("time", "0"))
    for suite in root.iter("testsuite"):
        cases = suite.findall("testcase")
        counts = [len(cases)] + [
            sum(one.find(name) is not None for one in cases)
            for name in ("failure", "error", "skipped")
        ]
        told = [int(suite.get(one, "")) for one in ("tests", "failures", "errors", "skipped")]
        assert told == counts
    return root


def test_every_board_is_a_suite_with_every_case_in_it() -> None:
    made = report(50)
    root = read(made)
    assert [one.get("name") for one in root] == [one.name for one in made.boards]
    assert all(len(one.findall("testcase")) == len(made.cases) for one in root)
    first = root[0].find("testcase")
    assert first is not None
    assert first.attrib == {
        "name": "board says that it boots", "classname": "keyfob.boot", "time": "0.400",
    }  # fmt: skip
    assert root.get("tests") == str(len(made.results)) and root.get("failures") == "9"
    assert root[0].get("timestamp") == "2026-11-21T23:15:00"


def test_versions_and_what_the_board_is_are_its_properties() -> None:
    found = {one.get("name"): one.get("value") for one in read(report())[1].iter("property")}
    assert found["board.kind"] == "virtual-esp8266" and found["version.mosquitto"] == "2.0.11"
    assert found["run"] == "20261121T231500Z" and found["version.labgrid"] == ""


def test_what_did_not_pass_has_its_reason_and_its_evidence() -> None:
    root = read(report())
    failed = next(one for one in root.iter("testcase") if one.find("failure") is not None)
    assert failed.find("failure").get("message").startswith("x509.wrong-name was told")
    said = failed.find("system-out").text
    assert "--- board console ---" in said and '"code":"x509.wrong-name"' in said
    error = next(one for one in root.iter("testcase") if one.find("error") is not None)
    assert "time server did not start" in error.find("error").get("message")
    skipped = next(one for one in root.iter("testcase") if one.find("skipped") is not None)
    assert skipped.find("skipped").get("message") == "an esp8266 has no such setting"


def test_a_warning_passes_and_is_told() -> None:
    warned = [
        one for one in read(report()).iter("testcase")
        if "warning: it came only after" in (one.findtext("system-out") or "")
    ]  # fmt: skip
    assert len(warned) == 2 and all(one.find("failure") is None for one in warned)


def test_what_failed_before_it_passed_is_flaky_and_no_failure() -> None:
    flaky = [one for one in read(report()).iter("testcase") if one.find("flakyFailure") is not None]
    assert [one.get("name") for one in flaky] == ["verified broker is talked to"]
    assert flaky[0].find("flakyFailure").get("message") == "nothing came within 5 s"
    assert flaky[0].find("failure") is None


def test_what_failed_each_time_is_a_failure_with_its_reruns() -> None:
    tries = (Attempt("fail", "a", 1), Attempt("error", "b", 2), Attempt("fail", "c", 3))
    made = with_result(report(1), 0, verdict="fail", reason="c", attempts=tries)
    case = read(made)[0].find("testcase")
    found = [(one.tag, one.get("message")) for one in case if one.tag != "system-out"]
    assert found == [("failure", "c"), ("rerunFailure", "a"), ("rerunError", "b")]
    made = with_result(report(1), 0, verdict="error", reason="c", attempts=tries[:2])
    case = read(made)[0].find("testcase")
    assert [one.tag for one in case][:2] == ["rerunFailure", "error"]


def test_a_board_that_did_not_come_up_is_an_error_and_not_nothing() -> None:
    made = all_passed(report())
    lost = replace(made.boards[1], error="the board does not answer")
    kept = tuple(one for one in made.results if one.board != lost.name)
    root = read(replace(made, boards=(made.boards[0], lost), results=kept))
    assert root.get("errors") == "1" and len(root[1].findall("testcase")) == 1
    assert root[1].find("testcase/error").get("message") == "the board does not answer"


@pytest.mark.parametrize("said", [MARKUP, "]]>&amp;<![CDATA[", "a\"b'c", "\x00\x1b[2J\ufffe\ud800"])
def test_whatever_was_said_is_text_in_it(said: str) -> None:
    tries = (Attempt("fail", said, 1), Attempt("fail", said, 1))
    made = with_result(
        report(1), 0, verdict="fail", reason=said, attempts=tries, evidence=(Text(said, said),)
    )
    root = read(made)
    message = root[0].find("testcase/failure").get("message")
    assert message == "".join(one for one in said if one.isprintable() and one != "\ufffe")
    # As it is written, characters that XML lacks were spelled out before.
    fit = bounded(made)
    assert fit.results[0].reason in read(fit)[0].findtext("testcase/system-out")
