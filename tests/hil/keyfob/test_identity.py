"""Who the board is: its certificate, its key, what it may do, and how it gets another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from intermediate import intermediate_of, root_above

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.identity import Identity

pytestmark = pytest.mark.rung("client-certificate")

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
def refused(board, broker, case):
    """``refused(identity, code, log)``: the broker refuses the board that shows ``identity``."""

    def check(identity: Identity, code: str, log: str) -> None:
        case.criterion(
            f"The broker refuses the identity; the board tells it as {code} and does not hammer."
        )
        board.provision(identity)
        broker.mark()
        error = board.wait_error(code)
        assert error["retry"] == "stop"
        assert error["next_ms"] >= 60_000
        broker.wait_log(log)
        assert board.events("mqtt.up") == []
        assert f"as {board.device_id} " not in broker.log()

    return check


@pytest.fixture
def both_slots(board) -> None:
    """Each of its slots holds the bench's own identity, or one that is as good."""
    board.provision()


@pytest.fixture
def on_trial(board, both_slots) -> Callable[[Identity], str]:
    """``on_trial(identity)``: it is in the slot that is not active, and tried; that slot."""

    def begin(identity: Identity) -> str:
        board.provision(identity)
        with board.repl() as repl:
            slot = repl.read("/id/active").decode()
            repl.write("/id/active", b"b" if slot == "a" else b"a")
            repl.write("/id/trial", f"{slot}3".encode())
        board.reset()
        return slot

    return begin


@pytest.fixture
def replaced(board, broker, both_slots, case) -> Callable[[Identity, str], dict]:
    """``replaced(identity, code)``: the board uses its other identity in the place of that
    one, and says so; what it said."""

    def check(identity: Identity, code: str) -> dict:
        case.criterion(
            f"The board tells {code}, shows that identity to nobody and uses its other one."
        )
        board.provision(identity)
        told = board.wait_event("store.fallback")
        assert told["code"] == code
        loaded = board.wait_event("store.loaded")
        assert loaded["slot"] == told["slot"]
        assert loaded["cert"] != board.fingerprint()
        board.wait_event("mqtt.up")
        assert identity.cert_der() not in broker.said_in_clear()
        return told

    return check


def test_rotated_identity_takes_effect(board, broker, ca, case) -> None:
    case.criterion(
        "After provisioning the board shows the new certificate, from the other slot, and "
        "never the old one."
    )
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


def test_rsa_identity_connects(board, ca, case) -> None:
    case.criterion("An identity with an RSA-2048 key is let in.")
    board.needs_key("rsa2048")
    board.provision(ca.authority.issue_device(board.device_id, key_type="rsa2048"))
    board.wait_event("mqtt.up")


def test_identity_with_an_intermediate_shows_both(board, broker, ca, case) -> None:
    case.criterion("The board shows its whole chain.")
    chain = (intermediate_of(ca.authority, root_above()),)
    board.provision(replace(ca.authority.issue_device(board.device_id), intermediates=chain))
    board.wait_event("mqtt.up")
    shown = broker.said_in_clear()
    for der in board.identity.chain_der():
        assert der in shown


def test_identity_of_a_foreign_ca_is_told(refused, board, ca) -> None:
    foreign = ca.foreign.issue_device(board.device_id)
    known = Identity(cert=foreign.cert, key=foreign.key, anchors=(ca.authority.cert,))
    refused(known, "tls.alert-unknown-ca", "certificate verify failed")


@pytest.mark.rung("store")
def test_expired_identity_is_told_and_the_other_used(replaced, board, ca) -> None:
    expired = ca.authority.issue_device(
        board.device_id, not_before=NOW - 30 * DAY, not_after=NOW - DAY
    )
    assert "clock" in replaced(expired, "store.expired")["detail"]


@pytest.mark.rung("store")
def test_identity_for_servers_is_told_and_the_other_used(replaced, board, ca) -> None:
    server = ca.authority.issue_device(board.device_id, eku=["serverAuth"])
    assert "1.3.6.1.5.5.7.3.1" in replaced(server, "store.wrong-usage")["detail"]


@pytest.mark.rung("store")
def test_key_of_another_certificate_is_told_and_the_other_used(replaced, board, ca) -> None:
    one, other = (ca.authority.issue_device(board.device_id) for _ in range(2))
    replaced(Identity(cert=one.cert, key=other.key, anchors=one.anchors), "store.key-mismatch")


