"""The page of a run, read by another parser of HTML than a browser's.

The page in a browser is in tests/bench/test_hil_page_browser.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hil_report_rig import MARKUP, all_passed, report, with_result
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob_host.hil.report.data import Report, Text
from keyfob_host.hil.report.page import report_page

VOID = {"meta", "br", "input", "wbr"}


class Page(HTMLParser):
    """Elements with their attributes, text by the element that it is in, and what is open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    @property
    def shown(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("script", "style"))

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.text("script")[0]))


def headline(made: Report, previous: Report | None = None) -> str:
    shown = Page(report_page(made, previous)).text("h1")
    return "".join(shown)


def test_the_page_loads_nothing_and_forbids_it() -> None:
    text = report_page(report(), all_passed(report(2, "20261120T101010Z")))
    page = Page(text)
    (policy,) = [
        one["content"] or "" for one in page.all("meta") if one.get("http-equiv") is not None
    ]
    rules = dict(one.strip().split(" ", 1) for one in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["base-uri"] == "'none'"
    (style,), scripts = page.text("style"), page.text("script")
    for rule, content in (("style-src", style), ("script-src", scripts[1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert [one.get("type") for one in page.all("script")] == ["application/json", None]
    assert not {name for _, one in page.elements for name in one} & {"src", "style", "onclick"}
    links = [one["href"] or "" for one in page.all("a")]
    assert links and all(one.startswith("#") for one in links)
    assert not re.search(r"url\(|@import|https?://", style + scripts[1].replace(
        "http://www.w3.org/2000/svg", ""))  # fmt: skip


def test_every_board_is_a_column_and_every_case_a_row() -> None:
    made = report(50)
    page = Page(report_page(made))
    table = next(one for one in page.all("table") if one.get("id") == "matrix")
    assert table["class"] == "matrix"
    cells = [one for one in page.all("a") if "aria-label" in one]
    assert len(cells) == len({one["href"] for one in cells}) == 650
    assert {"#board-50/keyfob/recovery::test_waits_grow"} < {one["href"] for one in cells}
    for name in (*(one.name for one in made.boards), *(one.name for one in made.cases)):
        assert name in page.shown


def test_boards_stand_in_the_order_of_their_numbers() -> None:
    made = report(12)
    page = Page(report_page(replace(made, boards=tuple(reversed(made.boards)))))
    assert [one["name"] for one in page.data["boards"]] == [one.name for one in made.boards]
    assert page.data["results"]["1/2"]["verdict"] == "error"


def test_a_cell_says_in_words_how_it_ended() -> None:
    before = all_passed(report(2, "20261120T101010Z"))
    labels = [
        one["aria-label"] for one in Page(report_page(report(), before)).all("a")
        if "aria-label" in one
    ]  # fmt: skip
    assert "another name is refused on board-1: failed, 1.9 s, was passed" in labels
    assert "verified broker is talked to on board-1: passed, 3.7 s, 2 attempts" in labels
    assert "will is published on board-2: skipped, 3.7 s, was passed" in labels


def test_the_data_is_all_of_the_report() -> None:
    made = report()
    page = Page(report_page(made, all_passed(report(2, "20261120T101010Z"))))
    told = made.as_dict()
    assert page.data["boards"] == json.loads(json.dumps(told["boards"]))
    assert page.data["cases"] == json.loads(json.dumps(told["cases"]))
    result = page.data["results"]["0/5"]
    assert result["verdict"] == "fail" and result["was"] == {"verdict": "pass", "seconds": 1.88}
    assert [one["title"] for one in result["evidence"]] == ["board console", "broker log"]
    assert page.data["previous"] == "20261120T101010Z"


def test_what_changed_is_told_with_links_to_its_cells() -> None:
    before = all_passed(report(2, "20261120T101010Z"))
    before = with_result(before, 4, verdict="fail")
    before = replace(before, versions={**before.versions, "mosquitto": "2.0.10"})
    page = Page(report_page(report(), before))
    for words in ("Newly failing 3", "Mended 1", "Newly warned 2", "Now skipped 1"):
        assert words in page.shown
    assert "mosquitto 2.0.10 → 2.0.11" in page.shown
    assert "There is no earlier run" in Page(report_page(report())).shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "3 of 26 failed"),
        ({"status": "passed"}, "All 26 passed"),
        ({"status": "interrupted"}, "Interrupted"),
        ({"status": "error"}, "The run did not get to its end"),
    ],
)
def test_the_verdict_is_that_of_the_run(change: dict[str, Any], words: str) -> None:
    made = report()
    if change:
        made = all_passed(made)
        made = replace(made, run=replace(made.run, **change))
    assert headline(made) == words


def test_a_run_of_skips_alone_and_one_without_a_board_did_not_pass() -> None:
    made = all_passed(report(1))
    skipped = tuple(replace(one, verdict="skip", reason="no sensor") for one in made.results)
    assert headline(replace(made, results=skipped)) == "Nothing was tested"
    assert headline(replace(made, results=(), boards=())) == "Nothing was tested"
    lost = replace(report(1).boards[0], name="lost", error="it does not answer")
    page = Page(report_page(replace(made, boards=(*made.boards, lost))))
    assert "".join(page.text("h1")) == "1 board could not be tested"
    assert "it does not answer" in page.shown


def test_warnings_are_said_beside_a_run_that_passed() -> None:
    made = with_result(all_passed(report()), 0, verdict="warn", warnings=("late",))
    assert headline(made) == "Passed, 1 warning"


@pytest.mark.parametrize("said", [MARKUP, "<!-- <script>", "]]>", "&lt;b&gt;", "\u202e</SCRIPT >"])
def test_what_others_wrote_is_text_in_the_page_and_nothing_else(said: str) -> None:
    made = report()
    made = with_result(made, 5, reason=said, evidence=(Text(said, said),), events=({"ev": said},),
                       diagnosis={"code": said, "cause": said})  # fmt: skip
    boards = (replace(made.boards[0], title=said, place=said), *made.boards[1:])
    cases = (replace(made.cases[0], name=said, criterion=said), *made.cases[1:])
    harmless = Page(report_page(report()))
    page = Page(report_page(replace(made, boards=boards, cases=cases)))
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in harmless.elements}
    spelled = said.replace("\u202e", "\\u202e")
    assert page.data["results"]["0/5"]["reason"] == spelled
    assert page.data["results"]["0/5"]["evidence"][0]["text"] == spelled
    assert spelled in page.shown


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="<>/!-&\"' scriptSCRIPT\\u0000\u2028", max_size=40))
def test_no_text_ends_the_data(said: str) -> None:
    made = with_result(report(1), 0, evidence=(Text("log", f"|{said}|"),))
    page = Page(report_page(made))
    assert page.data["results"]["0/0"]["evidence"][0]["text"] == f"|{said}|".replace(
        "\u2028", "\\u2028"
    )
    assert len(page.all("script")) == 2


def test_names_with_any_letters_have_addresses_of_their_own() -> None:
    made = report(1)
    name, case = "räum 1/öst#2", 'keyfob/tls::test_x[a b-<"%]'
    made = replace(
        made, boards=(replace(made.boards[0], name=name),),
        cases=(replace(made.cases[0], id=case),),
        results=(replace(made.results[0], board=name, case=case),),
    )  # fmt: skip
    (link,) = [one["href"] for one in Page(report_page(made)).all("a") if "aria-label" in one]
    assert link is not None and re.fullmatch(r"#[A-Za-z0-9%._/:-]+", link)
    assert link.startswith("#r%C3%A4um%201%2F%C3%B6st%232/keyfob/tls::test_x%5B")
