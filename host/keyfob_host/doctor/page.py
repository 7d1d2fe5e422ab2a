"""The doctor's verdict and what it rests on, as one HTML file.

It needs no network (see `keyfob_host.page.document`), and it is read without the script,
which copies the fix and no more. No key and no password is in what it is made of: see
`sightings` and `timeline_gathering`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote

from keyfob_host import __version__
from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.diagnosis import Confidence, Diagnosis
from keyfob_host.doctor.ladder import TITLES, Ladder, Rung
from keyfob_host.doctor.page_timeline import time_table
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.doctor.timeline import Timeline
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.page.document import document
from keyfob_host.page.markup import Markup, element, together
from keyfob_host.printable import EVIDENCE_CHARS, printable

_CONFIDENCE: dict[Confidence, str] = {
    "certain": "nothing else shows this",
    "likely": "it shows so, and so could others",
    "possible": "a guess",
}
_STATES = {"holds": ("✓", "holds"), "broken": ("✗", "broken"), "not seen": ("–", "not seen")}


@dataclass(frozen=True)
class Page:
    """What is shown. ``has_wire``: the bench has a tap, and it saw something."""

    seen: Sightings
    ladder: Ladder
    timeline: Timeline
    has_wire: bool = False

    def as_html(self) -> str:
        """The whole file."""
        main = element(
            "main", self._verdict(), self._ladder(), self._time_line(), id="content"
        )  # fmt: skip
        skip = element("a", "Skip to the time line", href="#time-line", class_="skip")
        return document(
            f"{self.seen.board.name}: {self._headline()[1]} - Keyfob doctor",
            (skip, self._header(), main, self._footer()),
            css=_beside("page.css"),
            script=_beside("page.js"),
        )

    # -- its parts

    def _header(self) -> Markup:
        board = self.seen.board
        kind = board.kind.title if board.name == board.kind.name else board.kind.name
        return element(
            "header",
            element("p", "Keyfob doctor", class_="tool"),
            element("p", element("strong", board.name), f" {kind}", class_="subject"),
            element("p", "looked at ", _time(self), class_="when"),
        )

    def _headline(self) -> tuple[str, str, str]:
        """Class, words and sentence of the verdict."""
        if self.ladder.diagnosis is not None:
            found = self.ladder.diagnosis
            return "broken", f"broken: {TITLES[found.rung]}", found.cause.cause
        if self.ladder.is_well:
            return (
                "well",
                "all rungs hold",
                "From its settings to its messages all was seen to work.",
            )
        unseen = ", ".join(TITLES[one.name] for one in self.ladder.rungs if one.state != "holds")
        return "unsure", "nothing is seen to be broken", f"But not everything was seen: {unseen}."

    def _verdict(self) -> Markup:
        state, title, sentence = self._headline()
        mark = {"broken": "✗", "well": "✓", "unsure": "?"}[state]
        found = self.ladder.diagnosis
        head = (
            element(
                "h1",
                element("span", mark, class_="mark", aria_hidden="true"),
                title[:1].upper() + title[1:],
                id="verdict",
            ),
            element("p", sentence, class_="cause"),
        )
        rest: tuple[Markup | None, ...] = ()
        if found is not None:
            rest = (
                _names(found),
                _compared(found),
                _evidence(found, self),
                _fix(found),
                _or(found),
            )
        elif not self.ladder.is_well:
            told = element("p", "Let it boot while the doctor listens, and more can be seen.")
            rest = (element("h2", "What to do"), told, _command(self.ladder.fix))
        return element(
            "section", *head, *rest, _looked_at(self), class_=f"card verdict {state}",
            aria_labelledby="verdict",
        )  # fmt: skip

    def _ladder(self) -> Markup:
        rows = [_rung(one) for one in self.ladder.rungs]
        return element(
            "section", element("h2", "The way to its broker, rung by rung", id="ladder"),
            element("ol", *rows, class_="ladder"), class_="card", aria_labelledby="ladder",
        )  # fmt: skip

    def _time_line(self) -> Markup:
        return element(
            "section",
            element("h2", "What was seen, in the order of time", id="time-line"),
            time_table(self.timeline, self._missing()),
            class_="card", aria_labelledby="time-line",
        )  # fmt: skip

    def _missing(self) -> dict[str, str]:
        """Why a column is empty, and what fills it."""
        missing = {}
        if not self.has_wire:
            missing["wire"] = "no tap: keyfob broker up --tap"
        if not self.seen.broker.log:
            missing["broker"] = "no log of it here: --broker-log FILE"
        return missing

    def _footer(self) -> Markup:
        return element(
            "footer",
            element("p", f"Made by Keyfob {__version__}. No key and no password is in this page."),
        )


def check_page_path(path: Path) -> None:
    """Refuse what a page cannot be written over, before anything is looked at.

    Errors: ``doctor.page-not-a-file``, ``file.*``.
    """
    with explain_os_error(path, "write the page"):
        is_there, is_file, is_folder = path.exists(), path.is_file(), path.is_dir()
        if not is_there:
            # Its folder is made if need be; here it is the nearest that there is.
            folder = next(one for one in path.absolute().parents if one.exists())
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if is_file or (not is_there and str(path) != "-"):
        return
    what = "a folder" if is_folder else "no regular file" if is_there else "no name of a file"
    name = str(path / "doctor.html") if is_folder else "doctor.html"
    raise KeyfobHostError(
        "doctor.page-not-a-file", "the page is a file, and cannot be written there",
        evidence=f"{path} is {what}", fix=f"run it again with --html {quote(name)}",
        status=ExitStatus.INPUT,
    )  # fmt: skip


def write_page(path: Path, page: Page) -> Path:
    """Write it whole or not at all; where it is. A link is followed to its file, never a folder.

    Errors: ``file.*``, ``host.*``.
    """
    # Looked at again: listening took a while.
    check_page_path(path)
    target = Path(os.path.realpath(path))
    write_atomic(target, page.as_html())
    return target


def _names(found: Diagnosis) -> Markup:
    sure = together(element("strong", found.confidence), f" - {_CONFIDENCE[found.confidence]}")
    cells = (("code", element("code", found.code)), ("confidence", sure))
    rows = [element("div", element("dt", name), element("dd", text)) for name, text in cells]
    return element("dl", *rows, class_="names")


def _compared(found: Diagnosis) -> Markup | None:
    """The values that differ, one above the other."""
    tables = []
    for one in found.evidence:
        values = (("seen", one.seen or "nothing"), ("wanted", one.wanted))
        rows = [
            element(
                "tr", element("th", name, scope="row"),
                element("td", element("code", _bounded(value))), class_=name,
            )
            for name, value in values
            if value
        ]  # fmt: skip
        if one.seen or one.wanted:
            caption = element("caption", _bounded(one.text))
            tables.append(element("table", caption, *rows, class_="compared"))
    return together(*tables) if tables else None


def _evidence(found: Diagnosis, page: Page) -> Markup:
    rows = []
    for one in found.evidence:
        when = None
        if one.at is not None:
            at = one.at.astimezone(timezone.utc)
            when = element("time", f"{at:%H:%M:%S}Z", datetime=at.isoformat(timespec="seconds"))
        source = "this host" if one.source == "host" else one.source
        rows.append(
            element(
                "li",
                element("b", source, class_=f"source {one.source}"),
                when,
                f" {_bounded(one.text)}",
            )
        )
    is_marked = any(one.mark == "failure" for one in page.timeline.entries)
    link = element("a", "the moment on the time line", href="#failure") if is_marked else None
    return together(
        element("h2", "What says so"), element("ul", *rows, class_="evidence"),
        element("p", "→ ", link) if link else None,
    )  # fmt: skip


def _fix(found: Diagnosis) -> Markup:
    advice = element("p", found.cause.advice) if found.cause.advice else None
    return together(element("h2", "The fix"), advice, _command(found.fix or found.cause.fix))


def _command(text: str) -> Markup:
    return element(
        "div",
        element("pre", element("code", text, id="fix")),
        element("button", "Copy", type="button", id="copy", hidden=True),
        class_="fix",
    )


def _or(found: Diagnosis) -> Markup | None:
    if not found.others:
        return None
    known = load_catalogue()
    rows = [
        element("li", element("code", code), f" {known[code].cause}" if code in known else "")
        for code in found.others
    ]
    tell = element("p", found.cause.tell_apart) if found.cause.tell_apart else None
    return together(
        element("h2", "What it could be too"), element("ul", *rows, class_="others"), tell
    )


def _looked_at(page: Page) -> Markup:
    """What there was to go by, so that the reader knows what was not."""
    board, broker, served = page.seen.board, page.seen.broker, page.seen.served
    since = page.timeline.booted_at
    heard = f"{len(board.events)} events" + (f" since its boot at {_clock(since)}" if since else "")
    where = f"{page.seen.host}:{page.seen.port}" if page.seen.host else "not known"
    rows = {
        "board": ", ".join(one for one in (board.kind.name, board.port, board.state) if one),
        "its console": heard if board.events else f"{len(board.lines)} lines, no event",
        "its files": f"read from {board.files.how}" if board.files.how else "not read",
        "broker": where + (", asked by this host too" if served else ""),
        "broker's log": f"{len(broker.log)} lines" if broker.log else "none here",
        "tap": "its events" if page.has_wire else "none, or it saw nothing",
        "clocks": page.timeline.clocks(),
        "note": page.ladder.note,
    }
    shown = [
        element("div", element("dt", name), element("dd", text))
        for name, text in rows.items()
        if text
    ]
    return together(element("h2", "What was looked at"), element("dl", *shown, class_="looked"))


def _clock(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _rung(rung: Rung) -> Markup:
    mark, words = _STATES[rung.state]
    text = element("code", rung.text) if rung.state == "broken" else rung.text
    return element(
        "li",
        element("span", mark, class_="mark", aria_hidden="true"),
        element("span", TITLES[rung.name], class_="rung"),
        element("span", words, class_="state"),
        element("span", text, class_="text") if rung.text else None,
        class_=rung.state.replace(" ", "-"),
    )


def _time(page: Page) -> Markup:
    at = page.timeline.now.astimezone(timezone.utc)
    return element("time", _clock(at), datetime=at.isoformat(timespec="seconds"))


def _bounded(text: str) -> str:
    return printable(text, limit=EVIDENCE_CHARS)


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)
