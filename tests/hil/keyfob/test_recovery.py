"""The board comes back by itself: from a broker, a link and an access point that went away."""

from __future__ import annotations

import json

import pytest

from keyfob_host.hil.bench import KEEPALIVE_S
from keyfob_host.relay import Fault

pytestmark = pytest.mark.rung("tcp")


@pytest.mark.rung("mqtt")
def test_reconnects_after_the_broker_restarts(board, broker, case) -> None:
    case.criterion("After a restart of the broker the board connects by itself.")
    board.connected()
    broker.restart()
    board.wait_event("mqtt.down")
    board.wait_event("mqtt.up")
    broker.wait_log(f"New client connected from .* as {board.device_id} ")


def test_waits_for_a_broker_that_is_down(board, broker, case) -> None:
    case.criterion("While the broker is down the board tries again and says so; then it connects.")
    board.connected()
    broker.stop()
    board.wait_event("mqtt.down")
    for _ in range(2):
        assert board.wait_error("tls.*")["retry"] == "wait"
    broker.start()
    board.wait_event("mqtt.up")


@pytest.mark.rung("wifi")
def test_reconnects_after_wifi_was_lost(board, case) -> None:
    case.criterion("A lost access point is told; when it is back the board connects.")
    board.connected()
    board.wifi(False)
    board.wait_event("wifi.down")
    assert board.wait_error("wifi.*")["retry"] == "wait"
    board.wifi(True)
    board.wait_event("wifi.up")
    board.wait_event("mqtt.up")


def test_reconnects_after_the_link_was_cut(board, broker, case) -> None:
    case.criterion("A connection that was reset is told, and followed by another one.")
    board.connected()
    assert broker.relay.cut() == 1
    down = board.wait_event("mqtt.down")
    assert down["code"] in ("tls.reset", "tls.closed")
    board.wait_event("mqtt.up")


def test_reconnects_after_the_broker_closed_its_half(board, broker, case) -> None:
    case.criterion("The broker's end of stream is told, and followed by another connection.")
    board.connected()
    broker.relay.fail(Fault("half-close", "down"))
    # There was no close_notify; not every engine tells that from an end with one.
    assert board.wait_event("mqtt.down")["code"] in ("tls.truncated", "tls.closed")
    broker.relay.clear()
    board.wait_event("mqtt.up")


@pytest.mark.rung("mqtt")
def test_stalled_link_is_noticed_by_both_ends(board, broker, host_client, case) -> None:
    case.criterion(
        "A link that carries nothing more is noticed by the board and by the broker, each by "
        "its keep alive."
    )
    board.connected()
    broker.relay.fail(Fault("stall"))
    down = board.wait_event("mqtt.down", 3 * KEEPALIVE_S)
    assert down["code"] == "mqtt.no-pingresp"
    broker.wait_log(f"Client {board.device_id} has exceeded timeout", 3 * KEEPALIVE_S)
    host_client.wait_message(
        f"devices/{board.device_id}/status",
        lambda one: one.payload == b"offline" and not one.retain,
    )
    broker.relay.clear()
    board.wait_event("mqtt.up")


@pytest.mark.rung("tls")
@pytest.mark.parametrize("byte", [0, 40, 600], ids=["first-byte", "server-hello", "certificate"])
def test_link_that_breaks_in_the_handshake_is_told_and_tried_again(
    board, broker, byte, case
) -> None:
    case.criterion(
        "A handshake that is cut short is told, tried again, and no connection stands before."
    )
    broker.relay.fail(Fault("cut", "down", at_byte=byte))
    board.reset()
    error = board.wait_error("tls.*")
    assert error["retry"] == "wait"
    assert board.events("tls.up") == []
    broker.relay.clear()
    board.wait_event("mqtt.up")


@pytest.mark.parametrize(
    "fault",
    [Fault("throttle", bytes_per_s=2000), Fault("delay", delay_s=0.3)],
    ids=["2000-bytes-a-second", "300-ms-each-way"],
)
def test_slow_link_is_enough_to_connect_and_obey(board, broker, host_client, fault, case) -> None:
    case.criterion("Over a slow link the board connects, obeys and answers.")
    broker.relay.fail(fault)
    board.reset()
    board.connected()
    host_client.publish(f"devices/{board.device_id}/command", json.dumps({"color": [3, 1, 4]}))
    host_client.wait_message(
        f"devices/{board.device_id}/state",
        lambda one: json.loads(one.payload).get("color") == [3, 1, 4] and not one.retain,
        timeout_s=20,
    )


@pytest.mark.rung("wifi")
def test_wrong_wifi_password_is_told(board, case) -> None:
    case.criterion("A wrong Wi-Fi password is told, without the password.")
    board.provision(wifi_password="this is not it")
    error = board.wait_error("wifi.wrong-password")
    assert error["retry"] == "stop"
    assert "this is not it" not in "\n".join(board.log.lines())


@pytest.mark.rung("wifi")
def test_unknown_access_point_is_told(board, case) -> None:
    case.criterion("An access point that is not there is told by its name, and looked for again.")
    board.provision(wifi_ssid="keyfob-nowhere")
    error = board.wait_error("wifi.no-ap")
    assert "keyfob-nowhere" in error["detail"]
    assert error["retry"] == "wait"


def test_each_failure_waits_longer_up_to_a_limit(board, broker, case) -> None:
    case.criterion("Waits are drawn from a range that doubles with each failure.")
    broker.relay.fail(Fault("cut"))
    board.reset()
    waits = [board.wait_error("tls.*")["next_ms"] for _ in range(4)]
    # Full jitter: each wait is drawn from 0 to a ceiling that doubles from half a second.
    for number, wait_ms in enumerate(waits):
        assert 0 <= wait_ms < 500 << number
    assert len(set(waits)) > 1
