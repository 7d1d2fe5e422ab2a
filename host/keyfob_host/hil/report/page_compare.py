"""What changed since the run before, as a part of the page."""

from __future__ import annotations

from keyfob_host.hil.report.compare import CHANGES, Change, Comparison, Difference
from keyfob_host.hil.report.data import Result
from keyfob_host.hil.report.page_matrix import MARKS, WORDS, place
from keyfob_host.page.markup import Markup, element, together

_SHOWN = 12  # cases of one kind; the others are counted
_LINKS = 4  # boards of one case


def comparison_section(comparison: Comparison | None) -> Markup:
    """The card; without a run before it says that there is none."""
    if comparison is None:
        told = element("p", "There is no earlier run of these suites on such a board.")
        return _card("Compared with the run before", told)
    run = comparison.before.run
    title = together("Compared with ", element("time", run.started, datetime=run.started))
    groups = [_group(comparison, change, words) for change, words in CHANGES.items()]
    shown = [
        one for one in (*groups, _boards(comparison), _versions(comparison)) if one is not None
    ]
    nothing = element("p", "Every case ended as before, and no version changed.")
    return _card(title, *(shown or [nothing]))


def _card(title: str, *content: Markup) -> Markup:
    head = element("h2", title, id="compared")
    return element("section", head, *content, class_="card compared", aria_labelledby="compared")


def _group(comparison: Comparison, change: Change, words: str) -> Markup | None:
    """What changed in one way, a line for each case that did so."""
    groups = comparison.groups(change)
    if not groups:
        return None
    names = comparison.case_names()
    lines = [_line(same, names[same[0].case]) for same in groups]
    rows = [element("li", line) for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        rows.append(element("li", f"and {len(lines) - _SHOWN} more", class_="soft"))
    head = element(
        "h3", words[:1].upper() + words[1:], " ", element("b", str(sum(map(len, groups))))
    )
    return element("div", head, element("ul", *rows), class_=f"change now-{change}")


def _line(ones: list[Difference], name: str) -> Markup:
    """A case, how it ended before and now, and the boards."""
    was, now = ones[0].before, ones[0].after
    if ones[0].change == "slower" and was and now:
        change = element("span", f"{was.seconds:.1f} → {now.seconds:.1f} s", class_="seconds")
    else:
        change = together(_mark(was), " → ", _mark(now))
    boards = [
        together(
            " ",
            element("a", one.board, href=place(one.board, one.case)) if one.after else one.board,
        )
        for one in ones[:_LINKS]
    ]
    more = f" and {len(ones) - _LINKS} more" if len(ones) > _LINKS else None
    return together(change, " ", name, element("span", *boards, more, class_="soft"))


def _mark(one: Result | None) -> Markup:
    """The sign alone, its meaning for those who do not see it."""
    words = WORDS[one.verdict] if one else "not run"
    sign = MARKS[one.verdict] if one else "·"
    hidden = element("span", sign, aria_hidden="true")
    told = element("span", words, class_="unseen")
    return element("span", hidden, told, class_=f"{words.replace(' ', '-')} mark", title=words)


def _boards(comparison: Comparison) -> Markup | None:
    rows = [
        element("li", element("b", words), f" {', '.join(names[:_SHOWN])}",
                f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else None)
        for words, names in zip(("new", "missing"), comparison.boards, strict=True)
        if names
    ]  # fmt: skip
    if not rows:
        return None
    return element("div", element("h3", "Boards"), element("ul", *rows), class_="change")


def _versions(comparison: Comparison) -> Markup | None:
    if not comparison.versions:
        return None
    rows = [
        element("li", element("b", one.name), f" {one.before or 'none'} → {one.after or 'none'}")
        for one in comparison.versions
    ]
    head = element("h3", "Versions")
    return element("div", head, element("ul", *rows), class_="change")
