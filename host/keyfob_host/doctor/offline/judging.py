"""Signs and facts in, diagnoses out: what happened, explained by what is so.

A sign that a fact explains is decided by it; what several signs can share is one diagnosis, the
sign with the fewest causes first; causes that the files exclude are left out as long as one is
left. The order is the ladder's: what really happened before what is only wrong in a file, and
guesses behind both ends' words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from keyfob_host.doctor.catalogue import LADDER, load_catalogue
from keyfob_host.doctor.diagnosis import Confidence, Diagnosis
from keyfob_host.doctor.offline.signs import Fact, Sign
from keyfob_host.lint.names import address_of

_OTHERS = 4
_EVIDENCE = 6
_GUESS = 5  # with that many causes left the first is no more than one of them
_ECHOES = 3  # so many in a broker's log are a sign even alone: scans and probes come once
# Whose signs are those of another cause, where that is there too.
_FOLLOWS = {
    "tcp.listener-down": ("x509.weak-algorithm",),
    "tcp.closed-by-peer": (),  # whatever else there is
}
_CAPITALS = re.compile(r"(?<![\w.-])(HOST|NAME|ID)(?![\w-])")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_DAWN = datetime.min.replace(tzinfo=timezone.utc)


@dataclass
class _Case:
    code: str
    confidence: Confidence
    others: tuple[str, ...] = ()
    signs: list[Sign] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


def judge(
    signs: Sequence[Sign], facts: Sequence[Fact], excluded: set[str], host: str
) -> list[Diagnosis]:
    """The first is the verdict. ``host``: what boards connect to, "" if nobody knows."""
    cases: dict[str, _Case] = {}
    current = [one for one in signs if not one.is_over]
    for sign in sorted(current, key=_order(facts, excluded)):
        if not sign.is_echo:
            _take(sign, cases, facts, excluded)
    for fact in facts:
        if fact.is_wrong:
            case = cases.setdefault(fact.code, _Case(fact.code, "certain"))
            case.facts += [fact] if fact not in case.facts else []
    is_all = not cases
    for sign in sorted(current, key=_order(facts, excluded)):
        is_known = any(one in cases for one in sign.causes)
        few = _ECHOES if sign.source == "broker" else 1
        if sign.is_echo and (is_known or (is_all and sign.count >= few)):
            _take(sign, cases, facts, excluded)
    for code, causes in _FOLLOWS.items():
        leads = [one for one in causes or cases if one != code and one in cases]
        if code in cases and leads:
            cases[leads[0]].signs += cases.pop(code).signs
    ordered = sorted(
        cases.values(),
        key=lambda one: (not one.signs, one.confidence == "possible", _rung(one.code)),
    )
    return [_diagnosis(one, host) for one in ordered]


def _order(
    facts: Sequence[Fact], excluded: set[str]
) -> Callable[[Sign], tuple[bool, int, int]]:  # fmt: skip
    def key(sign: Sign) -> tuple[bool, int, int]:
        options, explained = _options(sign, facts, excluded)
        return not explained, len(options), min(_rung(one) for one in sign.causes)

    return key


def _options(
    sign: Sign, facts: Sequence[Fact], excluded: set[str]
) -> tuple[list[str], list[Fact]]:  # fmt: skip
    """The causes that are left, and the facts that explain it, the most telling first."""
    if sign.source == "board" and "store." in sign.kind:
        excluded = set()  # it speaks of its own files, which need not be the host's
    options = [one for one in sign.causes if one not in excluded] or list(sign.causes)
    explained = [one for one in facts if one.code in options and one.holds(sign.at)]
    explained.sort(key=lambda one: (not one.is_wrong, options.index(one.code)))
    return options, explained


def _take(
    sign: Sign, cases: dict[str, _Case], facts: Sequence[Fact], excluded: set[str]
) -> None:  # fmt: skip
    options, explained = _options(sign, facts, excluded)
    known = [one for one in sign.causes if one in cases]
    if known:
        case = cases[known[0]]
        if sign.is_echo:
            # Evidence only from an end that has said nothing else.
            case.signs += [] if sign.source in {one.source for one in case.signs} else [sign]
            return
        case.signs.append(sign)
        # A second end that can mean fewer things leaves fewer.
        case.others = tuple(one for one in case.others if one in sign.causes)
        return
    if explained:
        code = explained[0].code
        is_sure = explained[0].is_wrong or len(options) == 1 or explained[0].until is not None
        case = _Case(code, "certain" if is_sure else "likely")
        case.facts = [one for one in explained if one.code == code]
        case.others = () if is_sure else tuple(one for one in options if one != code)
    else:
        code = options[0]
        is_only = len(sign.causes) == 1
        guess: Confidence = "possible" if len(options) >= _GUESS else "likely"
        case = _Case(code, "certain" if is_only else guess)
        case.others = tuple(options[1:])
    case.signs.append(sign)
    cases[code] = case


def _diagnosis(case: _Case, host: str) -> Diagnosis:
    shown = [one.evidence for one in case.facts]
    for sign in sorted(case.signs, key=lambda one: one.at or _DAWN):
        shown.append(sign.evidence())
    fills: dict[str, str] = {"HOST": host} if host else {}
    for sign in case.signs:
        if _ID.fullmatch(sign.peer) and address_of(sign.peer) is None:
            fills["ID"] = sign.peer
    for fact in reversed(case.facts):
        fills.update(fact.fills)
    fix = load_catalogue()[case.code].fix
    fix = _CAPITALS.sub(lambda match: fills.get(match[1], match[1]), fix)
    file = fills.get("FILE", "")
    if re.fullmatch(r"[\w./-]+", file):
        fix = re.sub(r"\bcert check (?:cert|ca)\.pem\b", f"cert check {file}", fix)
    return Diagnosis(
        case.code, case.confidence, tuple(shown[:_EVIDENCE]), case.others[:_OTHERS], fix
    )  # fmt: skip


def _rung(code: str) -> int:
    return LADDER.index(code.partition(".")[0])
