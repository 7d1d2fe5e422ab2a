"""A broker that is not who it should be is refused, and told so by a TLS alert."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from handshakes import next_handshake

pytestmark = [pytest.mark.rung("x509"), pytest.mark.timeout(600)]
NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
# Alerts that speak of a certificate: RFC 8446 section 6.2.
_FITTING = ("bad_certificate", "unsupported_certificate", "certificate_revoked",
            "certificate_expired", "certificate_unknown", "unknown_ca")  # fmt: skip


@pytest.fixture
def is_refused(device, broker, case):
    """``is_refused(identity, what)``: the device refuses a broker that shows ``identity``."""

    def check(identity, what: str) -> None:
        case.criterion(
            f"The device refuses a broker {what}, with a TLS alert, before it shows or says "
            "anything of its own."
        )
        broker.show(identity)
        broker.restart()  # no session of before is resumed
        shake = next_handshake(device, broker)
        case.evidence("handshake", shake.text())
        assert not shake.is_accepted, f"it connected to a broker {what}"
        assert not shake.is_complete, "it completed the handshake before it closed"
        if not shake.alert:
            case.warn("it closed the connection without an alert, so a broker's log says nothing")
            return
        case.evidence("alert of the device", shake.alert)
        if shake.alert not in _FITTING:
            case.warn(f"its alert, {shake.alert}, says nothing of a certificate")

    return check


def test_unknown_ca_is_refused(is_refused, broker, ca) -> None:
    identity = ca.foreign.issue_broker(broker.host, [broker.host])
    is_refused(identity, "whose certificate is of a CA that it does not know")


def test_wrong_name_is_refused(is_refused, ca) -> None:
    identity = ca.authority.issue_broker("other.keyfob.test", ["other.keyfob.test"])
    is_refused(identity, "whose certificate is for another name")


def test_expired_certificate_is_refused(is_refused, broker, ca) -> None:
    identity = ca.authority.issue_broker(
        broker.host, [broker.host], not_before=NOW - 30 * DAY, not_after=NOW - DAY
    )
    is_refused(identity, "whose certificate has expired")
