"""Time comes from NTP, is judged before it is believed, and TLS waits for it.

Two time servers are in the board's settings; `ntp` is asked first.
"""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.rung("clock")

YEAR_S = 365 * 86400


def tells(error, port: int) -> bool:
    """Whether the event ``error`` is about the time server at ``port``."""
    return f":{port}:" in error["detail"]


def test_never_tries_tls_with_an_unset_clock(board, broker, ntp, ntp_second, case) -> None:
    case.criterion(
        "A board whose clock is not set connects to nobody and goes on asking for the time."
    )
    ntp.mode = ntp_second.mode = "unsynchronized"
    board.reset()
    board.wait_event("boot")
    broker.mark()  # until here it may have made a connection
    connections = len(broker.relay.connections)
    board.wait_event("wifi.up")
    for _ in range(2):  # it goes on asking, and does nothing else
        for server in (ntp, ntp_second):
            error = board.wait_event("error", where=lambda one, port=server.port: tells(one, port))
            assert error["code"] == "clock.unsynchronized"
            assert error["retry"] == "wait"
    assert board.events("clock.set") == []
    assert board.events("store.loaded") == []
    assert len(broker.relay.connections) == connections
    assert "connection from" not in broker.log()


def test_silent_time_server_is_told_and_the_next_is_asked(board, ntp, ntp_second, case) -> None:
    case.criterion("A time server without an answer is told, and the next one sets the clock.")
    ntp.mode = "silent"
    board.reset()
    error = board.wait_error("clock.no-answer")
    assert str(ntp.port) in error["detail"]
    told = board.wait_event("clock.set")
    assert told["server"].endswith(f":{ntp_second.port}")
    assert abs(told["unix_s"] - time.time()) < 5


def test_kiss_of_death_is_told_and_that_server_is_asked_no_more(
    board, ntp, ntp_second, case
) -> None:
    case.criterion(
        "A server that said kiss-of-death is asked no more (RFC 4330 section 8); the other one is."
    )
    ntp.mode = "kiss-of-death"
    ntp_second.mode = "unsynchronized"
    board.reset()
    error = board.wait_error("clock.kiss-of-death")
    assert "DENY" in error["detail"]
    for _ in range(3):
        board.wait_error("clock.unsynchronized")
    assert ntp.requests == 1
    assert ntp_second.requests >= 2
    ntp_second.mode = "ok"
    board.wait_event("clock.set")
    assert ntp.requests == 1


@pytest.mark.parametrize("years", [-3, +40], ids=["before-the-firmware", "far-future"])
def test_implausible_time_is_refused_and_the_next_server_asked(
    board, ntp, ntp_second, years, case
) -> None:
    case.criterion(
        "A time before the firmware was made, or decades after, is refused and the next "
        "server asked."
    )
    ntp.offset_s = years * YEAR_S
    board.reset()
    error = board.wait_error("clock.implausible")
    assert str(ntp.port) in error["detail"]
    assert board.wait_event("clock.set")["server"].endswith(f":{ntp_second.port}")
    board.wait_event("mqtt.up")


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("unsynchronized", "clock.unsynchronized"),
        ("wrong-originate", "clock.wrong-originate"),
        ("stratum-16", "clock.wrong-stratum"),
        ("wrong-mode", "clock.wrong-mode"),
        ("truncated", "clock.short-packet"),
    ],
)
def test_useless_answer_is_refused_and_the_next_server_asked(
    board, ntp, ntp_second, mode, code, case
) -> None:
    case.criterion(
        "An answer that fails a check of RFC 4330 section 5 is told by its code, and the next "
        "server asked."
    )
    ntp.mode = mode
    board.reset()
    board.wait_error(code)
    assert board.wait_event("clock.set")["server"].endswith(f":{ntp_second.port}")
    assert ntp.requests == 1


def test_clock_runs_on_after_the_time_servers_are_gone(
    board, ntp, ntp_second, broker, case
) -> None:
    case.criterion("A clock that was set needs no time server for the next connection.")
    board.connected()
    ntp.mode = ntp_second.mode = "silent"
    board.mark()
    broker.relay.cut()
    board.wait_event("mqtt.down")
    board.wait_event("mqtt.up")
    assert board.events("clock.*") == []
