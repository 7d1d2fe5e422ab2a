"""Two runs compared, case by case and board by board: what is worse, better, slower, other.

Boards are matched by name, and those left over by their kind, in order: the same bench
may call them otherwise, and another bench does. Worse is what fails now and did not
before; all else that differs is told, and is no reason for a command to fail. What passed at
once and now takes several attempts is told as flaky. Times are compared as a hint: nothing is
known of how busy either machine was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from keyfob_host.hil.report.data import BAD, GOOD, Board, Report, Result, Verdict

# In the order in which they are told. Mended is also what was warned of, and new what was
# skipped.
Change = Literal["failing", "mended", "flaky", "warned", "skipped", "slower", "new", "missing"]
CHANGES: Mapping[Change, str] = {
    "failing": "newly failing",
    "mended": "mended",
    "flaky": "newly flaky",
    "warned": "newly warned",
    "skipped": "now skipped",
    "slower": "slower",
    "new": "new",
    "missing": "missing",
}
_SLOWER = 2.0
_SLOW_S = 2.0  # below, a difference is the machine's and not the board's


@dataclass(frozen=True)
class Difference:
    """A case that differs on ``board``, as it is called now (before, if it is missing).

    ``before`` and ``after`` are None where there is no result.
    """

    change: Change
    board: str
    case: str
    before: Result | None
    after: Result | None

    @property
    def verdicts(self) -> tuple[Verdict | None, Verdict | None]:
        """Before and after."""
        return (
            self.before.verdict if self.before else None,
            self.after.verdict if self.after else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        told = {
            name: {"verdict": one.verdict, "seconds": one.seconds, "reason": one.reason}
            if one
            else None
            for name, one in (("before", self.before), ("after", self.after))
        }
        return {"change": self.change, "board": self.board, "case": self.case, **told}


@dataclass(frozen=True)
class VersionChange:
    """What changed its version; ``name`` is a board's where it is of its firmware."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Comparison:
    """``pairs``: the boards' names now, and before. ``lost``: boards that could not be
    tested, with the reason, where before they (or none of their name) had none."""

    before: Report
    after: Report
    pairs: Mapping[str, str]
    differences: tuple[Difference, ...]
    versions: tuple[VersionChange, ...]
    lost: tuple[Board, ...]

    @property
    def is_worse(self) -> bool:
        """Whether something fails now that did not fail before."""
        return bool(self.lost or self.of("failing"))

    @property
    def boards(self) -> tuple[list[str], list[str]]:
        """Those that were not there before, and those that are not there now."""
        new = [one.name for one in self.after.boards if one.name not in self.pairs]
        known = set(self.pairs.values())
        return new, [one.name for one in self.before.boards if one.name not in known]

    def of(self, change: Change) -> list[Difference]:
        """The differences of one kind."""
        return [one for one in self.differences if one.change == change]

    def groups(self, change: Change) -> list[list[Difference]]:
        """As `of`, the boards together on which a case changed in the same way."""
        found: dict[tuple[object, ...], list[Difference]] = {}
        for one in self.of(change):
            apart = one.board if change == "slower" else None
            found.setdefault((one.case, one.verdicts, apart), []).append(one)
        return list(found.values())

    def case_names(self) -> dict[str, str]:
        """What the cases of both are called, by their ids."""
        return {one.id: one.name for one in (*self.before.cases, *self.after.cases)}

    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {name: len(self.of(name)) for name in CHANGES}

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "before": self.before.run.id,
            "after": self.after.run.id,
            "worse": self.is_worse,
            "counts": self.counts(),
            "differences": [one.as_dict() for one in self.differences],
            "versions": [vars(one) for one in self.versions],
            "boards": dict(zip(("new", "missing"), self.boards, strict=True)),
            "not_tested": [{"board": one.name, "reason": one.error} for one in self.lost],
        }


def compare(before: Report, after: Report) -> Comparison:
    """What changed from ``before`` to ``after``."""
    pairs = _pairs(before, after)
    had_error = {one.name for one in before.boards if one.error is not None}
    lost = tuple(
        one for one in after.boards
        if one.error is not None and pairs.get(one.name) not in had_error
    )  # fmt: skip
    differences = sorted(
        _differences(before, after, pairs), key=lambda one: list(CHANGES).index(one.change)
    )
    return Comparison(
        before, after, pairs, tuple(differences), tuple(_versions(before, after, pairs)), lost
    )


