"""A peer that takes the connection and says nothing, or no more: a time limit ends it."""

from __future__ import annotations

import socket

import pytest

from keyfob_host.relay import Fault

ESP32 = pytest.mark.chips("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c6")
ESP8266 = pytest.mark.chips("esp8266")
pytestmark = [pytest.mark.rung("tls"), pytest.mark.timeout(600)]

# Keyfob's engine gives a handshake the time that it takes itself on a slow chip.
SOON_S, LATE_S = 30, 120
_SPARE_S = 15


@pytest.mark.parametrize(
    "limit_s",
    [
        pytest.param(SOON_S, marks=ESP32, id="esp32"),
        pytest.param(LATE_S, marks=[ESP8266, pytest.mark.long], id="esp8266"),
    ],
)
def test_peer_that_says_nothing_is_given_up_in_time(board, broker, case, limit_s) -> None:
    case.criterion(
        f"A peer that says nothing is given up after {limit_s} s; the board tells it, and "
        "connects once the broker is there again."
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker.answer(silent.getsockname()[1])
        board.reset()
        error = board.wait_error("tls.handshake-timeout", limit_s + _SPARE_S)
    assert error["retry"] == "wait"
    assert error["detail"].startswith("0 bytes from the broker")
    broker.restore()
    board.wait_event("mqtt.up")


@pytest.mark.long
@pytest.mark.parametrize(
    "limit_s",
    [
        pytest.param(SOON_S, marks=ESP32, id="esp32"),
        pytest.param(LATE_S, marks=ESP8266, id="esp8266"),
    ],
)
def test_peer_that_stops_in_the_handshake_is_given_up_in_time(board, broker, case, limit_s) -> None:
    case.criterion(
        f"A peer that says no more in the middle of its certificate is given up after {limit_s} "
        "s; the board tells it, and connects once the link is whole."
    )
    broker.relay.fail(Fault("stall", "down", at_byte=400))
    board.reset()
    error = board.wait_error("tls.handshake-timeout", limit_s + _SPARE_S)
    assert error["retry"] == "wait"
    assert error["detail"].startswith("400 bytes from the broker")
    broker.relay.clear()
    board.wait_event("mqtt.up")
