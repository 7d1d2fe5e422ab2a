"""The doctor's look at a board that was to connect and did not, for the command that failed.

A failure never gets worse by it: the look has `LIMIT_S` and no more, changes nothing on board
and broker, and whatever fails in it becomes one line beside the error. What the command
heard of a real board is used again, a virtual one's log is read; neither is listened to anew.
Which command's error deserves a look is the command's to know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.doctor.board_look import look_at_hand
from keyfob_host.doctor.broker_look import look_at_broker
from keyfob_host.doctor.diagnosis import Diagnosis
from keyfob_host.doctor.ladder import Ladder, climb
from keyfob_host.doctor.look import look_around
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.errors import ExitStatus, KeyfobHostError, Remark
from keyfob_host.home import Home
from keyfob_host.printable import LINE_CHARS, printable
from keyfob_host.virtual.board import running

LIMIT_S = 6.0
_EVIDENCE_SHOWN = 4
_INTERRUPTED = "was interrupted while it looked"


@dataclass(frozen=True)
class Opinion:
    """``ladder``: None where the doctor could not look, and then ``note`` says why."""

    ladder: Ladder | None
    note: str = ""

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What is broken, None if nothing is seen to be."""
        return self.ladder.diagnosis if self.ladder else None

    @property
    def fix(self) -> str:
        """The diagnosis's, "" without one."""
        found = self.diagnosis
        return found.fix or found.cause.fix if found else ""

    def lines(self) -> tuple[str, ...]:
        """The short form, for people."""
        found = self.diagnosis
        if found is not None:
            others = ", ".join(found.others)
            # A broker says the same of each attempt; the last one is that of the failure.
            seen = [*{(e.source, e.text, e.compared): e.line() for e in found.evidence}.values()]
            return (
                f"{found.code}, {found.confidence}: {found.cause.cause}",
                *seen[:_EVIDENCE_SHOWN],
                *([f"or {others}: {found.cause.tell_apart}"] if others else []),
            )
        if self.ladder is None:
            return (self.note,)
        if self.ladder.is_well:
            return ("nothing is broken: every rung from settings to traffic holds",)
        unseen = [rung.name for rung in self.ladder.rungs if rung.state == "not seen"]
        return (f"nothing is seen to be broken; not seen: {', '.join(unseen)}",)

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape: of the diagnosis, with ``code`` None without one."""
        found: dict[str, object] = {"code": None}
        if self.diagnosis is not None:
            found = self.diagnosis.as_dict()
        told: dict[str, Any] = self.ladder.as_dict() if self.ladder else {"rungs": []}
        return {**found, "rungs": told["rungs"], "note": self.note}


@contextmanager
def diagnosing(
    codes: Container[str],
    look: Callable[[], Sightings],
    *,
    on_step: Callable[[str], None] = lambda _text: None,
) -> Iterator[None]:
    """Have an error whose code is in ``codes`` leave with the doctor's opinion."""
    try:
        yield
    except KeyfobHostError as error:
        if error.code in codes:
            diagnosed(error, look, on_step=on_step)
        raise


def diagnosed(
    error: KeyfobHostError,
    look: Callable[[], Sightings],
    *,
    on_step: Callable[[str], None] = lambda _text: None,
) -> KeyfobHostError:
    """``error`` with the doctor's opinion of what ``look`` sees; its fix goes first, if any.

    Ctrl-C ends the look, not the error: what failed is still to be told.
    """
    on_step(f"looking for the reason, at most {LIMIT_S:g} s")
    try:
        found = opinion(look)
    except KeyboardInterrupt:
        found = Opinion(None, _INTERRUPTED)
    error.remarks.append(Remark("doctor", found.lines(), "diagnosis", found.as_dict()))
    error.fix = found.fix or error.fix
    return error


def sightings(
    ref: BoardRef, home: Home, *, lines: Iterable[str] = (), last_at: datetime | None = None
) -> Sightings:
    """All that is at hand of ``ref`` and the broker of ``home``; not bounded, see `opinion`."""
    return look_around(home, look_at_hand(ref, lines, last_at), look_at_broker(home))


def sightings_of_device(home: Home, device_id: str) -> Sightings:
    """As `sightings`, of the virtual board that is up with this identity on it.

    Errors: ``board.not-at-hand``; those of `sightings`.
    """
    for virtual in running(home):
        ref = open_board(str(virtual.info()["kind"]), name=virtual.name, home=home)
        sight = look_at_hand(ref)
        if sight.files.settings.get("device_id") == device_id:
            return look_around(home, sight, look_at_broker(home))
    raise KeyfobHostError(
        "board.not-at-hand", f"no virtual board that is up has the identity {device_id}",
        fix="if it is a real one: keyfob doctor --board KIND --port PORT",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def opinion(look: Callable[[], Sightings]) -> Opinion:
    """What `climb` makes of what ``look`` sees, within `LIMIT_S`; raises Ctrl-C alone."""
    found: list[Opinion] = []

    def work() -> None:
        try:
            found.append(Opinion(climb(look())))
        except Exception as error:  # a defect of the doctor is no failure of the command
            why = f"{type(error).__name__}: {error}"
            if isinstance(error, KeyfobHostError):
                why = f"{error.cause}; {error.fix}"
            found.append(Opinion(None, printable(f"could not look: {why}", limit=LINE_CHARS)))

    # A name that does not resolve cannot be waited for less long than the system waits, so
    # the wait is here, and what is late is left behind.
    thread = threading.Thread(target=work, name="doctor", daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return found[0] if found else Opinion(None, f"was not done within {LIMIT_S:g} s")
