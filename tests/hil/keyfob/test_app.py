"""The example application: readings, commands, colours."""

from __future__ import annotations

import json
import time

import pytest

pytestmark = pytest.mark.rung("traffic")


@pytest.fixture
def topic(board):
    return f"devices/{board.device_id}"


@pytest.fixture
def command(host_client, topic):
    """``command(**parts)`` sends a command and returns the state that answers it."""

    def send(**parts):
        host_client.publish(f"{topic}/command", json.dumps(parts))

        def answers(one) -> bool:
            # A command that a reset interrupted comes again before it, with its own answer.
            state = {} if one.retain else json.loads(one.payload)
            told = parts.get("thresholds", parts)
            return bool(state) and all(state[name] == told[name] for name in told)

        return json.loads(host_client.wait_message(f"{topic}/state", answers).payload)

    return send


def test_readings_arrive_in_order_with_the_time(board, host_client, topic, case) -> None:
    case.criterion(
        "Readings come with numbers that go up by one, the time, and values that a DHT22 can "
        "measure."
    )
    board.needs_sensor()
    first, second = (
        json.loads(host_client.wait_message(f"{topic}/reading").payload) for _ in range(2)
    )
    assert second["seq"] == first["seq"] + 1
    assert -40 <= first["temperature_c"] <= 80
    assert 0 <= first["humidity_percent"] <= 100
    assert abs(second["t"] - time.time()) < 5


@pytest.mark.parametrize("measured", [(21.5, 40.0), (-7.5, 99.9)], ids=["room", "winter"])
def test_readings_are_what_the_sensor_measures(board, host_client, topic, measured, case) -> None:
    case.criterion("A reading is published as the sensor measured it.")
    board.connected()
    board.dht(*measured)
    host_client.wait_message(
        f"{topic}/reading",
        lambda one: (
            (
                json.loads(one.payload)["temperature_c"],
                json.loads(one.payload)["humidity_percent"],
            )
            == measured
        ),
    )


def test_command_changes_the_colour_and_is_answered(board, command, case) -> None:
    case.criterion("A command is answered with the state that it made.")
    board.connected()
    assert command(color=[1, 2, 3])["color"] == [1, 2, 3]
    board.wait_event("command")


def test_command_reaches_the_pixel(board, command, case) -> None:
    case.criterion("The NeoPixel shows the colour that was commanded.")
    board.connected()
    command(color=[9, 8, 7])
    assert board.pixels() == [(9, 8, 7)]


def test_colour_follows_the_temperature(board, host_client, topic, command, case) -> None:
    case.criterion("The pixel is blue below the thresholds, red above them and green between.")
    board.connected()
    command(thresholds={"blue_below_c": 18, "red_above_c": 25})
    for temperature_c, brightest in ((10.5, 2), (20.5, 1), (30.5, 0)):
        board.dht(temperature_c)
        host_client.wait_message(
            f"{topic}/reading",
            lambda one, want=temperature_c: json.loads(one.payload)["temperature_c"] == want,
        )
        (pixel,) = board.pixels()
        assert pixel[brightest] == max(pixel) > 0
        assert sum(pixel) == pixel[brightest]


def test_period_is_changed_by_command(board, host_client, topic, command, case) -> None:
    case.criterion("Readings come in the period that was commanded last.")
    board.needs_sensor()
    assert command(period_s=2)["period_s"] == 2
    host_client.wait_message(f"{topic}/reading")
    began = json.loads(host_client.wait_message(f"{topic}/reading").payload)["t"]
    ended = json.loads(host_client.wait_message(f"{topic}/reading").payload)["t"]
    assert 1 <= ended - began <= 3


@pytest.mark.parametrize(
    "payload",
    [b"not JSON", b"[]", b'{"colour": [1, 2, 3]}', b'{"color": [1, 2, 256]}', b"\xff\xfe"],
    ids=["text", "array", "unknown", "range", "not-utf8"],
)
def test_bad_command_is_told_and_the_next_one_works(
    board, host_client, topic, command, payload, case
) -> None:
    case.criterion("A command that is none is told, changes nothing, and the next one is obeyed.")
    board.connected()
    host_client.publish(f"{topic}/command", payload)
    board.wait_event("app.bad-command")
    assert command(color=[4, 5, 6])["color"] == [4, 5, 6]


def test_sensor_that_fails_is_told_and_the_application_goes_on(
    board, host_client, topic, command, case
) -> None:
    case.criterion(
        "A sensor that does not answer is told; commands are obeyed, and readings come again "
        "with it."
    )
    board.connected()
    board.dht(None, None)
    board.wait_event("app.sensor-failed")
    assert command(color=[7, 7, 7])["color"] == [7, 7, 7]
    board.dht(19.0)
    host_client.wait_message(
        f"{topic}/reading", lambda one: json.loads(one.payload)["temperature_c"] == 19.0
    )
