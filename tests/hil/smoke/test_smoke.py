"""A minute, for every commit: the board starts, talks to its own broker alone, and comes back.

Each is the short form of what the suites `keyfob` and `advisor` look at closely.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.rung("traffic")


@pytest.fixture
def refuses(board, broker):
    """``refuses(identity, code)``: a broker with ``identity`` is shown nothing, and told of."""

    def check(identity, code: str) -> None:
        broker.show(identity)
        board.reset()
        broker.relay.cut()
        assert board.wait_error(code)["retry"] == "stop"
        assert board.events("tls.up") == []
        assert board.identity.cert_der() not in broker.said_in_clear()

    return check


@pytest.mark.rung("firmware")
def test_board_starts_and_says_each_step(board, case) -> None:
    case.criterion("From its reset to its first connection the board tells each step.")
    board.reset()
    for name in ("boot", "wifi.up", "clock.set", "store.loaded", "tls.up", "mqtt.up"):
        board.wait_event(name)
    assert board.events("error") == []


@pytest.mark.rung("tls")
def test_verified_broker_is_talked_to_with_the_boards_certificate(board, broker, case) -> None:
    case.criterion("The broker is verified by its name, and knows the board by its certificate.")
    board.reset()
    assert board.wait_event("tls.up")["host"] == broker.host
    board.wait_event("mqtt.up")
    assert board.identity.cert_der() in broker.said_in_clear()
    broker.wait_log(f"New client connected from .* as {board.device_id} ")


@pytest.mark.rung("x509")
def test_broker_of_a_foreign_ca_is_refused(refuses, broker, ca, case) -> None:
    case.criterion("A broker whose CA the board does not trust is not talked to.")
    refuses(ca.foreign.issue_broker(broker.host), "x509.untrusted")


@pytest.mark.rung("x509")
def test_broker_with_another_name_is_refused(refuses, ca, case) -> None:
    case.criterion("A broker whose certificate is for another name is not talked to.")
    refuses(ca.authority.issue_broker("other.keyfob.test"), "x509.wrong-name")


def test_command_is_obeyed_and_answered(board, host_client, case) -> None:
    case.criterion("The board publishes, takes a command and answers it.")
    board.connected()
    topic = f"devices/{board.device_id}"
    host_client.publish(f"{topic}/command", json.dumps({"color": [1, 2, 3]}))
    host_client.wait_message(
        f"{topic}/state",
        lambda one: not one.retain and json.loads(one.payload).get("color") == [1, 2, 3],
    )


@pytest.mark.rung("mqtt")
def test_board_connects_again_after_its_link_was_cut(board, broker, case) -> None:
    case.criterion("A board whose connection was cut connects again by itself.")
    board.connected()
    assert broker.relay.cut() == 1
    board.wait_event("mqtt.down")
    board.wait_event("mqtt.up")


@pytest.mark.rung("store")
@pytest.mark.needs("power")
def test_identity_outlives_a_loss_of_power(board, case) -> None:
    case.criterion("Without power the board keeps its identity and its settings.")
    board.power(False)
    board.power(True)
    assert board.wait_event("store.loaded")["cert"] == board.fingerprint()
    board.wait_event("mqtt.up")
