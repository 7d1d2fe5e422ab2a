"""keyfob.pki.path beside two other verifiers, on chains drawn at random.

Drawn are chains of up to three intermediates with no fault, one or two; and bytes are
changed, behind the signature and before it. Where the others refuse, so do we; where
they accept, so do we, but for what is stricter here and stands in the tables below.
"""

from __future__ import annotations

import ipaddress
import random
import shutil
from collections import Counter

import pytest
import x509_loaded  # noqa: F401
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from x509_cases import ANY_PURPOSE, Case
from x509_cases_forms import cases
from x509_forge import (
    CLIENT_AUTH,
    DAY,
    HOST,
    NOW,
    SERVER_AUTH,
    Recipe,
    authority,
    constraints,
)
from x509_reference import cryptography_says, openssl_says

from keyfob.errors import KeyfobError
from keyfob.pki import path

# What the other verifiers take, because they have no such limit or check.
OURS_ALONE = {
    "x509.chain-too-large",
    "x509.chain-too-long",
    "x509.too-many-checks",
    "x509.unsupported",
    "x509.unsupported-constraint",
    "x509.not-pinned",
    "x509.malformed",
    "x509.bad-anchor",
}
# RFC 5280 leaves it to them to ask for more than section 6.1 does.
THEIRS_ALONE = (
    "no extension but the SAN",
    "no key usage",
    "constraints + for",  # of no name: all names
    "constraints +.keyfob.test for",
    "constraints +C=CH for",  # directory names are not processed there
    "self-issued CAs do not count",
    "a CA for 2.5.29.37.0",
    HOST + ". with",  # an absolute host name
    "its last second",  # OpenSSL's ends before it
    "eight anchors of one name",  # without a key identifier
    "of its name that did not sign",
    "a subject, SAN critical",
)
# Sound by the specification, and refused here only.
STRICTER = (
    "end-entity with rsa",  # OpenSSL judges it elsewhere
    "an even RSA exponent",
    "key usage ",  # depends on the cipher suite
    "a server's own certificate as anchor",
    "a CA as end-entity",
    "critical 2.5.29.",  # policies
    " with *.test",
    "*.keyfob.test with *.keyfob.test",
    "with b*.keyfob.test",  # OpenSSL takes parts of labels
    "no host with",
    "-a.keyfob.test for broker.keyfob.test *.keyfob.test",
    "name constraints of an end-entity",
    "2.5.29.36 not critical",  # policies again
    "bases +['keyfob.test'] -[] for",  # OpenSSL compares the ends of names
    "bases +[] -['other.test'] for",
    # OpenSSL falls back to the common name.
    "broker.keyfob.test with 192.0.2.7",
    "broker.keyfob.test with <RFC822Name",
    "broker.keyfob.test with <Uniform",
    "broker.keyfob.test with no SAN",
)


def ours(case: Case) -> str:
    chain, anchors = [pair.der for pair in case.chain], [pair.der for pair in case.anchors]
    try:
        path.verify(chain, anchors, case.host, case.now_s, case.usage, case.pins)
    except KeyfobError as error:
        return error.code
    return ""


CASES = [case for case in cases() if case.chain and case.anchors]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cases_are_judged_as_cryptography_does(case: Case) -> None:
    agrees(case, cryptography_says(case))


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on the PATH")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cases_are_judged_as_openssl_does(case: Case) -> None:
    agrees(case, openssl_says(case))


def agrees(case: Case, theirs: str) -> None:
    code = ours(case)
    if not code:
        assert not theirs or any(part in case.name for part in THEIRS_ALONE), theirs
    elif code not in OURS_ALONE:
        assert theirs or any(part in case.name for part in STRICTER), code


