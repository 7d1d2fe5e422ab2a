"""Numbers and log lines in words: what was pasted, what it means, what causes it most likely.

Text in, an `Explanation` out. Lines that say nothing known are passed over. What shows up in
several lines is more likely the cause than what shows in one; nothing is asked of a board or
a broker, and nothing is proved: the catalogue's ``tell_apart`` says how to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyfob_host.doctor import bare
from keyfob_host.doctor.catalogue import Cause, load_catalogue
from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.readers import READERS
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.printable import LINE_CHARS, printable

MAX_CHARS = 200_000
_LINE_CHARS = 600

_ESCAPES = re.compile(r"\x1b\[[0-9;]{0,12}[A-Za-z]")
# Times and the like at a line's beginning: mosquitto's, ISO 8601, syslog's, ESP-IDF's, a REPL's.
_STAMP = re.compile(
    r"(?:\d{10}: |\[?\d{4}-\d\d-\d\d[T ][\d:.,]{5,15}(?:Z|[+-]\d\d:?\d\d)?\]?:? "
    r"|[A-Z][a-z]{2} [ \d]\d [\d:]{8} [\w.-]{1,40} [\w.-]{1,40}(?:\[\d{1,7}\])?: "
    r"|[EWI] \(\d{1,10}\) |>>> |kf )"
)


@dataclass(frozen=True)
class Finding:
    """Something in the text that has a meaning. ``count``: in how many lines it stands."""

    line: int
    text: str
    readings: tuple[Meaning, ...]
    count: int = 1


@dataclass(frozen=True)
class Explanation:
    """What was found, in the text's order, and the causes it points to, the likeliest first."""

    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    lines: int

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape."""
        return {
            "lines": self.lines,
            "found": [
                {
                    "line": one.line,
                    "count": one.count,
                    "text": one.text,
                    "readings": [
                        {**reading.as_dict(), "causes": list(reading.causes)}
                        for reading in one.readings
                    ],
                }
                for one in self.findings
            ],
            "causes": [cause.as_dict() for cause in self.causes],
        }


def explain(text: str) -> Explanation:
    """What ``text`` says: a number, an error, or lines of a log.

    Errors: ``doctor.too-long``, ``doctor.nothing-given``, ``doctor.not-known``.
    """
    if len(text) > MAX_CHARS:
        raise KeyfobHostError(
            "doctor.too-long", "this is more text than is read at once",
            evidence=f"more than {MAX_CHARS} characters",
            fix="tail -n 500 FILE | keyfob doctor --explain -",
        )  # fmt: skip
    lines = _cleaned(text).splitlines()
    if not any(line.strip() for line in lines):
        raise KeyfobHostError(
            "doctor.nothing-given", "there is nothing to explain in an empty text",
            fix="keyfob doctor --explain -30592", status=ExitStatus.USAGE,
        )  # fmt: skip
    findings = _findings(lines)
    if not findings:
        raise _not_known(lines)
    return Explanation(tuple(findings), tuple(_ranked(findings)), len(lines))


def _cleaned(text: str) -> str:
    return _ESCAPES.sub("", text).replace("\r", "\n")


def _findings(lines: list[str]) -> list[Finding]:
    """One finding for each set of meanings, at the first line that has it."""
    # In a log a line with nothing but a number is a measurement, or anything.
    are_numbers = all(bare.is_number(line) for line in lines if line.strip())
    found: dict[tuple[Meaning, ...], Finding] = {}
    seen: dict[str, list[tuple[str, tuple[Meaning, ...]]]] = {}
    for number, line in enumerate(lines, start=1):
        stripped = _STAMP.sub("", line[:_LINE_CHARS].strip(), count=1)
        if stripped not in seen:
            numbers = tuple(bare.readings(stripped)) if are_numbers else ()
            seen[stripped] = [(stripped, numbers)] if numbers else _read(stripped)
        for text, readings in seen[stripped]:
            known = found.get(readings)
            found[readings] = (
                Finding(number, text, readings)
                if known is None
                else Finding(known.line, known.text, readings, known.count + 1)
            )
    return list(found.values())


def _read(line: str) -> list[tuple[str, tuple[Meaning, ...]]]:
    """What stands in one line, from left to right: the text and its meanings."""
    taken: list[tuple[int, int, tuple[Meaning, ...]]] = []
    for reader in READERS:
        for start, end, readings in reader(line):
            if readings and not any(start < to and since < end for since, to, _ in taken):
                taken.append((start, end, tuple(readings)))
    taken.sort(key=lambda one: one[:2])
    named: set[tuple[str, ...]] = set()
    found = []
    for start, end, meanings in taken:
        names = tuple(reading.name for reading in meanings)
        if names not in named:  # an error's number and its name in one line are one
            named.add(names)
            text = (line if len(taken) == 1 else line[start:end]).strip()
            found.append((printable(text, limit=LINE_CHARS), meanings))
    return found


def _ranked(findings: list[Finding]) -> list[Cause]:
    """Causes by how many findings name them, then by how high up and among how few others."""
    count: dict[str, int] = {}
    score: dict[str, float] = {}
    told = [one for one in findings if any(r.causes and not r.is_echo for r in one.readings)]
    for finding in told or findings:
        best: dict[str, float] = {}
        for order, reading in enumerate(finding.readings, start=1):
            for place, code in enumerate(reading.causes, start=1):
                weight = 1 / (order * place * len(reading.causes))
                best[code] = max(best.get(code, 0.0), weight)
        for code, weight in best.items():
            count[code] = count.get(code, 0) + 1
            score[code] = score.get(code, 0.0) + weight
    catalogue = load_catalogue()
    order_of = {code: index for index, code in enumerate(catalogue)}
    ranked = sorted(count, key=lambda code: (-count[code], -score[code], order_of[code]))
    return [catalogue[code] for code in ranked]


def _not_known(lines: list[str]) -> KeyfobHostError:
    text = next(line for line in lines if line.strip())
    more = f", and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return KeyfobHostError(
        "doctor.not-known", f"this is not known here: {_looks_like(text)}",
        evidence=printable(text.strip(), limit=LINE_CHARS) + more,
        fix="give the lines around it too: keyfob broker log | keyfob doctor --explain -",
        status=ExitStatus.NOT_KNOWN,
    )  # fmt: skip


def _looks_like(text: str) -> str:
    """What kind of thing an unknown text seems to be."""
    text = text.strip()
    if re.fullmatch(r"-?0x[0-9a-fA-F]{1,8}|-\d{4,5}", text):
        return "a number written as mbedTLS does, with no such error in it"
    if re.fullmatch(r"[+-]?\d{1,30}", text):
        return "a number that no library on the way uses"
    if re.search(r"error:[0-9A-Fa-f]{8}", text):
        return "an error of OpenSSL, of a part that has nothing to do with TLS"
    if re.search(r"\w{1,40}Error\b|Exception\b|Traceback", text):
        return "an exception; its last line and the broker's log say more"
    if text.isupper() and "_" in text:
        return "a name of some library's constant"
    return "text without a number, name or phrase that has a meaning here"
