"""A diagnosis: the first rung that does not hold, its cause, and what was seen that says so.

What every way of looking hands back, at files or at a bench that runs, so that both read
alike. Causes are the catalogue's, or, where it has none, an error code of the board's with
what ``firmware/errors.txt`` says of it. How one is found is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.catalogue import LADDER, Cause, load_catalogue
from keyfob_host.errors import ExitStatus
from keyfob_host.printable import LINE_CHARS, printable

Source = Literal["board", "broker", "wire", "host"]
# certain: nothing else shows this; likely: it shows so, and so could others; possible: a guess.
Confidence = Literal["certain", "likely", "possible"]

# What kind of failure each rung's is.
_STATUS: Mapping[str, ExitStatus] = {
    "settings": ExitStatus.INPUT,
    "serial": ExitStatus.BOARD,
    "firmware": ExitStatus.BOARD,
    "store": ExitStatus.IDENTITY,
    "x509": ExitStatus.IDENTITY,
    "client-certificate": ExitStatus.IDENTITY,
}
# Where the board's own codes stand on the ladder, if not by their name.
_RUNGS = {"config": "settings", "rotate": "store", "board": "firmware"}


@dataclass(frozen=True)
class Evidence:
    """Something that was seen. ``at``: when, None if nothing tells.

    ``seen`` and ``wanted``: the two values that differ, "" where it is not a comparison.
    """

    source: Source
    text: str
    at: datetime | None = None
    seen: str = ""
    wanted: str = ""

    @property
    def compared(self) -> str:
        """The two values behind a text, "" if there are none."""
        values = (("seen", self.seen), ("wanted", self.wanted))
        told = ", ".join(f"{name} {value}" for name, value in values if value)
        return f"; {told}" if told else ""

    def line(self) -> str:
        """For people, in one line: who says it, when, what."""
        when = self.at.astimezone(timezone.utc).strftime("%H:%M:%SZ") if self.at else ""
        said, compared = (printable(one, limit=LINE_CHARS) for one in (self.text, self.compared))
        return f"{self.source:<7}{when:<10}{said}{compared}"

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "source": self.source,
            "at": self.at.isoformat() if self.at else None,
            "text": printable(self.text, limit=LINE_CHARS),
            "seen": printable(self.seen, limit=LINE_CHARS),
            "wanted": printable(self.wanted, limit=LINE_CHARS),
        }


@dataclass(frozen=True)
class Diagnosis:
    """``code``: of the catalogue, or a board's. ``fix``: with names filled in, "" for the cause's.

    ``others``: codes of what it could be too, the likeliest first.
    """

    code: str
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    others: tuple[str, ...] = ()
    fix: str = ""

    @property
    def cause(self) -> Cause:
        """Its entry in the catalogue, or one made of what the board's own table says.

        A board with another firmware can name what neither has.
        """
        known = load_catalogue().get(self.code)
        if known is not None:
            return known
        told = load_device_errors().get(self.code)
        if told is None:
            return Cause(
                self.code, "The board names an error that this keyfob does not know.", "", "",
                (self.code,), "", (), (), "", "Bring the firmware of this keyfob to the board",
                "keyfob sync --board esp32 --port PORT",
            )  # fmt: skip
        command = re.search(r"keyfob [a-z][\w -]*", told.fix)
        fix = command[0].strip() if command else f"keyfob doctor --explain {self.code}"
        return Cause(
            self.code, told.cause, "", "", (self.code,), "", (), (), "", told.fix, fix
        )  # fmt: skip

    @property
    def rung(self) -> str:
        """Where on the ladder."""
        place = self.cause.place
        return _RUNGS.get(place, place if place in LADDER else "traffic")

    @property
    def status(self) -> ExitStatus:
        """The exit status of a command that ends with it."""
        return _STATUS.get(self.rung, ExitStatus.NETWORK)

    def as_text(self) -> str:
        """For people: the cause, what says so, what else it could be, what mends it."""
        rows = [
            ("broken", self.rung),
            ("cause", f"{self.code}: {self.cause.cause}"),
            ("sure", self.confidence),
            *(("seen" if not index else "", one.line()) for index, one in enumerate(self.evidence)),
            ("or", ", ".join(self.others)),
            ("tell", self.cause.tell_apart if self.others else ""),
            ("mend", self.cause.advice),
            ("fix", self.fix or self.cause.fix),
        ]
        return "\n".join(f"{label:<7}{text}" for label, text in rows if text)

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "rung": self.rung,
            "code": self.code,
            "row": self.cause.row,
            "cause": self.cause.cause,
            "confidence": self.confidence,
            "others": list(self.others),
            "tell_apart": self.cause.tell_apart,
            "evidence": [one.as_dict() for one in self.evidence],
            "advice": self.cause.advice,
            "fix": self.fix or self.cause.fix,
            "status": int(self.status),
        }
