"""A phrase that a program prints, and the search for it: plain text with ``*`` for what varies.

No regular expression: the parts are looked for one after the other, so the time is that of
a few `str.find`, whatever the text. A phrase begins and ends with a word: "invalid key" is not
in "invalid keyword".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keyfob_host.doctor.meaning import Meaning


@dataclass(frozen=True)
class Phrase:
    """``pattern`` with what it means; upper and lower case are one."""

    pattern: str
    meaning: Meaning
    _parts: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", tuple(self.pattern.lower().split("*")))

    def find(self, line: str) -> tuple[int, int] | None:
        """Where it begins and ends in ``line`` (lower case), or None."""
        start = end = line.find(self._parts[0])
        for part in self._parts:
            found = line.find(part, end)
            if found < 0:
                return None
            end = found + len(part)
        begins_inside = start > 0 and line[start - 1 : start + 1].isalpha()
        ends_inside = (
            bool(self._parts[-1]) and line[end - 1 : end + 1].isalpha() and end < len(line)
        )
        return None if begins_inside or ends_inside else (start, end)


def phrases(source: str, *rows: tuple[str, str, str], is_echo: bool = False) -> tuple[Phrase, ...]:
    """Phrases of one ``source``: pattern, words, causes (see `keyfob_host.doctor.meaning`)."""
    return tuple(
        Phrase(
            pattern,
            Meaning(
                pattern.replace("*", "…"), source, words, tuple(causes.split()), is_echo=is_echo
            ),
        )
        for pattern, words, causes in rows
    )
