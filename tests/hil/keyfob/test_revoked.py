"""Certificate revocation lists at the broker: who is on one, and what a list does that ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from keyfob_host.pki.crl import sign_crl

pytestmark = pytest.mark.rung("client-certificate")

DAY = timedelta(days=1)


@pytest.fixture
def crl(ca) -> Callable:
    """``crl(identity, …)``: a list of the bench's CA with these on it, from two days ago and
    for ``days`` from now."""

    def sign(*revoked, days: int = 1):
        now = datetime.now(timezone.utc).replace(microsecond=0)
        entries = [
            (f"{one.cert.serial_number:x}", int(time.time()) - 60, "keyCompromise")
            for one in revoked
        ]
        return sign_crl(
            ca.authority.cert, ca.authority.key, entries,
            number=len(entries) + 1, this_update=now - 2 * DAY, next_update=now + days * DAY,
        )  # fmt: skip

    return sign


@pytest.fixture
def is_let_in(board, broker):
    """``is_let_in()``: the board, reset, gets a session."""

    def check() -> None:
        broker.mark()
        board.reset()
        board.wait_event("mqtt.up")
        broker.wait_log(f"New client connected from .* as {board.device_id} ")

    return check


@pytest.fixture
def is_refused(board, broker):
    """``is_refused(code)``: the board, reset, gets none, and says so with ``code``."""

    def check(code: str) -> None:
        broker.mark()
        board.reset()
        error = board.wait_error(code)
        assert error["retry"] == "stop"
        assert error["next_ms"] >= 60_000
        broker.wait_log("certificate verify failed")
        assert board.events("mqtt.up") == []
        assert f"as {board.device_id} " not in broker.log()

    return check


def test_revoked_identity_is_refused_and_another_one_connects(
    board, broker, ca, case, crl, is_let_in, is_refused
) -> None:
    case.criterion(
        "A board whose certificate is revoked is refused by the broker with the alert "
        "certificate_revoked and tells it; with a new certificate it connects."
    )
    broker.configure(crls=[crl(ca.authority.issue_device("another-board"))])
    is_let_in()
    broker.configure(crls=[crl(board.identity)])
    is_refused("tls.alert-certificate-revoked")
    board.provision(ca.authority.issue_device(board.device_id))
    board.wait_event("mqtt.up")


def test_list_that_ended_shuts_out_every_board_until_there_is_a_fresh_one(
    broker, case, crl, is_let_in, is_refused
) -> None:
    case.criterion(
        "A broker whose revocation list has ended refuses boards that are not on it, with the "
        "alert certificate_expired; with a fresh list they connect."
    )
    broker.configure(crls=[crl(days=-1)])
    is_refused("tls.alert-certificate-expired")
    broker.configure(crls=[crl()])
    is_let_in()
