"""The report of a run as one HTML file: what failed, the matrix, what is behind each cell.

It needs no network (see `keyfob_host.page.document`). Verdicts, matrix and comparison
are read without the script; it opens a cell, out of data that is in the page as JSON, so
that the evidence of a thousand cells costs nothing until it is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyfob_host import __version__
from keyfob_host.hil.report.bounds import bounded
from keyfob_host.hil.report.compare import Comparison, compare, matched
from keyfob_host.hil.report.data import BAD, VERDICTS, Report, Result
from keyfob_host.hil.report.page_compare import comparison_section
from keyfob_host.hil.report.page_matrix import MARKS, WORDS, matrix, place
from keyfob_host.page.document import document
from keyfob_host.page.markup import Markup, element, together

_LINKS = 8  # to boards on which a case failed


def report_page(report: Report, previous: Report | None = None) -> str:
    """The whole file; ``previous`` is what it is compared with."""
    fit = bounded(report)
    # Boards come as they were ready; here "board-2" stands before "board-10".
    fit = replace(fit, boards=tuple(sorted(fit.boards, key=lambda one: _numbered(one.name))))
    comparison = compare(previous, fit) if previous else None
    state, mark, title, sentence = _headline(fit)
    main = element(
        "main",
        _verdict(fit, state, mark, title, sentence),
        comparison_section(comparison),
        _card("cases", "Cases and boards", matrix(fit, comparison)),
        _card("boards", "Boards", _boards(fit)),
        _card("versions", "Versions", _versions(fit)),
        id="content",
    )
    body = (
        element("a", "Skip to the cases", href="#cases", class_="skip"),
        _header(fit),
        main,
        element("footer", element("p", f"Made by Keyfob {__version__}; the same as data is in "
                "report.json and junit.xml beside it.")),
        element("dialog", id="panel", aria_labelledby="panel-title"),
        element("script", _data(fit, comparison), type="application/json", id="data"),
    )  # fmt: skip
    return document(
        f"{title} - Keyfob {' '.join(fit.run.suites)} {fit.run.id}",
        body,
        css=Path(__file__).with_name("page.css"),
        script=Path(__file__).with_name("page.js"),
    )


def _header(report: Report) -> Markup:
    run = report.run
    suites = ", ".join(run.suites)
    return element(
        "header",
        element("p", "Keyfob hardware in the loop", class_="tool"),
        element("p", element("strong", suites), f" on {_many(len(report.boards), 'board')}"),
        element("p", element("time", run.started, datetime=run.started),
                f", {run.seconds:.0f} s", class_="when"),
    )  # fmt: skip


def _headline(report: Report) -> tuple[str, str, str, str]:
    """Class, mark, words and sentence of the verdict."""
    counts = report.counts()
    bad = counts["fail"] + counts["error"]
    total = len(report.results)
    lost = sum(one.error is not None for one in report.boards)
    on = len({one.board for one in report.results if one.verdict in BAD})
    where = f"On {on} of {_many(len(report.boards), 'board')}."
    if bad:
        return "broken", "✗", f"{bad} of {total} failed", where
    if lost:
        return "broken", "✗", f"{_many(lost, 'board')} could not be tested", "The others passed."
    if report.run.status == "interrupted":
        return "unsure", "?", "Interrupted", f"{_many(total, 'result')} until then, none failed."
    if report.run.status in ("error", "failed"):
        return "broken", "✗", "The run did not get to its end", "No case failed until then."
    if not counts["pass"] + counts["warn"]:
        return "unsure", "?", "Nothing was tested", "Every case was left out, see the reasons."
    if counts["warn"]:
        return "well", "✓", f"Passed, {_many(counts['warn'], 'warning')}", "Nothing failed."
    return "well", "✓", f"All {counts['pass']} passed", "Nothing failed, nothing was warned of."


def _verdict(report: Report, state: str, mark: str, title: str, sentence: str) -> Markup:
    counts = report.counts()
    told = [
        element("div", element("dt", element("span", MARKS[name], class_="mark"), WORDS[name]),
                element("dd", str(counts[name])), class_=WORDS[name])
        for name in VERDICTS
    ]  # fmt: skip
    tried = "passed, but not at once" if counts["flaky"] else "passed only when tried again"
    told.append(
        element("div", element("dt", "flaky", title=tried), element("dd", str(counts["flaky"])))
    )
    interrupted = "It was interrupted: what came after is not here."
    is_cut = report.run.status == "interrupted" and state == "broken"
    return element(
        "section",
        element(
            "h1", element("span", mark, class_="mark", aria_hidden="true"), title, id="verdict"
        ),
        element("p", sentence, " " + interrupted if is_cut else None, class_="cause"),
        element("dl", *told, class_="counts"),
        _failed(report),
        element("p", "run by ", element("code", report.run.command), class_="clocks"),
        class_=f"card verdict {state}",
        aria_labelledby="verdict",
    )


def _failed(report: Report) -> Markup | None:
    """What failed, case by case, with the boards on which it did."""
    rows = [
        element("li", element("b", one.name, class_="source"), one.error, class_="error")
        for one in report.boards
        if one.error is not None
    ]
    for case in report.cases:
        bad = [one for one in report.results if one.case == case.id and one.verdict in BAD]
        if bad:
            where = element("span", f"{case.suite} {case.part} ", class_="soft")
            reason = element("p", bad[0].reason or "", class_="soft")
            rows.append(element("li", where, element("b", case.name), " ", _links(bad), reason))
    if not rows:
        return None
    return together(element("h2", "What failed"), element("ul", *rows, class_="failures"))


def _links(results: Sequence[Result]) -> Markup:
    links = [
        together(" " if at else None, element("a", one.board, href=place(one.board, one.case)))
        for at, one in enumerate(results[:_LINKS])
    ]
    more = len(results) - _LINKS
    return element("span", *links, f" and {more} more" if more > 0 else None, class_="on")


def _boards(report: Report) -> Markup:
    heads = ("board", "kind", "place", "firmware", "MicroPython", *WORDS.values())
    rows = []
    for board in report.boards:
        own = [one.verdict for one in report.results if one.board == board.name]
        name = together(element("b", board.name), element("small", board.title))
        values = [board.kind, board.place, board.firmware, board.micropython]
        cells = [element("td", value or "–") for value in values]
        cells += [element("td", str(own.count(one) or ""), class_="count") for one in VERDICTS]
        rows.append(element("tr", element("th", name, scope="row"), *cells))
        if board.error is not None:
            said = element("td", f"could not be tested: {board.error}", colspan=str(len(heads)))
            rows.append(element("tr", said, class_="error"))
    head = element("tr", *[element("th", one, scope="col") for one in heads])
    table = element("table", element("thead", head), element("tbody", *rows), class_="list")
    return element(
        "div", table, class_="wide", role="region", aria_labelledby="boards", tabindex="0"
    )


def _versions(report: Report) -> Markup:
    rows = [
        element("div", element("dt", name), element("dd", value or "not here"))
        for name, value in report.versions.items()
    ]
    return element("dl", *rows, class_="versions")


def _card(name: str, title: str, content: Markup) -> Markup:
    head = element("h2", title, id=name)
    return element("section", head, content, class_="card", aria_labelledby=name)


def _data(report: Report, comparison: Comparison | None) -> Markup:
    """What the script needs, in a form in which no text of it can end the element."""
    boards = {one.name: at for at, one in enumerate(report.boards)}
    cases = {one.id: at for at, one in enumerate(report.cases)}
    told = report.as_dict()
    before: dict[int, Result] = {}
    if comparison:
        pairs = matched(comparison.before, comparison.after, comparison.pairs)
        before = {id(now): was for was, now in pairs if was is not None and now is not None}
    results: dict[str, Any] = {}
    for result, row in zip(report.results, told["results"], strict=True):
        was = before.get(id(result))
        row["was"] = {"verdict": was.verdict, "seconds": was.seconds} if was else None
        results[f"{boards[row.pop('board')]}/{cases[row.pop('case')]}"] = row
    shown = {
        "boards": told["boards"], "cases": told["cases"], "results": results,
        "previous": comparison.before.run.id if comparison else None,
    }  # fmt: skip
    text = json.dumps(shown, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # In a script element's text only "<" can begin an end tag or a comment.
    return Markup(text.replace("<", "\\u003c"))


def _numbered(name: str) -> list[tuple[int, str]]:
    """A key that sorts the numbers in a name as numbers."""
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [(int(one), "") if one.isdecimal() else (-1, one) for one in parts]


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
