"""Who the board is: its certificate, its key, what it may do, and how it gets another one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from intermediate import intermediate_of, root_above

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.identity import Identity

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)

# One message below another device's topic, one below the board's own. For boards with as
# little memory as an ESP8266: without asyncio, and garbage collected early.
PUBLISH_BOTH = """
import gc
from keyfob import config, drop
from keyfob.blocking import BlockingClient
gc.threshold(1024)
client = BlockingClient(config.load())
del config
drop("config")
client.connect()
client.publish("devices/other-board/reading", b"not mine")
client.publish("devices/%s/reading", b"mine")
client.disconnect()
"""


@pytest.fixture
def refused(board, broker):
    """``refused(identity, code, log)``: the broker refuses the board that shows ``identity``."""

    def check(identity: Identity, code: str, log: str) -> None:
        board.provision(identity)
        broker.mark()
        error = board.wait_error(code)
        assert error["retry"] == "stop"
        assert error["next_ms"] >= 60_000
        broker.wait_log(log)
        assert board.events("mqtt.up") == []
        assert f"as {board.device_id} " not in broker.log()

    return check


def test_rotated_identity_takes_effect(board, broker, ca) -> None:
    board.reset()
    before = board.wait_event("store.loaded")
    assert before["cert"] == board.fingerprint()
    old = board.identity
    board.provision(ca.authority.issue_device(board.device_id))
    after = board.wait_event("store.loaded")
    assert after["cert"] == board.fingerprint() != before["cert"]
    assert after["slot"] != before["slot"]
    board.wait_event("mqtt.up")
    shown = broker.said_in_clear()
    assert board.identity.cert_der() in shown
    assert old.cert_der() not in shown


def test_rsa_identity_connects(board, ca) -> None:
    board.needs_key("rsa2048")
    board.provision(ca.authority.issue_device(board.device_id, key_type="rsa2048"))
    board.wait_event("mqtt.up")


def test_identity_with_an_intermediate_shows_both(board, broker, ca) -> None:
    chain = (intermediate_of(ca.authority, root_above()),)
    board.provision(replace(ca.authority.issue_device(board.device_id), intermediates=chain))
    told = board.wait_event("", where=lambda one: one["ev"] in ("mqtt.up", "error"))
    if told["ev"] == "error":
        assert told["code"] == "x509.bad-certificate"
        assert "reads PEM" in told["detail"]
        pytest.skip("this board's mbedTLS was built without PEM, and of DER it reads one only")
    shown = broker.said_in_clear()
    for der in board.identity.chain_der():
        assert der in shown


def test_identity_of_a_foreign_ca_is_told(refused, board, ca) -> None:
    foreign = ca.foreign.issue_device(board.device_id)
    known = Identity(cert=foreign.cert, key=foreign.key, anchors=(ca.authority.cert,))
    refused(known, "tls.alert-unknown-ca", "certificate verify failed")


def test_expired_identity_is_told(refused, board, ca) -> None:
    expired = ca.authority.issue_device(
        board.device_id, not_before=NOW - 30 * DAY, not_after=NOW - DAY
    )
    refused(expired, "tls.alert-certificate-expired", "certificate verify failed")


def test_identity_for_servers_is_told(refused, board, ca) -> None:
    server = ca.authority.issue_device(board.device_id, eku=["serverAuth"])
    refused(server, "tls.alert-unsupported-certificate", "certificate verify failed")


def test_key_of_another_certificate_is_told_and_nothing_is_sent(board, broker, ca) -> None:
    one, other = (ca.authority.issue_device(board.device_id) for _ in range(2))
    board.provision(Identity(cert=one.cert, key=other.key, anchors=one.anchors))
    connections = len(broker.relay.connections)
    error = board.wait_error("tls.bad-key")
    assert error["retry"] == "stop"
    assert board.events("tls.up") == []
    assert len(broker.relay.connections) == connections


@pytest.mark.parametrize("name", ["key.der", "cert.der", "ca.der"])
def test_damaged_identity_file_is_told_and_nothing_is_sent(board, broker, name) -> None:
    board.spoil(name)
    connections = len(broker.relay.connections)
    error = board.wait_error("store.hash-mismatch")
    assert name in error["detail"]
    assert error["retry"] == "stop"
    assert len(broker.relay.connections) == connections


def test_board_may_write_only_below_its_own_id(board, broker, host_client) -> None:
    with board.repl() as repl:
        repl.exec(PUBLISH_BOTH % board.device_id, timeout_s=60)
    host_client.wait_message(
        f"devices/{board.device_id}/reading", lambda one: one.payload == b"mine"
    )
    broker.wait_log(rf"Denied PUBLISH from {board.device_id} .*devices/other-board/reading")
    with pytest.raises(KeyfobHostError, match=r"broker\.no-message"):
        host_client.wait_message("devices/other-board/#", timeout_s=0.1)


def test_no_key_or_password_is_ever_printed(board) -> None:
    board.connected()
    with board.repl() as repl:
        settings = repl.read("/keyfob.json").decode()
    password, *key_forms = board.secrets()
    assert password in settings
    printed = board.log.everything()
    assert board.device_id in printed
    assert [one for one in (password, *key_forms) if one in printed] == []
