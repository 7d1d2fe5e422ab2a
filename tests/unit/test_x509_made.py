"""keyfob.pki.path on chains made now: those to verify, and each broken in one place.

The same cases as of another run are in ``tests/vectors/x509.txt`` for MicroPython.
"""

from __future__ import annotations

import pytest
import x509_loaded  # noqa: F401
from x509_cases import Case
from x509_cases_forms import cases

from keyfob.errors import KeyfobError
from keyfob.pki import path

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
