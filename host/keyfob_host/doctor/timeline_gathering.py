"""Line up all that was seen of a board and its broker, and mark what says that it is broken.

A board's events count from its boot, which was dated by the moment at which one of them
arrived here; tap and broker write this host's time. Of a board's console lines that are no
events only the ROM's and MicroPython's own words are taken: what else stands there may be a
file on its way, with a password in it. What lies far from boot, failure and now is counted
and left out.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keyfob_host.console import parse_event
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.doctor.tap_daemon import EVENTS, tap_of
from keyfob_host.doctor.timeline import Entry, Mark, Timeline
from keyfob_host.doctor.tls_certificates import describe_seen, one_line
from keyfob_host.printable import EVIDENCE_CHARS, printable

_TAIL_BYTES = 1 << 20
_MOST_ENTRIES = 300
_MOST_UNDATED = 40
_BEFORE_BOOT = timedelta(seconds=1)
_AFTER_BOOT = timedelta(seconds=15)
_BEFORE_FAILURE = timedelta(seconds=20)  # as long as an attempt to connect takes
_AFTER_FAILURE = timedelta(seconds=5)
_LATELY = timedelta(seconds=15)
_SAME_MOMENT = timedelta(seconds=3)
# What ROM and MicroPython print by themselves.
_SYSTEM_LINE = re.compile(
    r"(ets J|rst:0x|boot:0x|load:0x|entry 0x|invalid header|flash read err|csum |MPY: |"
    r"MicroPython v|Traceback \(|  File \"[^\"]{1,80}\", line \d|Guru Meditation|abort\(\)|"
    r"Brownout|Fatal exception|wdt reset|Task watchdog|Rebooting\.\.\.|"
    r"[A-Za-z]{1,30}(Error|Interrupt|Exit)\b)"
)


def line_up(
    seen: Sightings, diagnosis: Diagnosis | None, wire: Iterable[Mapping[str, Any]] = ()
) -> Timeline:
    """One `Timeline` of it all; ``wire``: the tap's events, as `TapEvent.as_dict` has them."""
    evidence = diagnosis.evidence if diagnosis else ()
    failure = _failure(evidence)
    failed_at = failure.at if failure else None
    found = [*_of_board(seen), *_of_broker(seen), *_of_host(seen)]
    meanings: dict[int, str] = {}
    for event in wire:
        with_meaning = _of_wire(event, seen.now)
        if with_meaning is not None:
            meanings[len(found)] = with_meaning[1]
            found.append(with_meaning[0])
    for one in evidence:
        _mark(found, meanings, one, "failure" if one is failure else "evidence", failed_at)
    dated = [(one.at, one) for one in found if one.at is not None]
    dated.sort(key=lambda pair: pair[0])
    undated = [one for one in found if one.at is None]
    shown, left_out = _near(dated, _windows(seen, failed_at), failed_at or seen.now)
    undated, dropped = undated[-_MOST_UNDATED:], max(0, len(undated) - _MOST_UNDATED)
    if dropped:
        undated[0] = replace(undated[0], left_out=dropped)
    return Timeline(
        (*shown, *undated), seen.now, failed_at, seen.board.booted_at,
        seen.board.clock_ahead_s(), left_out + dropped,
    )  # fmt: skip


def read_wire(broker_dir: Path) -> tuple[dict[str, Any], ...]:
    """The latest events of the bench's tap, the oldest first; none without a tap."""
    if tap_of(broker_dir) is None:
        return ()
    try:
        with (broker_dir / EVENTS).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        with suppress(ValueError):  # the first is cut, and the last may be half written
            event = json.loads(line)
            if isinstance(event, dict):
                found.append(event)
    return tuple(found)


# -- what there is


def _of_board(seen: Sightings) -> Iterator[Entry]:
    """Its events, and between them what ROM and MicroPython said, at the time of those.

    Where there is no event, at the time at which it said its last.
    """
    board = seen.board
    at = board.at(board.events[0]) if board.events else board.said_at
    for line in board.lines:
        event = parse_event(line)
        if event is not None:
            evidence = board.evidence(event)
            at = evidence.at
            yield Entry("board", at, _bounded(evidence.text))
        elif _SYSTEM_LINE.match(line.lstrip("> ") if line.startswith(">>>") else line):
            yield Entry("board", at, _bounded(line))


def _of_broker(seen: Sightings) -> Iterator[Entry]:
    for line in seen.broker.log:
        if line.at is not None and line.text.strip():
            yield Entry("broker", line.at, _bounded(line.text), line.at.microsecond == 0)


