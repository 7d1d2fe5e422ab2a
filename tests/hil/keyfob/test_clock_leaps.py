"""A clock that leaps and time servers that lie: told, survived, and forgotten afterwards."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.rung("clock")

HOUR_S = 3_600
YEAR_S = 365 * 86_400


@pytest.fixture
def lies(ntp, ntp_second):
    """``lies(offset_s)``: both time servers are so far off; 0 for the truth."""

    def set_offset(offset_s: float) -> None:
        ntp.offset_s = ntp_second.offset_s = offset_s

    return set_offset


@pytest.fixture
def is_right(board):
    """``is_right()``: after a reset the board takes the true time, and is connected."""

    def check() -> None:
        board.reset()
        assert abs(board.wait_event("clock.set")["unix_s"] - time.time()) < 5
        board.wait_event("mqtt.up")
        assert board.events("error") == []

    return check


@pytest.mark.parametrize(
    "leap_s",
    [10 * YEAR_S, -10 * YEAR_S, 5 * HOUR_S, -5 * HOUR_S],
    ids=["years-forward", "years-back", "hours-forward", "hours-back"],
)
def test_clock_that_leaps_while_connected_is_set_again(
    board, broker, host_client, is_right, case, leap_s
) -> None:
    case.criterion(
        "Before it connects again, a board whose clock leapt asks for the time and is right; "
        "nothing of the leap is left after a reset."
    )
    board.provision(board.identity)  # by a leap forward it may ask for the next certificate
    board.connected()
    board.mark()
    board.set_clock(time.time() + leap_s)
    # Two readings later it has looked at its clock.
    for _ in range(2):
        host_client.wait_message(f"devices/{board.device_id}/reading")
    broker.relay.cut()
    board.wait_event("mqtt.down")
    board.wait_event("clock.set", where=lambda one: abs(one["unix_s"] - time.time()) < 5)
    board.wait_event("mqtt.up")
    is_right()


def test_time_server_that_is_years_ahead_is_told_and_leaves_nothing_behind(
    board, broker, lies, is_right, case
) -> None:
    case.criterion(
        "By a time ten years ahead every certificate has ended: the board says so with that "
        "time, shows its own to nobody, and takes the true time as soon as it is told."
    )
    lies(10 * YEAR_S)
    board.reset()
    board.wait_event("boot")
    connections = len(broker.relay.connections)  # it may have made one until here
    assert board.wait_event("clock.set")["unix_s"] > time.time() + 9 * YEAR_S
    error = board.wait_error("store.no-identity")
    assert "store.expired" in error["detail"]
    assert f"clock {time.gmtime().tm_year + 10}" in error["detail"]
    assert len(broker.relay.connections) == connections
    lies(0)
    is_right()


def test_time_server_that_is_hours_ahead_keeps_nobody_out_afterwards(
    board, lies, is_right, case
) -> None:
    case.criterion(
        "A board that was connected by a time five hours ahead takes the true time after a "
        "reset, though that is before the latest it has seen."
    )
    lies(5 * HOUR_S)
    board.reset()
    assert board.wait_event("clock.set")["unix_s"] > time.time() + 4 * HOUR_S
    board.wait_event("mqtt.up")
    # With its second reading the time by which it is connected is kept in flash.
    board.needs_sensor()
    board.wait_event("publish", where=lambda one: one["topic"].endswith("/reading"))
    lies(0)
    is_right()


def test_time_server_that_is_days_behind_is_refused(board, broker, lies, is_right, case) -> None:
    case.criterion(
        "A time days before the latest that the board has seen is not believed, and nobody is "
        "connected to by it."
    )
    board.connected()
    lies(-3 * 24 * HOUR_S)
    board.reset()
    assert board.wait_error("clock.implausible")["retry"] == "wait"
    assert board.events("clock.set") == board.events("tls.*") == []
    lies(0)
    is_right()
