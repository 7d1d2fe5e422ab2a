"""What logs and files show: a sign is something that happened, a fact something that is so.

A sign has the causes that it can have; a fact is one cause, as far as files can prove it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from keyfob_host.doctor.diagnosis import Evidence, Source


@dataclass(frozen=True)
class Sign:
    """Of one kind in one file. ``causes``: codes, the likeliest first. ``at``: the last time.

    ``kind``: what makes two lines the same. ``peer``: whom it was about, "" if the line does
    not say. ``is_echo``: it follows from something else, and counts only where that is missing.
    ``is_over``: it was so once, and the same peer came through afterwards.
    """

    source: Source
    kind: str
    text: str
    where: str
    causes: tuple[str, ...]
    at: datetime | None = None
    peer: str = ""
    count: int = 1
    is_echo: bool = False
    is_over: bool = False

    def evidence(self) -> Evidence:
        """As a diagnosis shows it."""
        times = f" ({self.count} times)" if self.count > 1 else ""
        return Evidence(self.source, f"{shortened(self.where)}: {self.text}{times}", self.at)


@dataclass(frozen=True)
class Fact:
    """``is_wrong``: so by itself; else it only explains a sign. ``since`` and ``until``: when it
    holds, where it is a matter of dates. ``fills``: names for the catalogue's fix."""

    code: str
    evidence: Evidence
    is_wrong: bool = True
    since: datetime | None = None
    until: datetime | None = None
    fills: tuple[tuple[str, str], ...] = ()

    def holds(self, at: datetime | None) -> bool:
        """Whether it was so at that moment; without one it is taken to have been."""
        if at is None:
            return True
        return not (self.since and at < self.since) and not (self.until and at > self.until)


@dataclass(frozen=True)
class Arrival:
    """A client that the broker let in, as its log or the board's console says."""

    client_id: str
    at: datetime | None
    address: str = ""


@dataclass
class LogRead:
    """What a log says. ``first`` and ``last``: its times; ``clock``: whose they are."""

    where: str
    what: str
    lines: int = 0
    signs: list[Sign] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    notes: list[str] = field(default_factory=list)

    def saw(self, at: datetime | None) -> None:
        """A line had this time."""
        if at is not None:
            self.first = min(self.first or at, at)
            self.last = max(self.last or at, at)


def shortened(path: str) -> str:
    """A file as evidence names it: with its folder, which is enough to know it."""
    return "/".join(path.rsplit("/", 2)[-2:])


def merged(signs: list[Sign]) -> list[Sign]:
    """One for each kind, peer's included, with how often and when last."""
    found: dict[tuple[object, ...], Sign] = {}
    for one in signs:
        key = (one.source, one.kind, one.peer, one.causes)
        known = found.get(key)
        if known is None:
            found[key] = one
            continue
        latest = one if one.at and (known.at is None or one.at >= known.at) else known
        found[key] = replace(
            latest, count=known.count + one.count, is_over=known.is_over and one.is_over
        )
    return list(found.values())
