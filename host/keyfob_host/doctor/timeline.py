"""Board, wire, broker and this host on one clock: the entries, and how they read.

The clock is this host's, in UTC. A broker's log has whole seconds, so that a line of it was
at any moment of its second: it is sorted to the second's beginning and shown without
milliseconds. How the entries are found and chosen is `timeline_gathering`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal

from keyfob_host.doctor.diagnosis import Source
from keyfob_host.printable import LINE_CHARS, printable

SOURCES: tuple[Source, ...] = ("board", "wire", "broker", "host")
Mark = Literal["", "evidence", "failure"]

_GAP = timedelta(seconds=2)
_DAY_S = 86_400


@dataclass(frozen=True)
class Entry:
    """Something at a moment. ``at``: None if nothing tells.

    ``is_whole_second``: it was somewhere in that second. ``sender`` and ``connection``: of
    what was seen on the wire. ``left_out``: how many entries right before it are not shown.
    """

    source: Source
    at: datetime | None
    text: str
    is_whole_second: bool = False
    sender: str = ""
    connection: int = 0
    mark: Mark = ""
    left_out: int = 0

    def clock(self) -> str:
        """Its time of day in UTC, as exactly as it is known; "" if it is not."""
        if self.at is None:
            return ""
        at = self.at.astimezone(timezone.utc)
        return f"{at:%H:%M:%S}" if self.is_whole_second else f"{at:%H:%M:%S}.{_ms(at):03}"

    def words(self) -> str:
        """The text, and before it who said it on which connection."""
        head = f"#{self.connection} " if self.connection else ""
        return f"{head}{self.sender}: {self.text}" if self.sender else f"{head}{self.text}"

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        shown: dict[str, Any] = {
            "at": _iso(self.at),
            "precision": "s" if self.is_whole_second else "ms" if self.at else None,
            "source": self.source,
            "text": self.text,
            "mark": self.mark,
            "left_out_before": self.left_out,
        }
        if self.source == "wire":
            shown |= {"from": self.sender, "connection": self.connection}
        return shown


@dataclass(frozen=True)
class Timeline:
    """Sorted by time, entries without one last. ``left_out``: how many are not in it.

    ``board_ahead_s``: how far the board's own clock was ahead of this host's when it was last
    set, None if it told of no such moment.
    """

    entries: tuple[Entry, ...]
    now: datetime
    failed_at: datetime | None = None
    booted_at: datetime | None = None
    board_ahead_s: float | None = None
    left_out: int = 0

    def clocks(self) -> str:
        """On which clock all of it is, and how far the board's own is from that."""
        ahead_s = self.board_ahead_s
        if ahead_s is None:
            own = "the board told of no setting of its own clock"
        elif abs(ahead_s) <= 1:  # it is told in whole seconds
            own = "the board's own clock was right within a second when it was last set"
        else:
            way = "ahead of" if ahead_s > 0 else "behind"
            own = f"the board's own clock was {_lasting(abs(ahead_s))} {way} it when last set"
        return f"UTC by this host's clock; {own}"

    def as_text(self) -> str:
        """For people: a line an entry, the failure's marked."""
        rows = [f"time   {self.clocks()}", ""]
        marks = {"": "  ", "evidence": " >", "failure": ">>"}
        before: datetime | None = None
        for one in self.entries:
            rows += [f"{'':17}{said}" for said in between(before, one)]
            said = printable(one.words(), limit=LINE_CHARS)
            rows.append(f"{marks[one.mark]} {one.clock() or '?':<13} {one.source:<7} {said}")
            before = one.at
        rows += [] if self.entries else ["nothing was seen"]
        if self.left_out:
            rows += ["", f"{self.left_out} lines far from boot, failure and now are left out"]
        if any(one.mark == "failure" for one in self.entries):
            rows += ["", ">> the failure, > what else says so"]
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "clock": "UTC, this host's",
            "board_clock_ahead_s": self.board_ahead_s,
            "booted_at": _iso(self.booted_at),
            "failed_at": _iso(self.failed_at),
            "looked_at": _iso(self.now),
            "left_out": self.left_out,
            "entries": [one.as_dict() for one in self.entries],
        }


def between(before: datetime | None, entry: Entry) -> list[str]:
    """What is to be said between an entry at ``before`` and ``entry``: a gap, another day."""
    said = []
    gap = entry.at - before if entry.at and before else timedelta()
    left = f"{entry.left_out} line{'s' * (entry.left_out != 1)} left out" if entry.left_out else ""
    if gap >= _GAP:
        said.append(f"… {_lasting(gap.total_seconds())} later" + (f", {left}" if left else ""))
    elif left:
        said.append(f"… {left}")
    if entry.at is None and before is not None and not said:
        said.append("… at a moment that nothing tells")
    day = _day(entry.at)
    if day is not None and day != _day(before):
        said.append(f"{day:%Y-%m-%d}")
    return said


def _ms(at: datetime) -> int:
    return at.microsecond // 1000


def _iso(at: datetime | None) -> str | None:
    """Always with milliseconds, so that the texts sort as the times do."""
    if at is None:
        return None
    shown = at.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")


def _day(at: datetime | None) -> date | None:
    return at.astimezone(timezone.utc).date() if at else None


def _lasting(seconds: float) -> str:
    """``4.2 s``, ``3 min 12 s``, ``2 h 5 min``, ``12 days``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if seconds < _DAY_S else f"{seconds / _DAY_S:.0f} days"
