"""The power goes while a board gets another identity: it has the old one afterwards, or the new."""

from __future__ import annotations

import hashlib

import pytest

from keyfob_host.pki.identity import Identity

pytestmark = [
    pytest.mark.rung("store"),
    pytest.mark.needs("power-at-write"),
    pytest.mark.timeout(1800),
]

# A provisioning makes some 60 writes; with it a cut comes at each stage of one.
EACH = 13


def fingerprint(identity: Identity) -> str:
    """As ``store.loaded`` tells it."""
    return hashlib.sha256(identity.cert_der()).hexdigest()[:16]


@pytest.mark.parametrize(
    "each", [EACH, pytest.param(1, marks=pytest.mark.long)], ids=["a-few-writes", "each-write"]
)
def test_power_cut_while_provisioned_leaves_one_whole_identity(board, ca, case, each) -> None:
    case.criterion(
        "Whichever write to flash the power is cut at, the board starts with the identity of "
        "before or with the new one, whole, and connects; one that was not cut has the new one."
    )
    board.provision(ca.authority.issue_device(board.device_id))
    present = board.wait_event("store.loaded")["cert"]
    ends = []
    number, was_cut = 1, True
    while was_cut:
        new = ca.authority.issue_device(board.device_id)
        board.cut_power_at_write(number)
        was_cut = board.provision_until_cut(new)
        if was_cut:
            board.power(True)
        else:
            board.reset()
        loaded = board.wait_event("store.loaded")["cert"]
        assert loaded in ((present, fingerprint(new)) if was_cut else (fingerprint(new),))
        assert board.events("store.fallback") == board.events("error") == []
        board.wait_event("mqtt.up")
        ends.append(f"write {number}: " + ("the old one" if loaded == present else "the new one"))
        present = loaded
        number += each
    case.evidence("power cuts", "\n".join(ends))
    assert len(ends) > 40 // each, "nothing was cut"
