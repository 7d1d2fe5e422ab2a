"""The MQTT session: status and last will, keep alive, what waits for an absent board."""

from __future__ import annotations

import json

import pytest

from keyfob_host.hil.bench import KEEPALIVE_S
from keyfob_host.relay import Fault

pytestmark = pytest.mark.rung("mqtt")
MANY = 38
MANY_BYTES = 400


def said(payload: bytes):
    """A message with ``payload`` that comes now, not one that was retained."""
    return lambda message: message.payload == payload and not message.retain


def test_status_is_online_and_retained(board, broker, host_client, case) -> None:
    case.criterion("A subscriber that comes later is told that the board is online.")
    board.connected()
    status = f"devices/{board.device_id}/status"
    with broker.client() as late:
        message = late.wait_message(status)
        assert message.retain
        assert message.payload == b"online"


def test_last_will_fires_when_power_is_cut(board, host_client, case) -> None:
    case.criterion("A board that vanishes is told to be offline by its last will.")
    board.connected()
    status = f"devices/{board.device_id}/status"
    board.power(False)
    host_client.wait_message(status, said(b"offline"), timeout_s=20)


def test_leaving_properly_says_offline_too(board, host_client, case) -> None:
    case.criterion("A board that leaves says itself that it is offline.")
    board.connected()
    status = f"devices/{board.device_id}/status"
    with board.repl():
        host_client.wait_message(status, said(b"offline"), timeout_s=20)


def test_keep_alive_holds_over_three_idle_periods(board, broker, host_client, case) -> None:
    case.criterion(
        "An idle board sends a PINGREQ in each keep alive period, and the connection stands."
    )
    board.connected()
    host_client.publish(f"devices/{board.device_id}/command", json.dumps({"period_s": 3600}))
    host_client.wait_message(f"devices/{board.device_id}/state", lambda one: not one.retain)
    board.mark()
    broker.mark()
    for _ in range(3):
        broker.wait_log(f"Received PINGREQ from {board.device_id}", KEEPALIVE_S)
        broker.wait_log(f"Sending PINGRESP to {board.device_id}", KEEPALIVE_S)
        broker.mark()
    assert board.events("mqtt.*") == board.events("error") == []


@pytest.mark.rung("traffic")
def test_command_sent_while_the_board_is_away_arrives_when_it_is_back(
    board, broker, host_client, case
) -> None:
    case.criterion("The broker keeps the session, and the board takes what came while it was away.")
    board.connected()
    broker.relay.fail(Fault("cut"))
    board.wait_event("mqtt.down")
    host_client.publish(f"devices/{board.device_id}/command", json.dumps({"color": [1, 2, 3]}))
    broker.relay.clear()
    assert board.wait_event("mqtt.up")["session_present"] is True
    board.wait_event("command")
    host_client.wait_message(
        f"devices/{board.device_id}/state",
        lambda one: json.loads(one.payload).get("color") == [1, 2, 3] and not one.retain,
    )


@pytest.mark.rung("traffic")
@pytest.mark.parametrize("version", [5, 4])  # what follows finds the usual one
def test_many_commands_sent_while_the_board_is_away_all_arrive(
    board, broker, host_client, case, version
) -> None:
    case.criterion(
        f"Of {MANY} commands of {MANY_BYTES} bytes that wait at the broker at once, each is "
        "answered, in their order; a board of little memory takes some, and then the others."
    )
    extra = {"broker.keepalive_s": KEEPALIVE_S, "broker.version": version}
    board.provision(extra=extra)
    board.connected()
    broker.relay.fail(Fault("cut"))
    board.wait_event("mqtt.down")
    for number in range(MANY):
        command = json.dumps({"color": [number + 1, 0, version]})
        host_client.publish(f"devices/{board.device_id}/command", command.ljust(MANY_BYTES))
    board.mark()
    broker.relay.clear()
    answered: list[int] = []
    while MANY not in answered:
        message = host_client.wait_message(
            f"devices/{board.device_id}/state", lambda one: not one.retain, timeout_s=120
        )
        color = json.loads(message.payload).get("color", [0, 0, 0])
        if color[2] == version and color[0] not in answered:  # at QoS 1 one may come twice
            answered.append(color[0])
    assert answered == list(range(1, MANY + 1))
    told = [one for one in board.events("error") if one["code"] == "tls.no-memory"]
    if told:
        case.warn(f"memory was short {len(told)} times while it connected")


@pytest.mark.rung("traffic")
def test_reading_that_was_not_acknowledged_is_sent_again(board, broker, host_client, case) -> None:
    case.criterion("No reading is lost over a connection that was cut.")
    board.needs_sensor()
    reading = f"devices/{board.device_id}/reading"
    last = json.loads(host_client.wait_message(reading).payload)["seq"]
    broker.relay.fail(Fault("cut"))
    board.wait_event("mqtt.down")
    broker.relay.clear()
    board.wait_event("mqtt.up")
    host_client.wait_message(reading, lambda one: json.loads(one.payload)["seq"] == last + 1)
