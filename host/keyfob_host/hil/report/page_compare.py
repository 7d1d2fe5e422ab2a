"""What changed since the run before, as a part of the page."""

from __future__ import annotations

from keyfob_host.hil.report.compare import CHANGES, Comparison, Difference
from keyfob_host.hil.report.page_matrix import MARKS, WORDS, place
from keyfob_host.page.markup import Markup, element, together

_SHOWN = 12  # of one kind; the others are counted


def comparison_section(comparison: Comparison | None) -> Markup:
    """The card; without a run before it says that there is none."""
    if comparison is None:
        told = element("p", "There is no earlier run of these suites on such a board.")
        return _card("Compared with the run before", told)
    run = comparison.before.run
    title = together("Compared with ", element("time", run.started, datetime=run.started))
    groups = [
        _group(comparison, [one for one in comparison.differences if one.change == name], words)
        for name, words in CHANGES.items()
    ]
    shown = [one for one in (*groups, _versions(comparison)) if one is not None]
    nothing = element("p", "Every case ended as before, and no version changed.")
    return _card(title, *(shown or [nothing]))


def _card(title: str, *content: Markup) -> Markup:
    head = element("h2", title, id="compared")
    return element("section", head, *content, class_="card compared", aria_labelledby="compared")


def _group(comparison: Comparison, ones: list[Difference], words: str) -> Markup | None:
    if not ones:
        return None
    names = {one.id: one.name for one in (*comparison.before.cases, *comparison.after.cases)}
    rows = [element("li", *_line(one, names[one.case])) for one in ones[:_SHOWN]]
    if len(ones) > _SHOWN:
        rows.append(element("li", f"and {len(ones) - _SHOWN} more", class_="soft"))
    change = ones[0].change
    head = element("h3", words[:1].upper() + words[1:], " ", element("b", str(len(ones))))
    return element("div", head, element("ul", *rows), class_=f"change {change}")


def _line(one: Difference, name: str) -> tuple[Markup, ...]:
    was, now = one.before, one.after
    verdicts = together(
        element("span", MARKS[was.verdict] if was else "·", class_="mark",
                title=WORDS[was.verdict] if was else "not run"),
        " → ",
        element("span", MARKS[now.verdict] if now else "·", class_="mark",
                title=WORDS[now.verdict] if now else "not run"),
    )  # fmt: skip
    shown = element("a", name, href=place(one.board, one.case)) if now else element("span", name)
    board = element("span", f" {one.board}", class_="soft")
    if one.change == "slower" and was and now:
        verdicts = element("span", f"{was.seconds:.1f} → {now.seconds:.1f} s", class_="seconds")
    return verdicts, together(" ", shown), board


def _versions(comparison: Comparison) -> Markup | None:
    if not comparison.versions:
        return None
    rows = [
        element("li", element("b", one.name), f" {one.before or 'none'} → {one.after or 'none'}")
        for one in comparison.versions
    ]
    head = element("h3", "Versions")
    return element("div", head, element("ul", *rows), class_="change versions-changed")