class Draw:
    """A chain by a seed: ``faults`` of its certificates' recipes are broken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.faults: list[str] = []

    def case(self) -> Case:
        pick = self.random
        depth = pick.choice((0, 1, 1, 2, 3))
        kinds = [pick.choice(("p256", "p256", "p256", "rsa2048")) for _ in range(depth + 2)]
        recipes = [authority(f"CA {at}", kind=kinds[at], number=at) for at in range(depth + 1)]
        for at, recipe in enumerate(recipes):
            # Path lengths and constraints that leave room for what is below.
            if pick.random() < 0.3:
                recipe.path_length = depth - at + pick.choice((0, 0, 1))
            if pick.random() < 0.2:
                recipe.purposes = pick.choice(([SERVER_AUTH], [CLIENT_AUTH, SERVER_AUTH]))
            if pick.random() < 0.2:
                recipe.extra = (pick.choice(GOOD_CONSTRAINTS),)
        sans = pick.choice(((HOST,), ("x.test", "*.keyfob.test"), (HOST, "192.0.2.7")))
        host = pick.choice((HOST, HOST, "192.0.2.7")) if len(sans[-1]) == 9 else HOST
        leaf = Recipe(number=depth + 1, kind=kinds[-1], sans=sans)
        recipes.append(leaf)
        for recipe in recipes[1:]:
            recipe.hash = pick.choice((hashes.SHA256(), hashes.SHA256(), hashes.SHA384()))
        for _ in range(pick.choice((0, 0, 1, 1, 1, 1, 2))):
            self._break(pick.choice(recipes), leaf)
        return self._chain(recipes, host)

    def _break(self, recipe: Recipe, leaf: Recipe) -> None:
        pick = self.random
        faults = LEAF_FAULTS if recipe is leaf else CA_FAULTS
        name = pick.choice(sorted(faults))
        self.faults.append(name)
        for field, value in faults[name].items():
            setattr(recipe, field, value)

    def _chain(self, recipes: list[Recipe], host: str) -> Case:
        pick = self.random
        pairs = [recipes[0].sign()]
        for recipe in recipes[1:]:
            pairs.append(recipe.sign(pairs[-1]))
        below = pairs[1:-1]
        other = authority("elsewhere", number=9).sign()
        if pick.random() < 0.15:
            below.append(other)
        if below and pick.random() < 0.1:
            below.append(pick.choice(below))
        if below and pick.random() < 0.08:
            self.faults.append("one left out")
            below.remove(pick.choice(below))
        pick.shuffle(below)
        anchors = pick.choice(([pairs[0]], [pairs[0], other], [other, pairs[0]]))
        if pick.random() < 0.06:
            self.faults.append("another anchor")
            anchors = [other]
        if pick.random() < 0.06:
            self.faults.append("another host")
            host = pick.choice(("other.test", "192.0.2.8", "a." + HOST, "keyfob.test"))
        return Case(", ".join(self.faults), [pairs[-1], *below], anchors, host=host)


def _net(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text))


DNS = x509.DNSName
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
GOOD_CONSTRAINTS = (
    constraints([DNS("test")]),
    constraints([DNS("x.test"), DNS("keyfob.test")]),
    constraints([], [DNS("other.test")]),
    constraints([_net("192.0.2.0/24")]),
    constraints([DNS("test")], [_net("10.0.0.0/8")]),
)
DATES = {
    "expired": {"end": NOW - DAY / 2},
    "not yet valid": {"start": NOW + DAY / 2},
}
CA_FAULTS = {
    **DATES,
    "no CA": {"is_ca": False, "path_length": None},
    "no basic constraints": {"is_ca": None},
    "path length 0": {"path_length": 0},
    "cannot sign": {"usage": ("crl_sign",)},
    "for clients": {"purposes": [CLIENT_AUTH]},
    "critical unknown": {"extra": ((UNKNOWN, True),)},
    "other names": {"extra": (constraints([DNS("other.test")]),)},
    "not our name": {"extra": (constraints([], [DNS("keyfob.test")]),)},
    "other nets": {"extra": (constraints([_net("10.0.0.0/8")]),)},
    "not our net": {"extra": (constraints([], [_net("192.0.2.0/28")]),)},
    "SHA-1": {"hash": hashes.SHA1()},  # noqa: S303
    "RSA-1024": {"kind": "rsa1024"},
}
LEAF_FAULTS = {
    **DATES,
    "a CA": {"is_ca": True, "usage": ("digital_signature", "key_cert_sign")},
    "for clients": {"purposes": [CLIENT_AUTH]},
    "for anything": {"purposes": [ANY_PURPOSE]},
    "critical unknown": {"extra": ((UNKNOWN, True),)},
    "no SAN": {"sans": None},
    "another name": {"sans": ("other.test",)},
    "part of a label": {"sans": ("bro*.test",)},
    "SHA-1": {"hash": hashes.SHA1()},  # noqa: S303
}


def check_draws(seeds: range) -> Counter[str]:
    """Each seed's chain; how often each code came."""
    codes: Counter[str] = Counter()
    for seed in seeds:
        draw = Draw(seed)
        case = draw.case()
        code, theirs = ours(case), cryptography_says(case)
        codes[code] += 1
        assert bool(code) == bool(theirs), (seed, case.name, code, theirs)
        if not draw.faults:
            assert code == "", (seed, code)
    return codes


def test_drawn_chains_are_judged_as_cryptography_does() -> None:
    codes = check_draws(range(150))
    assert codes[""] > 30 and len(codes) > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_drawn_chains_are_judged_as_cryptography_does() -> None:
    codes = check_draws(range(1000, 11_000))
    assert codes[""] > 2500 and len(codes) > 12


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on the PATH")
@pytest.mark.parametrize(
    "count", [30, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_drawn_chains_are_judged_as_openssl_does(count: int) -> None:
    for seed in range(20_000, 20_000 + count):
        draw = Draw(seed)
        case = draw.case()
        code, theirs = ours(case), openssl_says(case)
        stricter = {"a CA", "part of a label", "SHA-1"} & set(draw.faults)
        assert bool(code) == bool(theirs) or (code and stricter), (seed, case.name, code, theirs)
