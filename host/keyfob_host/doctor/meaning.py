"""What a number or a phrase says: the shape that every table of the doctor gives.

A table's entry is ``(name, words, causes)``: the name its source gives it, a clause that
says what happened, and codes of `keyfob_host.doctor.catalogue`, the most likely first, with
spaces between them. An entry without causes is no fault, or one that the words mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Entry = tuple[str, str, str]
Table = Mapping[int, Entry]


@dataclass(frozen=True)
class Meaning:
    """One thing that something seen can mean.

    ``name``    as the source calls it, with the number that the person has before them
    ``source``  who says so: a library and where it is met
    ``words``   what happened
    ``causes``  codes of the catalogue, the most likely first
    ``fix``     what to do where it is not a cause's
    ``is_echo`` it follows from something else that is told too: its causes count only where
                nothing else has any
    """

    name: str
    source: str
    words: str
    causes: tuple[str, ...] = ()
    fix: str = ""
    is_echo: bool = False

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape, but for the causes."""
        return {"name": self.name, "source": self.source, "words": self.words, "fix": self.fix}


def meaning(entry: Entry, source: str, *, prefix: str = "", number: str = "") -> Meaning:
    """An ``entry`` of a table of ``source``; ``prefix`` goes before its name."""
    name, words, causes = entry
    shown = f"{prefix}{name} ({number})" if number else f"{prefix}{name}"
    return Meaning(shown, source, words, tuple(causes.split()))
