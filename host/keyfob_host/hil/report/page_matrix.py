"""The matrix of a report: a row a case, a column a board, in each cell how it ended.

It is whole without the page's script, which shows a part of it and opens its cells. A
cell is a link to itself (``#board/case``): what it opens can be told to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from urllib.parse import quote

from keyfob_host.hil.report.compare import Comparison, Difference
from keyfob_host.hil.report.data import BAD, Board, Case, Report, Result, Verdict
from keyfob_host.page.markup import Markup, element, together

# A mark of its own for each, so that colour is not needed to tell them apart.
MARKS: Mapping[Verdict, str] = {"pass": "✓", "warn": "!", "fail": "✗", "skip": "–", "error": "⨂"}
WORDS: Mapping[Verdict, str] = {
    "pass": "passed",
    "warn": "warned",
    "fail": "failed",
    "skip": "skipped",
    "error": "error",
}
# More columns than these are narrow, their heads turned.
_WIDE_BOARDS = 6
_CHANGED = ("failing", "mended", "warned", "skipped", "new")
# What is shown: name and words; of what there is none the choice is not offered.
_FILTERS = {
    "all": "All",
    "failed": "Failed",
    "warned": "Warned",
    "skipped": "Skipped",
    "changed": "Changed",
    "flaky": "Flaky",
}


def matrix(report: Report, comparison: Comparison | None) -> Markup:
    """The choice of what is shown, and the table."""
    cells = report.cells()
    changes = {
        (one.board, one.case): one
        for one in (comparison.differences if comparison else ())
        if one.change in _CHANGED
    }
    kinds = {place: _kinds(result, changes.get(place)) for place, result in cells.items()}
    body = [
        _group(report, suite, part, list(cases), cells, changes, kinds)
        for (suite, part), cases in groupby(report.cases, key=lambda one: (one.suite, one.part))
    ]
    first = element("th", "case", scope="col", class_="corner")
    head = element("thead", element("tr", first, *[_head(one) for one in report.boards]))
    is_wide = len(report.boards) <= _WIDE_BOARDS
    table = element(
        "table",
        element("caption", "How each case ended on each board"),
        head,
        *body,
        id="matrix",
        class_="matrix wide-columns" if is_wide else "matrix",
    )
    region = element(
        "div", table, class_="wide", role="region", aria_labelledby="cases", tabindex="0"
    )
    return together(_filters(kinds), region)


def place(board: str, case: str) -> str:
    """The address of a cell in the page."""
    return f"#{quote(board, safe='')}/{quote(case, safe='/:')}"


def _kinds(result: Result, change: Difference | None) -> list[str]:
    """The choices under which it is shown, beside all."""
    found = {
        "failed": result.verdict in BAD,
        "warned": result.verdict == "warn",
        "skipped": result.verdict == "skip",
        "changed": change is not None,
        "flaky": result.is_flaky,
    }
    return [name for name, holds in found.items() if holds]


def _filters(kinds: Mapping[tuple[str, str], list[str]]) -> Markup:
    shown = []
    for name, words in _FILTERS.items():
        count = sum(name == "all" or name in one for one in kinds.values())
        label = element(
            "label",
            element(
                "input", type="radio", name="show", value=name, checked=name == "all",
                disabled=count == 0,
            ),
            element("span", words, " ", element("b", str(count))),
        )  # fmt: skip
        shown.append(label)
    search = element(
        "label",
        "Find a case or a board ",
        element("input", type="search", id="find"),
        class_="find",
    )
    legend = element("legend", "Show")
    said = element("p", id="shown", role="status", class_="clocks")
    choices = element("fieldset", legend, *shown)
    return together(element("form", choices, search, id="filters", hidden=True), said)


def _head(board: Board) -> Markup:
    broken = element("span", MARKS["error"], class_="mark", aria_hidden="true")
    name = element("span", board.name, class_="name")
    kind = element("small", board.kind) if board.kind != board.name else None
    return element(
        "th",
        element("div", broken if board.error else None, name, kind),
        scope="col",
        class_="broken" if board.error else None,
        title=f"could not be tested: {board.error}" if board.error else board.title,
    )


def _group(
    report: Report,
    suite: str,
    part: str,
    cases: list[Case],
    cells: Mapping[tuple[str, str], Result],
    changes: Mapping[tuple[str, str], Difference],
    kinds: Mapping[tuple[str, str], list[str]],
) -> Markup:
    title = element("span", element("b", suite), f" {part}")
    head = element(
        "th", title, colspan=str(len(report.boards) + 1), scope="rowgroup", class_="group"
    )
    rows = [element("tr", head)]
    for case in cases:
        shown = [
            _cell(case, board, cells.get(at), changes.get(at), kinds.get(at, []))
            for board in report.boards
            for at in [(board.name, case.id)]
        ]
        criterion = element("small", case.criterion) if case.criterion else None
        name = element("th", element("span", case.name, class_="name"), criterion, scope="row")
        rows.append(element("tr", name, *shown))
    return element("tbody", *rows)


def _cell(
    case: Case, board: Board, result: Result | None, change: Difference | None, kinds: list[str]
) -> Markup:
    if result is None:
        return element("td", element("span", "·", title="not run"), class_="none")
    was = change.before if change else None
    told = [WORDS[result.verdict], f"{result.seconds:.1f} s"]
    tries = len(result.attempts)
    if tries > 1:
        told.append(f"{tries} attempts")
    if change:
        told.append(f"was {WORDS[was.verdict]}" if was else "new")
    parts = [
        element("span", MARKS[result.verdict], class_="mark"),
        element("span", _seconds(result.seconds), class_="seconds"),
        element("span", f"×{tries}", class_="tries") if tries > 1 else None,
        element("span", f"was {MARKS[was.verdict]}" if was else "new", class_="was")
        if change
        else None,
    ]
    link = element(
        "a", *parts, href=place(board.name, case.id),
        aria_label=f"{case.name} on {board.name}: {', '.join(told)}",
        title=f"{board.name}: {', '.join(told)}" + (f"\n{result.reason}" if result.reason else ""),
    )  # fmt: skip
    return element("td", link, class_=WORDS[result.verdict], data_is=" ".join(kinds) or None)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"
