"""keyfob.pki.path on chains made now: those to verify, and each broken in one place.

The same cases as of another run are in ``tests/vectors/x509.txt`` for MicroPython.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from pathlib import Path

import pytest
import x509_loaded  # noqa: F401
from x509_cases import Case
from x509_cases_forms import cases

from keyfob.errors import KeyfobError
from keyfob.pki import path
from keyfob.pki.algorithms import read_public_key
from keyfob.pki.reading import read

LIST = list(cases())
CASES = {case.name: case for case in LIST}


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == len(LIST)


def outcome(case: Case) -> tuple[str, str]:
    chain = [pair.der for pair in case.chain]
    anchors = [pair.der for pair in case.anchors]
    try:
        path.verify(chain, anchors, case.host, case.now_s, case.usage, case.pins)
    except KeyfobError as error:
        return error.code, error.detail
    return "", ""


@pytest.mark.parametrize("name", CASES)
def test_a_chain_is_verified_or_refused_by_its_code(name: str) -> None:
    case = CASES[name]
    code, detail = outcome(case)
    assert code == case.code, detail
    assert [part for part in case.seen if part not in detail] == [], detail


STORE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.mark.skipif(not STORE.exists(), reason="no store of public CAs on this machine")
def test_public_trust_anchors_are_read() -> None:
    """All but a few old ones, whose DER is none: times, key usages of zeros."""
    text = STORE.read_text("utf-8")
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END", text, re.DOTALL)
    kinds: Counter[str] = Counter()
    for block in blocks:
        try:
            fields = read(base64.b64decode(block))
            kinds[read_public_key(fields)[0]] += 1
            assert fields.is_ca or fields.version == 1
        except KeyfobError as error:
            kinds[error.code] += 1
    assert kinds["rsa"] and kinds["p384"]
    assert kinds["x509.malformed"] < len(blocks) / 20
    assert set(kinds) <= {"rsa", "p256", "p384", "x509.malformed"}
