"""The broker is verified, or not talked to: chain, name, dates, usage.

Every refusal is looked at from both ends: the board's error code, and on the broker's
side that no session began and that the board did not show its certificate.
"""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from intermediate import intermediate_of, root_above
from self_signed import self_signed

pytestmark = pytest.mark.rung("x509")

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


@pytest.fixture
def refuses(board, broker, case):
    """``refuses(identity, code)``: the board refuses a broker that shows ``identity``."""

    def check(identity, code: str):
        case.criterion(
            f"The board refuses the broker with {code} and does not hammer; no session begins, "
            "and its own certificate is not shown."
        )
        broker.show(identity)
        board.reset()
        broker.relay.cut()
        broker.mark()
        error = board.wait_error(code)
        assert error["retry"] == "stop"
        assert board.events("tls.up") == []
        assert board.events("mqtt.up") == []
        broker.wait_log("(?i)alert|eof|error")
        assert f"as {board.device_id} " not in broker.log()
        sent = broker.said_in_clear()
        assert len(sent) > 50, "the board did not even say hello"
        assert board.identity.cert_der() not in sent
        return error

    return check


@pytest.mark.rung("tls")
def test_verified_broker_is_talked_to_over_tls_1_2(board, broker, case) -> None:
    case.criterion("A verified broker is talked to, and shown the board's certificate.")
    board.reset()
    up = board.wait_event("tls.up")
    assert up["version"] == "TLSv1.2"
    assert up["host"] == broker.host
    board.wait_event("mqtt.up")
    # What the refusals below look for is there when the broker is verified.
    assert board.identity.cert_der() in broker.said_in_clear()


def test_broker_with_an_rsa_key_is_talked_to(board, broker, ca, case) -> None:
    case.criterion("A broker with an RSA-2048 key is verified.")
    broker.show(ca.authority.issue_broker(broker.host, key_type="rsa2048"))
    board.reset()
    assert "RSA" in board.wait_event("tls.up")["cipher"]
    board.wait_event("mqtt.up")


@pytest.mark.parametrize("is_sent", [True, False], ids=["sent", "not-sent"])
def test_broker_below_an_intermediate_needs_to_send_it(board, broker, ca, is_sent, case) -> None:
    case.criterion(
        "A broker below an intermediate is verified if it sends that, and refused if not."
    )
    root = root_above()
    chain = (intermediate_of(ca.authority, root),) if is_sent else ()
    broker.show(replace(ca.authority.issue_broker(broker.host), intermediates=chain))
    board.provision(replace(board.identity, anchors=(root.cert,)))
    if is_sent:
        board.wait_event("mqtt.up")
    else:
        assert "Keyfob HIL root" in board.wait_error("x509.untrusted")["detail"]
        assert board.events("tls.up") == []


def test_broker_of_a_foreign_ca_is_refused(refuses, broker, ca) -> None:
    refuses(ca.foreign.issue_broker(broker.host), "x509.untrusted")


def test_self_signed_broker_is_refused(refuses, broker) -> None:
    refuses(self_signed(broker.host), "x509.untrusted")


def test_broker_with_another_name_is_refused(refuses, broker, ca) -> None:
    error = refuses(ca.authority.issue_broker("other.keyfob.test"), "x509.wrong-name")
    assert broker.host in error["detail"]
    assert "other.keyfob.test" in error["detail"]


def test_broker_with_its_name_in_the_common_name_only_is_refused(refuses, broker, ca) -> None:
    refuses(ca.authority.issue_broker(broker.host, ["other.keyfob.test"]), "x509.wrong-name")


def test_expired_broker_is_refused(refuses, broker, ca) -> None:
    expired = ca.authority.issue_broker(broker.host, not_before=NOW - 30 * DAY, not_after=NOW - DAY)
    refuses(expired, "x509.expired")


def test_broker_that_is_not_yet_valid_is_refused(refuses, broker, ca) -> None:
    future = ca.authority.issue_broker(broker.host, not_before=NOW + DAY, not_after=NOW + 30 * DAY)
    refuses(future, "x509.not-yet-valid")


def test_broker_with_a_client_certificate_is_refused(refuses, broker, ca) -> None:
    client = ca.authority.issue_broker(broker.host, eku=["clientAuth"])
    refuses(client, "x509.wrong-usage")


def test_no_common_trust_is_refused_by_the_board_first(board, broker, ca, case) -> None:
    case.criterion(
        "Where neither trusts the other the board refuses before it shows its certificate."
    )
    board.provision(ca.foreign.issue_device(board.device_id))
    board.wait_error("x509.untrusted")
    assert board.identity.cert_der() not in broker.said_in_clear()
    assert board.events("tls.up") == []


def test_broker_known_only_by_its_address_is_talked_to(board, broker, ca, case) -> None:
    case.criterion("A broker is verified by the IP address in its certificate.")
    broker.show(ca.authority.issue_broker("broker-by-address", [broker.address]))
    board.provision(broker=f"{broker.address}:{broker.port}")
    assert board.wait_event("tls.up")["host"] == broker.address
    board.wait_event("mqtt.up")


def test_broker_with_another_address_is_refused(board, broker, ca, case) -> None:
    case.criterion(
        "A broker with another IP address in its certificate is refused, and both are told."
    )
    broker.show(ca.authority.issue_broker("broker-by-address", ["192.0.2.1"]))
    board.provision(broker=f"{broker.address}:{broker.port}")
    error = board.wait_error("x509.wrong-name")
    assert broker.address in error["detail"]
    assert "192.0.2.1" in error["detail"]
    assert board.identity.cert_der() not in broker.said_in_clear()


@pytest.mark.rung("tls")
def test_server_that_does_not_speak_tls_is_told(board, broker, case) -> None:
    case.criterion("A server that answers in clear is told to be none of TLS.")

    def answer_in_clear() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(1024)
            client.sendall(b"220 this is another kind of server\r\n")

    with socket.create_server((broker.address, 0)) as listener:
        thread = threading.Thread(target=answer_in_clear, daemon=True)
        thread.start()
        board.provision(broker=f"{broker.host}:{listener.getsockname()[1]}")
        board.wait_error("tls.not-tls")
    assert board.events("tls.up") == []
