"""keyfob.tls.rules: what mbedTLS lets pass is refused as Keyfob's own verifier refuses it.

The chains are those of `x509_cases`, put into the order in which mbedTLS shows one that it
has judged. What it has judged itself, signatures and keys, is not looked at again.
"""

from __future__ import annotations

import pytest
import x509_loaded  # noqa: F401
from x509_cases import CA, LEAF, MID, Case
from x509_cases_forms import cases
from x509_forge import HOST, NOW_S, Pair

from keyfob.errors import KeyfobError
from keyfob.pki.reading import read
from keyfob.tls import rules
from keyfob.tls.chain import Chain

# mbedTLS's: signatures and keys, the order of a chain and its length, what it has no word for.
OF_MBEDTLS = (
    "x509.bad-signature", "x509.weak", "x509.unsupported-key", "x509.unsupported-signature",
    "x509.unsupported", "x509.not-pinned", "x509.chain-too-long", "x509.chain-too-large",
    "x509.too-many-checks", "x509.no-certificate", "x509.bad-anchor",
)  # fmt: skip


def as_shown(case: Case) -> list[bytes]:
    """The one path of ``case``, end-entity first; nothing where there is not just one."""
    path, left, anchors = [case.chain[0]], list(case.chain[1:]), list(case.anchors)
    try:
        while True:
            wanted = read(path[-1].der).issuer_name
            found = [pair for pair in anchors if read(pair.der).subject_name == wanted]
            if found:
                is_alone = len(found) == 1 and not left
                return [pair.der for pair in (*path, found[0])] if is_alone else []
            above = [pair for pair in left if read(pair.der).subject_name == wanted]
            if len(above) != 1:
                return []
            left.remove(above[0])
            path.append(above[0])
    except KeyfobError:
        return []


# Those that only a suite, or another key of an issuer's name, tells apart.
NAMES_OF_MBEDTLS = (
    "key usage ('key_encipherment',) for 80", "key usage ('digital_signature',) for 20",
    "an anchor of the issuer's name", "a CA of its name, and none of its key id",
    "RSA without NULL",
)  # fmt: skip
CASES = {
    case.name: case
    for case in cases()
    if case.code not in OF_MBEDTLS and case.name not in NAMES_OF_MBEDTLS and as_shown(case)
}


def code_of(
    chain: list[bytes], host: str = HOST, now_s: int = NOW_S, *, has_anchor: bool = True
) -> str:
    try:
        rules.check(chain, host, now_s, has_anchor)
    except KeyfobError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", CASES)
def test_a_chain_is_judged_as_by_the_verifier(name: str) -> None:
    case = CASES[name]
    assert code_of(as_shown(case), case.host, case.now_s) == case.code


def test_there_are_cases_of_every_kind() -> None:
    codes = {case.code for case in CASES.values()}
    assert len(CASES) > 100
    assert codes >= {
        "", "x509.wrong-name", "x509.no-san", "x509.expired", "x509.not-yet-valid", "x509.not-ca",
        "x509.end-entity-is-ca", "x509.path-length", "x509.name-not-permitted", "x509.wrong-usage",
        "x509.unknown-critical", "x509.no-cert-sign",
    }  # fmt: skip


# What mbedTLS lets pass (seen: every case of x509_cases shown to it by a server).
LET_PASS = (
    "x509.name-not-permitted", "x509.unsupported-constraint", "x509.end-entity-is-ca",
    "x509.wrong-usage", "x509.wrong-name",
)  # fmt: skip


def test_every_chain_that_mbedtls_might_let_pass_is_looked_at() -> None:
    """By `Chain`, which alone decides whether these rules are asked."""
    looked_at = set()
    for name, case in CASES.items():
        shown = as_shown(case)
        chain = Chain(case.host, case.now_s, None)
        for depth in reversed(range(len(shown))):
            chain.see(memoryview(shown[depth]), depth)
        is_let_pass = case.code in LET_PASS and not name.startswith("key usage")
        if chain.unusual:
            looked_at.add(name)
            assert chain.unusual[::-1] == shown[: len(chain.unusual)]
            is_whole = len(chain.unusual) == len(shown)
            code = code_of(chain.unusual[::-1], case.host, case.now_s, has_anchor=is_whole)
            assert code == case.code or not (code or is_let_pass)
        else:
            assert chain.error or not is_let_pass, name
    assert 40 < len(looked_at) < len(CASES) - 20
    assert "directly below the anchor" not in looked_at and "one intermediate" not in looked_at


def test_certificates_that_make_no_path_are_refused() -> None:
    below = LEAF.sign(MID)
    assert code_of([below.der, MID.der, CA.der]) == ""
    for chain in ([below, CA], [below, MID, LEAF.sign(CA)], [below, CA, MID], [CA, CA]):
        assert code_of([_der(pair) for pair in chain]) != ""


def _der(pair: Pair) -> bytes:
    return pair.der
