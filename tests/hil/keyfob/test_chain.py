"""The broker's chain: long, large, and below a CA that may not issue for every name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import broker_below, name_itself, names_of_others
from cryptography import x509

pytestmark = pytest.mark.rung("x509")

# What a board says where a chain, or what judging it takes, is more than it has room for.
NO_ROOM = ("tls.no-memory", "tls.message-too-large", "x509.chain-too-large")
# mbedTLS processes no name constraints, so it refuses them where they are critical.
NOT_PROCESSED = "x509.unknown-critical"
ROOM_FOR_CONSTRAINTS = pytest.mark.chips(
    "esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c6"
)


@pytest.fixture
def meets(board, broker):
    """``meets(identity)``: the board, which trusts its anchors, meets a broker with
    ``identity``; the event ``error`` or ``mqtt.up`` that this ends with."""

    def meet(identity, **more):
        broker.show(identity)
        board.provision(replace(board.identity, anchors=identity.anchors), more)
        broker.mark()
        return board.wait_event("", where=lambda one: one["ev"] in ("error", "mqtt.up"))

    return meet


@pytest.fixture
def refused(board, broker):
    """``refused()``: nothing but a hello went to the broker, and no session began."""

    def check() -> None:
        assert board.events("tls.up") == board.events("mqtt.up") == []
        assert f"as {board.device_id} " not in broker.log()
        assert board.identity.cert_der() not in broker.said_in_clear()

    return check


@pytest.mark.parametrize("filling_bytes", [0, 2500], ids=["four-certificates", "9-kilobytes"])
def test_long_and_large_chains_are_taken_or_told(
    meets, refused, board, broker, case, ca, filling_bytes
) -> None:
    case.criterion(
        "A chain of four certificates, also one of 9 KB, is followed to the trust anchor; a "
        "board without the room for it says so, is not reset by it and connects to a broker "
        "with a smaller one."
    )
    identity = broker_below([broker.host], intermediates=3, filling_bytes=filling_bytes)
    chain = identity.chain_der()
    size = sum(len(der) for der in chain)
    assert not filling_bytes or 8_000 < size < 10_000
    case.evidence("chain", f"{len(chain)} certificates, {size} bytes in DER")
    ended = meets(identity)
    if ended["ev"] == "error":
        assert ended["code"] in NO_ROOM
        refused()
        case.warn(f"no room for {len(chain)} certificates of {size} bytes: {ended['code']}")
    assert len(board.events("boot")) == 1
    broker.show(ca.authority.issue_broker(broker.host))
    board.provision()
    board.wait_event("mqtt.up")


@pytest.mark.parametrize("is_excluded", [True, False], ids=["excluded", "not-permitted"])
def test_broker_whose_ca_may_not_issue_for_its_name_is_refused(
    meets, refused, broker, case, is_excluded
) -> None:
    case.criterion(
        "A CA that issued for a name that its name constraints do not allow is not followed "
        "(RFC 5280 section 4.2.1.10)."
    )
    ended = meets(broker_below([broker.host], constraints=not_for(broker.host, is_excluded)))
    assert ended["code"] in ("x509.name-not-permitted", NOT_PROCESSED, *NO_ROOM)
    refused()


def test_broker_whose_ca_is_constrained_to_its_name_is_talked_to_or_told(
    meets, refused, broker, case
) -> None:
    case.criterion(
        "A CA that is constrained to the broker's name is followed; an engine that processes "
        "no name constraints refuses it, because they are critical."
    )
    own = x509.NameConstraints([name_itself(broker.host)], None)
    ended = meets(broker_below([broker.host], constraints=own))
    if ended["ev"] == "error":
        assert ended["code"] in (NOT_PROCESSED, *NO_ROOM)
        refused()
        case.warn(f"a CA with name constraints is of no use to this board: {ended['code']}")


@ROOM_FOR_CONSTRAINTS
def test_keyfobs_engine_processes_name_constraints(meets, refused, board, broker, case) -> None:
    case.criterion("Keyfob's own engine follows a CA for the names that it may issue for, alone.")
    board.use_engine("keyfob")
    own = x509.NameConstraints([name_itself(broker.host)], None)
    engine = {"tls.engine": "keyfob"}
    assert meets(broker_below([broker.host], constraints=own), **engine)["ev"] == "mqtt.up"
    for is_excluded in (True, False):
        other = broker_below([broker.host], constraints=not_for(broker.host, is_excluded))
        assert meets(other, **engine)["code"] == "x509.name-not-permitted"
        refused()


def not_for(host: str, is_excluded: bool) -> x509.NameConstraints:
    """Name constraints that do not allow ``host``."""
    if is_excluded:
        return x509.NameConstraints(None, [name_itself(host)])
    return x509.NameConstraints([names_of_others(host)], None)