def _pairs(before: Report, after: Report) -> dict[str, str]:
    names = {one.name for one in before.boards} & {one.name for one in after.boards}
    pairs = {name: name for name in names}
    left = [one for one in before.boards if one.name not in names]
    for board in after.boards:
        alike = [one for one in left if one.kind == board.kind]
        if board.name not in pairs and alike:
            pairs[board.name] = alike[0].name
            left.remove(alike[0])
    return pairs


def matched(
    before: Report, after: Report, pairs: Mapping[str, str]
) -> list[tuple[Result | None, Result | None]]:
    """The results of both, side by side; None where one of them has none.

    A case that was run once in each, dealt out to any of the boards, is matched as it is.
    """
    old, new = before.cells(), after.cells()
    was_once, is_once = _once(before), _once(after)
    found: list[tuple[Result | None, Result | None]] = []
    for (board, case), now in new.items():
        was = old.get((pairs.get(board, ""), case))
        if was is None and case in is_once:
            was = was_once.get(case)
        found.append((was, now))
    seen = {id(was) for was, _ in found}
    found += [(was, None) for was in before.results if id(was) not in seen]
    return found


def _once(report: Report) -> dict[str, Result]:
    """The results of the cases that have one only."""
    times = Counter(one.case for one in report.results)
    return {one.case: one for one in report.results if times[one.case] == 1}


def _differences(before: Report, after: Report, pairs: Mapping[str, str]) -> Iterator[Difference]:
    names = {was: now for now, was in pairs.items()}
    # Where less was asked for, what was not is not missed, nor is a board that was not there.
    asked = {(one.suite, one.part) for one in after.cases}
    if before.run.command == after.run.command:
        asked |= {(one.suite, one.part) for one in before.cases}
    parts = {one.id: (one.suite, one.part) for one in before.cases}
    for was, now in matched(before, after, pairs):
        if now is not None:
            change = _change(was, now)
            # All of a new board's cases are new; it is told once, as a board.
            if change == "new" and now.board not in pairs:
                continue
            # Another board's time says nothing.
            if change == "slower" and was is not None and pairs.get(now.board) != was.board:
                continue
            if change:
                yield Difference(change, now.board, now.case, was, now)
        elif was is not None and was.board in names and parts[was.case] in asked:
            yield Difference("missing", names[was.board], was.case, was, None)


def _change(was: Result | None, now: Result) -> Change | None:
    """Of the changes that it could be called, the first in their order."""
    if now.verdict in BAD and (was is None or was.verdict not in BAD):
        return "failing"
    if was is None or (was.verdict == "skip" and now.verdict in GOOD):
        return "new"
    is_better = was.verdict == "warn" and now.verdict == "pass"
    if is_better or (was.verdict in BAD and now.verdict in GOOD):
        return "mended"
    if now.is_flaky and was.verdict in GOOD and not was.is_flaky:
        return "flaky"
    if was.verdict != now.verdict and now.verdict in ("warn", "skip"):
        return "warned" if now.verdict == "warn" else "skipped"
    if is_slower(was, now):
        return "slower"
    return None


def is_slower(was: Result, now: Result) -> bool:
    """Whether it passed both times and took more than twice as long."""
    both_passed = was.verdict in GOOD and now.verdict in GOOD
    return both_passed and now.seconds > max(_SLOW_S, _SLOWER * was.seconds)


def _versions(before: Report, after: Report, pairs: Mapping[str, str]) -> Iterator[VersionChange]:
    for name in {**before.versions, **after.versions}:
        was, now = before.versions.get(name), after.versions.get(name)
        if was != now:
            yield VersionChange(name, was, now)
    old = {one.name: one for one in before.boards}
    for board in after.boards:
        was_board = old.get(pairs.get(board.name, ""))
        for what in ("firmware", "micropython") if was_board else ():
            was, now = getattr(was_board, what), getattr(board, what)
            if was != now:
                yield VersionChange(f"{board.name}: {what}", was, now)
