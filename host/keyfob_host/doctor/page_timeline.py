"""The time line as a table: a row a moment, and board, wire and broker side by side.

A second is a group of rows. What is known to the millisecond has a row of its own; the
broker's lines, which are known to the second, stand beside all rows of theirs. What this
host did itself stands across the columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import groupby

from keyfob_host.doctor.timeline import Entry, Timeline, between
from keyfob_host.page.markup import Markup, element, together

_COLUMNS = ("board", "wire", "broker")
_EVENT = re.compile(r"([a-z0-9.-]{2,24})(?= \w+=|$)")
_WAYS = {"board": "board →", "broker": "← broker"}


def time_table(timeline: Timeline, missing: Mapping[str, str]) -> Markup:
    """``missing``: why a column is empty, by its name."""
    clocks = element("p", f"All times are {timeline.clocks()}.", class_="clocks")
    if not timeline.entries:
        return together(clocks, element("p", "Nothing was seen."))
    heads = [
        element(
            "th", name, element("small", missing[name]) if name in missing else None,
            scope="col", class_=name,
        )
        for name in _COLUMNS
    ]  # fmt: skip
    head = element("thead", element("tr", element("th", "time (UTC)", scope="col"), *heads))
    caption = element("caption", "board, wire and broker, on one clock")
    table = element("table", caption, head, *_groups(timeline.entries), class_="time-line")
    left = (
        element("p", f"{timeline.left_out} lines far from boot, failure and now are left out.")
        if timeline.left_out
        else None
    )
    legend = element(
        "p",
        "The board's events are dated by the moment at which one of them arrived here. The "
        "broker's log has whole seconds: its lines stand beside all that was in theirs.",
        class_="clocks",
    )
    region = element(
        "div", table, class_="wide", role="region", aria_labelledby="time-line", tabindex="0"
    )
    return together(clocks, legend, region, left)


def _groups(entries: Sequence[Entry]) -> Iterator[Markup]:
    before: datetime | None = None
    for _, group in groupby(entries, key=_second):
        ones = list(group)
        first = replace(ones[0], left_out=sum(one.left_out for one in ones))
        said = " · ".join(between(before, first))
        if said:
            cell = element("td", said, colspan=str(1 + len(_COLUMNS)), class_="gap")
            yield element("tbody", element("tr", cell))
        yield element("tbody", *_rows(ones))
        before = ones[-1].at or before


def _rows(ones: Sequence[Entry]) -> Iterator[Markup]:
    """Of one second; the broker's cell spans them all if its lines are of the whole second."""
    spanning = [one for one in ones if one.is_whole_second and one.source == "broker"]
    single = [one for one in ones if one not in spanning]
    rows = [list(group) for _, group in groupby(single, key=_column_key)] or [[]]
    for number, row in enumerate(rows):
        is_first = number == 0
        head = (row or spanning)[0]
        cells: list[Markup] = []
        if row and row[0].source == "host":
            width = len(_COLUMNS) - bool(spanning)
            said = [_entry(one, "this host") for one in row]
            cells.append(element("td", *said, colspan=str(width), class_="host"))
        else:
            for name in _COLUMNS[: len(_COLUMNS) - bool(spanning)]:
                said = [_entry(one) for one in row if one.source == name]
                cells.append(element("td", *said, class_=name))
        if spanning and is_first:
            said = [_entry(one) for one in spanning]
            span = str(len(rows)) if len(rows) > 1 else None
            cells.append(element("td", *said, class_="broker", rowspan=span))
        is_failure = any(one.mark == "failure" for one in (*row, *(spanning if is_first else ())))
        yield element("tr", _when(head), *cells, class_="failure" if is_failure else None)


def _when(one: Entry) -> Markup:
    clock = one.clock()
    if one.at is None:
        return element("th", "?", scope="row")
    second, dot, ms = clock.partition(".")
    shown = together(second, element("span", dot + ms, class_="ms") if dot else None)
    stamp = one.at.astimezone(timezone.utc).isoformat(
        timespec="seconds" if one.is_whole_second else "milliseconds"
    )
    return element("th", element("time", shown, datetime=stamp), scope="row")


def _entry(one: Entry, label: str = "") -> Markup:
    said = {"failure": "the failure", "evidence": "says so too"}.get(one.mark)
    return element(
        "p",
        element("strong", said, class_="badge") if said else None,
        element("b", label, class_="source host") if label else None,
        element("span", f"#{one.connection}", class_="number") if one.connection else None,
        element("span", _WAYS.get(one.sender, one.sender), class_="way") if one.sender else None,
        _said(one),
        class_=one.mark or None,
        id="failure" if one.mark == "failure" else None,
    )


def _said(one: Entry) -> Markup:
    """The text, an event's name in it made to stand out."""
    event = _EVENT.match(one.text) if one.source == "board" else None
    name = element("b", event[1]) if event else None
    return element("span", name, one.text[event.end(1) :] if event else one.text, class_="text")


def _second(one: Entry) -> object:
    return one.at.replace(microsecond=0) if one.at else None


def _column_key(one: Entry) -> object:
    """What shares a row: a moment, shown to the millisecond; this host's apart."""
    return one.clock(), one.source == "host"
