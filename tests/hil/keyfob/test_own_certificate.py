"""A board whose own certificate cannot be used: it says why, and shows it to nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from keyfob_host.pki.identity import Identity

pytestmark = pytest.mark.rung("client-certificate")

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


def not_yet_valid(authority, name: str) -> Identity:
    return authority.issue_device(name, not_before=NOW + DAY, not_after=NOW + 30 * DAY)


def expired(authority, name: str) -> Identity:
    return authority.issue_device(name, not_before=NOW - 30 * DAY, not_after=NOW - DAY)


def for_servers(authority, name: str) -> Identity:
    return authority.issue_device(name, eku=["serverAuth"])


def with_another_key(authority, name: str) -> Identity:
    issued, other = (authority.issue_device(name) for _ in range(2))
    return Identity(cert=issued.cert, key=other.key, anchors=issued.anchors)


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (not_yet_valid, "store.not-yet-valid"),
        (expired, "store.expired"),
        (for_servers, "store.wrong-usage"),
        (with_another_key, "store.key-mismatch"),
    ],
    ids=["not-yet-valid", "expired", "for-servers", "key-of-another"],
)
def test_two_useless_identities_are_told_and_not_shown(
    board, broker, ca, case, made: Callable[..., Identity], code: str
) -> None:
    case.criterion(
        "A board both of whose identities cannot be used says why of each, connects to nobody "
        "and does not hammer."
    )
    for _ in "ab":
        board.provision(made(ca.authority, board.device_id))
    broker.mark()
    error = board.wait_error("store.no-identity")
    for slot in "ab":
        assert f"{slot}: {code}" in error["detail"]
    assert error["next_ms"] >= 60_000
    assert board.events("store.loaded") == board.events("tls.*") == []
    assert "New connection" not in broker.log()


def test_identity_that_is_not_yet_valid_is_told_and_the_other_used(board, broker, ca, case) -> None:
    case.criterion("The board uses its other identity in the place of one that is not yet valid.")
    board.provision()
    early = not_yet_valid(ca.authority, board.device_id)
    board.provision(early)
    told = board.wait_event("store.fallback")
    assert told["code"] == "store.not-yet-valid"
    assert board.wait_event("store.loaded")["slot"] == told["slot"]
    board.wait_event("mqtt.up")
    assert early.cert_der() not in broker.said_in_clear()