def _of_host(seen: Sightings) -> Iterator[Entry]:
    """What this host met when it asked the broker itself."""
    served = seen.served
    if served is None:
        return
    where = f"this host at {served.host}:{served.port}"
    if served.stage != "done":
        yield Entry("host", seen.now, _bounded(f"{where}: {served.stage}: {served.trouble}"))
    elif served.chain:
        shown = one_line(describe_seen(served.chain[0]))
        yield Entry("host", seen.now, _bounded(f"{where}: {served.version}, is shown {shown}"))
    else:
        yield Entry("host", seen.now, _bounded(f"{where}: {served.version}, no certificate seen"))
    if served.is_plain:
        yield Entry("host", seen.now, f"{served.host}:{served.port} answers MQTT in clear")


def _of_wire(event: Mapping[str, Any], now: datetime) -> tuple[Entry, str] | None:
    """With the meaning that a connection's verdict has; None for a line of another kind."""
    try:
        at = datetime.fromisoformat(str(event["at"]).replace("Z", "+00:00"))
        text, number, sender = str(event["text"]), int(event["connection"]), str(event["from"])
    except (KeyError, ValueError, TypeError):
        return None
    if at.tzinfo is None or at > now:  # later is the doctor's own doing
        return None
    meaning = str(event.get("meaning", ""))
    return Entry("wire", at, _bounded(text), sender=sender, connection=number), meaning


# -- what of it says that it is broken


def _failure(evidence: Sequence[Evidence]) -> Evidence | None:
    """The board's own word on it first, then anybody's; one with a time before one without."""
    ranked = sorted(evidence, key=lambda one: (one.source != "board", one.at is None))
    return ranked[0] if ranked else None


def _mark(
    found: list[Entry],
    meanings: Mapping[int, str],
    evidence: Evidence,
    mark: Mark,
    failed_at: datetime | None,
) -> None:
    """Mark the entry that is ``evidence``, the last that fits; add one where none is."""
    fits = [
        index
        for index, entry in enumerate(found)
        if entry.source == evidence.source
        and _is_same(entry, meanings.get(index, ""), evidence)
        and _fits(entry, evidence, failed_at)
    ]
    if fits:
        # A log can say the same twice in a second, and both are evidence.
        index = [*fits, *(one for one in fits if not found[one].mark)][-1]
        text = _bounded(f"{found[index].text}{evidence.compared}")
        known = found[index]
        found[index] = replace(
            known, at=known.at or evidence.at, mark=known.mark or mark, text=text
        )
        return
    at = evidence.at
    is_whole = evidence.source == "broker" and at is not None and not at.microsecond
    found.append(
        Entry(evidence.source, at, _bounded(evidence.text + evidence.compared), is_whole, mark=mark)
    )


def _is_same(entry: Entry, meaning: str, evidence: Evidence) -> bool:
    text = _bounded(evidence.text)
    # Of a console's line only the piece that says something may be the evidence.
    is_piece = evidence.source == "board" and text in entry.text
    return text in (entry.text, _bounded(meaning)) or is_piece


def _fits(entry: Entry, evidence: Evidence, failed_at: datetime | None) -> bool:
    if entry.at is None:
        return True
    if evidence.at is not None:
        return entry.at == evidence.at
    return failed_at is None or entry.at <= failed_at + _SAME_MOMENT


# -- which of it is shown


def _windows(seen: Sightings, failed_at: datetime | None) -> list[tuple[datetime, datetime]]:
    """Around boot, failure and now; nothing from long before the boot that all else follows."""
    now, booted_at = seen.now, seen.board.booted_at
    found = [(now - _LATELY, now)]
    if failed_at is not None:
        found.append((failed_at - _BEFORE_FAILURE, failed_at + _AFTER_FAILURE))
    if booted_at is not None:
        since = booted_at.replace(microsecond=0) - _BEFORE_BOOT
        found = [(max(start, since), end) for start, end in found]
        found.append((since, booted_at + _AFTER_BOOT))
    return found


def _near(
    dated: Sequence[tuple[datetime, Entry]],
    windows: Sequence[tuple[datetime, datetime]],
    focus: datetime,
) -> tuple[list[Entry], int]:
    """Those in a window, at most so many, the nearest to ``focus``; evidence always."""
    inside = [
        index
        for index, (at, one) in enumerate(dated)
        if one.mark or any(start <= at <= end for start, end in windows)
    ]
    inside.sort(key=lambda index: (not dated[index][1].mark, abs(dated[index][0] - focus)))
    kept = sorted(inside[:_MOST_ENTRIES])
    chosen = set(kept)
    skipped = Counter(bisect(kept, index) for index in range(len(dated)) if index not in chosen)
    shown = [replace(dated[index][1], left_out=skipped[n]) for n, index in enumerate(kept)]
    return shown, sum(skipped.values())


def _bounded(text: str) -> str:
    """One line without control or direction characters, which are spelled out instead."""
    return printable(text.strip().replace("\t", " ").replace("\n", " "), limit=EVIDENCE_CHARS)
