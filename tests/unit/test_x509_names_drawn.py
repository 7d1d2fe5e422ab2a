"""keyfob.pki.names beside another verifier: hosts and names of certificates drawn at random.

Where it takes a name, so do we, but for what is stricter here; where it does not, nor do
we.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
from collections import Counter

import pytest
import x509_loaded  # noqa: F401
from cryptography import x509
from x509_cases import CA, Case
from x509_forge import Recipe
from x509_reference import cryptography_says

from keyfob.errors import KeyfobError
from keyfob.pki import path

slow = [pytest.mark.slow, pytest.mark.timeout(1800)]
LABELS = ("a", "b", "ab", "A", "xn--bcher-kva", "a-b", "0", "test")
BEFORE = ("*.", "*.", "a*.", "*a.", "*.*.", ".", "a..")


def _name(pick: random.Random) -> str:
    return ".".join(pick.choice(LABELS) for _ in range(pick.choice((1, 2, 2, 3, 3, 4))))


def _address(pick: random.Random) -> str:
    if pick.random() < 0.5:
        return f"192.0.2.{pick.randrange(3)}"
    return str(ipaddress.ip_address(0x20010DB8 << 96 | pick.randrange(3) << pick.choice((0, 64))))


def draw(pick: random.Random) -> tuple[str, list[x509.GeneralName]]:
    """(host, names of a certificate): of the host itself, near it, or anything."""
    host = _address(pick) if pick.random() < 0.25 else _name(pick)
    sans: list[x509.GeneralName] = []
    for _ in range(pick.choice((1, 1, 2, 3))):
        kind = pick.random()
        text = host if kind < 0.4 else _name(pick)
        if kind < 0.15 and "." in host:
            text = "*." + host.partition(".")[2]
        elif 0.4 < kind < 0.5:
            text = pick.choice(BEFORE) + text
        elif 0.5 < kind < 0.6:
            text = pick.choice((host.upper(), host.swapcase(), host + ".", "x" + host, host[1:]))
        if kind > 0.8 or (kind < 0.1 and ":" in host):
            sans.append(x509.IPAddress(ipaddress.ip_address(_address(pick))))
        elif text and ":" not in text:
            sans.append(x509.DNSName(text))
    if host[0].isdigit() and pick.random() < 0.5:
        with contextlib.suppress(ValueError):
            sans.append(x509.IPAddress(ipaddress.ip_address(host)))
    return host, sans or [x509.DNSName("other.test")]


def is_stricter(sans: list[x509.GeneralName]) -> bool:
    """Whether a wildcard has one label behind it, or none, which only we refuse."""
    return any(
        isinstance(san, x509.DNSName) and san.value[:2] == "*." and san.value.count(".") < 2
        for san in sans
    )


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=slow)])
def test_drawn_names_are_judged_as_cryptography_does(count: int) -> None:
    pick = random.Random(f"names {count}")
    codes: Counter[str] = Counter()
    for number in range(count):
        host, sans = draw(pick)
        leaf = Recipe(number=2, sans=sans).sign(CA)
        case = Case(
            f"{number}: {host} with {[str(san.value) for san in sans]}", [leaf], [CA], host=host
        )
        code = ""
        try:
            path.verify([leaf.der], [CA.der], host, case.now_s)
        except KeyfobError as error:
            code = error.code
        codes[code] += 1
        assert code in ("", "x509.wrong-name"), (case.name, code)
        theirs = cryptography_says(case)
        assert bool(code) == bool(theirs) or (code and is_stricter(sans)), (
            case.name,
            code,
            theirs,
        )
    assert codes[""] > count / 10 and codes["x509.wrong-name"] > count / 4
