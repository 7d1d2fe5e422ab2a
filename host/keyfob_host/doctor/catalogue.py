"""The catalogue of causes: why a board does not talk to its broker, as data.

Read from ``catalogue.toml`` beside this file, which says what its fields are. Shape and
references are checked; that a row is true is for the field to say, and that its fix is a
command that there is, for a test. Which cause it is in one case is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from keyfob_host.strict_toml import Pattern, Range, read_strict, refuse_field

# The order in which a connection comes about, and in which its parts are looked at.
LADDER = (
    "settings", "serial", "firmware", "wifi", "clock", "store", "name", "tcp", "tls", "x509",
    "client-certificate", "mqtt", "authorization", "traffic",
)  # fmt: skip

_WHAT = "catalogue of causes"
_Text = Annotated[str, Range(1, 300)]
_Code = Annotated[str, Pattern(r"[a-z0-9-]+\.[a-z0-9]+(-[a-z0-9]+)*", "place.name")]
_Row = Annotated[int, Range(1, 39)]
_Alert = Annotated[int, Range(0, 255)]


@dataclass(frozen=True)
class Cause:
    """One cause; the fields are explained in ``catalogue.toml``."""

    code: _Code
    cause: _Text
    mbedtls: _Text
    axtls: _Text
    keyfob: tuple[_Code, ...]
    broker: _Text
    alert: tuple[_Alert, ...]
    confused_with: tuple[_Code, ...]
    tell_apart: _Text
    advice: _Text
    fix: _Text
    row: _Row | None = None

    @property
    def place(self) -> str:
        """Its rung of the `LADDER`."""
        return self.code.partition(".")[0]

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape."""
        return {
            "code": self.code, "place": self.place, "row": self.row, "cause": self.cause,
            "shows": {
                "mbedtls": self.mbedtls, "axtls": self.axtls, "keyfob": list(self.keyfob),
                "broker": self.broker, "alert": list(self.alert),
            },
            "confused_with": list(self.confused_with), "tell_apart": self.tell_apart,
            "advice": self.advice, "fix": self.fix,
        }  # fmt: skip


@dataclass(frozen=True)
class _File:
    cause: tuple[Cause, ...]


@lru_cache(maxsize=1)
def load_catalogue() -> dict[str, Cause]:
    """Every cause by its code, in the catalogue's order. Errors: ``toml.*``, ``file.*``."""
    return read_catalogue(Path(__file__).with_name("catalogue.toml"))


def read_catalogue(path: Path) -> dict[str, Cause]:
    """As `load_catalogue`, from another file."""
    causes = read_strict(path, _File, what=_WHAT).cause
    known = {cause.code: cause for cause in causes}
    for index, cause in enumerate(causes):
        where = f"cause[{index}]"
        if cause.place not in LADDER:
            wanted = f"a place of the ladder: {', '.join(LADDER)}"
            raise refuse_field(path, f"{where}.code", cause.code, wanted, what=_WHAT)
        if known[cause.code] is not cause:
            raise refuse_field(path, f"{where}.code", cause.code, "each once", what=_WHAT)
        for other in cause.confused_with:
            if other not in known or other == cause.code:
                raise refuse_field(
                    path, f"{where}.confused_with", other, "another cause's code", what=_WHAT
                )
    return known


def causes_of_device_code(code: str) -> tuple[str, ...]:
    """The causes that a code of ``firmware/errors.txt`` can have, the closest first."""
    found = [one for one in load_catalogue().values() if code in one.keyfob]
    found.sort(key=lambda one: one.keyfob.index(code))
    return tuple(one.code for one in found)
