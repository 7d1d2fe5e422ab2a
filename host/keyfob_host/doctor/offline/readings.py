"""What one line of a log means, as one sign's causes: the readers' answers, put in order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.phrase import Phrase
from keyfob_host.doctor.readers import READERS

_LINE_CHARS = 600


def by_phrases(line: str, known: Iterable[Phrase]) -> Meaning | None:
    """The first of the phrases that is in a line; they come the particular before the general."""
    lower = line[:_LINE_CHARS].lower()
    return next((one.meaning for one in known if one.find(lower) is not None), None)


@lru_cache(maxsize=4096)
def by_readers(line: str) -> tuple[str, tuple[str, ...]]:
    """(what makes lines like it the same, causes in order) by all readers; ("", ()) for nothing.

    Where a line can be read in two ways, causes that both have come first.
    """
    line = line[:_LINE_CHARS]
    taken: list[tuple[int, int]] = []
    names: list[str] = []
    weight: dict[str, int] = {}
    for reader in READERS:
        for start, end, meanings in reader(line):
            if not meanings or any(start < to and since < end for since, to in taken):
                continue
            taken.append((start, end))
            names.append(meanings[0].name)
            told = [one for one in meanings if one.causes and not one.is_echo]
            for code in dict.fromkeys(code for one in told for code in one.causes):
                weight[code] = weight.get(code, 0) + 1
    causes = sorted(weight, key=lambda code: -weight[code])
    return " ".join(names), tuple(causes)