@pytest.mark.rung("store")
@pytest.mark.parametrize("name", ["key.der", "cert.der", "ca.der"])
def test_damaged_identity_file_is_told_and_the_other_slot_used(
    board, both_slots, name, case
) -> None:
    case.criterion(
        "A file of the identity that is not as it was provisioned is told, and the other "
        "identity used."
    )
    board.spoil(name)
    told = board.wait_event("store.fallback")
    assert told["code"] == "store.hash-mismatch"
    assert name in told["detail"]
    assert board.wait_event("store.loaded")["slot"] == told["slot"]
    board.wait_event("mqtt.up")


@pytest.mark.rung("store")
def test_two_damaged_identities_are_told_and_nothing_is_sent(
    board, broker, both_slots, case
) -> None:
    case.criterion(
        "A board with two damaged identities says what is wrong with each and connects to nobody."
    )
    board.provision(board.identity)  # so that the next story is provisioned again
    with board.repl() as repl:
        connections = len(broker.relay.connections)  # it may have made one until here
        for slot in "ab":
            repl.write(f"/id/{slot}/cert.der", b"damaged")
    board.reset()
    error = board.wait_error("store.no-identity")
    assert error["retry"] == "stop"
    for slot in "ab":
        assert f"{slot}: store.hash-mismatch: /id/{slot}/cert.der" in error["detail"]
    assert len(broker.relay.connections) == connections


def test_slot_on_trial_that_the_broker_takes_becomes_active(board, ca, on_trial, case) -> None:
    case.criterion(
        "An identity on trial that the broker takes is the board's from then on, over resets."
    )
    slot = on_trial(ca.authority.issue_device(board.device_id))
    board.wait_event("store.loaded", slot=slot, cert=board.fingerprint())
    board.wait_event("store.committed", slot=slot)
    board.wait_event("mqtt.up")
    board.reset()
    board.wait_event("store.loaded", slot=slot)
    board.wait_event("mqtt.up")
    assert board.events("store.committed") == []


def test_slot_on_trial_that_the_broker_refuses_is_given_up(board, ca, on_trial, case) -> None:
    case.criterion(
        "An identity on trial that the broker refuses is given up at once, and the one of "
        "before used."
    )
    foreign = ca.foreign.issue_device(board.device_id)
    slot = on_trial(Identity(cert=foreign.cert, key=foreign.key, anchors=(ca.authority.cert,)))
    # The old one does not wait for a person to mend the new one.
    assert board.wait_error("tls.alert-unknown-ca")["next_ms"] < 60_000
    told = board.wait_event("store.rolled-back", slot=slot)
    assert told["code"] == "tls.alert-unknown-ca"
    assert board.wait_event("store.loaded")["slot"] != slot
    board.wait_event("mqtt.up")


def test_slot_on_trial_without_a_broker_is_given_up_after_three_attempts(
    board, broker, ca, on_trial, case
) -> None:
    case.criterion(
        "Without a broker an identity is tried three times, then the one of before is used."
    )
    broker.stop()
    slot = on_trial(ca.authority.issue_device(board.device_id))
    told = board.wait_event("store.rolled-back", slot=slot)
    assert told["code"].startswith("tls.")
    loaded = [one["slot"] == slot for one in board.events("store.loaded")]
    assert loaded[:3] == [True] * 3 and True not in loaded[3:]
    broker.start()
    assert board.wait_event("store.loaded")["slot"] != slot
    board.wait_event("mqtt.up")


@pytest.mark.rung("authorization")
def test_board_may_write_only_below_its_own_id(board, broker, host_client, case) -> None:
    case.criterion(
        "What a board writes below another one's id is denied, what it writes below its own "
        "arrives."
    )
    with board.repl() as repl:
        repl.exec(PUBLISH_BOTH % board.device_id, timeout_s=60)
    host_client.wait_message(
        f"devices/{board.device_id}/reading", lambda one: one.payload == b"mine"
    )
    broker.wait_log(rf"Denied PUBLISH from {board.device_id} .*devices/other-board/reading")
    with pytest.raises(KeyfobHostError, match=r"broker\.no-message"):
        host_client.wait_message("devices/other-board/#", timeout_s=0.1)


def test_no_key_or_password_is_ever_printed(board, case) -> None:
    case.criterion(
        "Neither the Wi-Fi password nor a piece of a key is in anything that the board printed."
    )
    board.connected()
    with board.repl() as repl:
        settings = repl.read("/keyfob.json").decode()
    password, *key_forms = board.secrets()
    assert password in settings
    printed = board.log.everything()
    assert board.device_id in printed
    assert [one for one in (password, *key_forms) if one in printed] == []
