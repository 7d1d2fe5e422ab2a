"""keyfob.pki.path beside another verifier, on webs of CAs drawn at random.

Each CA has up to two keys and several certificates, of several issuers, most of them good;
sent are some of all, in any order. A way to a trust anchor has to be found where there is
one, and none where there is not (RFC 4158). The judge is `cryptography`'s verifier, which
looks for one too, without our limits: they are lifted here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import x509_loaded  # noqa: F401
from cryptography import x509
from x509_cases import Case
from x509_forge import (
    CLIENT_AUTH,
    DAY,
    HOST,
    NOW,
    NOW_S,
    SERVER_AUTH,
    Pair,
    Recipe,
    authority,
    constraints,
)
from x509_reference import cryptography_says

from keyfob.errors import KeyfobError
from keyfob.pki import path, search

slow = [pytest.mark.slow, pytest.mark.timeout(1800)]
NAMES = ("anchor", "bridge", "upper", "lower")
KEYS = 2
MAX_SENT = 8
FAULTS = (
    {"end": NOW - DAY / 2},
    {"start": NOW + DAY},
    {"purposes": [CLIENT_AUTH]},
    {"path_length": 0},
    {"extra": (constraints([x509.DNSName("other.test")]),)},
    {"extra": (constraints([], [x509.DNSName("keyfob.test")]),)},
    {"extra": ((x509.InhibitAnyPolicy(0), True),)},
)


def draw(pick: random.Random) -> Case:
    """A web of CAs, an end-entity of one of them, and one or two trust anchors."""
    cas = {
        (name, number): authority(name, number=30 + KEYS * place + number)
        for place, name in enumerate(NAMES)
        for number in range(KEYS)
    }
    roots = {place: recipe.sign() for place, recipe in cas.items()}
    sent = list(_issued(pick, cas, roots))
    signer = pick.choice([place for place in cas if place[0] != "anchor"])
    purposes = pick.choice(([SERVER_AUTH], [SERVER_AUTH, CLIENT_AUTH]))
    leaf = Recipe(number=2, purposes=purposes).sign(roots[signer])
    pick.shuffle(sent)
    anchors = [roots["anchor", number] for number in pick.choice(((0,), (1,), (0, 1)))]
    return Case("", [leaf, *sent[: MAX_SENT - 1]], anchors)


def _issued(
    pick: random.Random, cas: dict[tuple[str, int], Recipe], roots: dict[tuple[str, int], Pair]
) -> Iterator[Pair]:
    """Certificates by which each CA but the first is below one or two others."""
    for place, recipe in cas.items():
        if place[0] == "anchor":
            continue
        for issuer in pick.sample(sorted(set(cas) - {place}), pick.choice((1, 1, 2))):
            fault = pick.choice(FAULTS) if pick.random() < 0.25 else {}
            yield replace(recipe, **fault).sign(roots[issuer])


def counts_self_issued(case: Case) -> bool:
    """Whether a path length may meet a self-issued CA, which only the other counts (RFC 5280
    section 4.2.1.9: self-issued ones do not)."""
    below = [pair.certificate for pair in case.chain[1:]]
    basic = [each.extensions.get_extension_for_class(x509.BasicConstraints) for each in below]
    has_length = any(each.value.path_length is not None for each in basic)
    return has_length and any(each.subject == each.issuer for each in below)


@pytest.mark.parametrize("count", [100, pytest.param(6000, marks=slow)])
def test_a_way_through_a_web_of_cas_is_found_where_there_is_one(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_MAX_INTERMEDIATES", MAX_SENT)
    monkeypatch.setattr(search, "_MAX_ISSUERS", 10_000)
    monkeypatch.setattr(path, "_MAX_SIGNATURES", 1000)
    pick = random.Random(f"webs {count}")
    codes: Counter[str] = Counter()
    for number in range(count):
        case = draw(pick)
        code = ""
        try:
            chain = [pair.der for pair in case.chain]
            path.verify(chain, [pair.der for pair in case.anchors], case.host, case.now_s)
        except KeyfobError as error:
            code = error.code
        codes[code] += 1
        theirs = cryptography_says(case)
        is_known = not code and counts_self_issued(case)
        assert bool(code) == bool(theirs) or is_known, (number, code, theirs)
    assert codes[""] > count / 10 and codes["x509.untrusted"] > count / 20, codes


def test_others_have_their_turn_between_two_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """CAs of one name, none with the key that signed: each order of them is a path."""
    anchor = authority("anchor", has_key_ids=False).sign()
    mids = [authority("anchor", number=10 + i, has_key_ids=False).sign() for i in range(5)]
    leaf = Recipe(number=2, has_key_ids=False).sign(mids[0])
    searches = [0]
    find = path._find

    def counting(*arguments: object) -> list:
        searches[0] += 1
        return find(*arguments)

    monkeypatch.setattr(path, "_find", counting)
    chain = [leaf.der, *(mid.der for mid in mids)]
    longest = 0
    with pytest.raises(KeyfobError):
        for _ in path.steps(chain, [anchor.der], HOST, NOW_S):
            longest, searches[0] = max(longest, searches[0]), 0
    assert max(longest, searches[0]) <= 2  # one, and one more for what a refusal tells
