"""keyfob.wifi and keyfob.joining: status codes become codes with evidence; a loss is told once."""

import network
from device_support import Console, code_of, refused_coroutine, run

from keyfob.wifi import Wifi

SETTINGS = {"ssid": "net", "password": "secret"}


def joined(outcome, limit_ms=20_000):
    """(station, error or None, console) after one attempt, without the long waits."""
    network.outcome = outcome
    station = Wifi(SETTINGS)
    with Console() as console:
        if outcome == network.STAT_GOT_IP:
            run(station.join())
            return station, None, console
        return station, refused_coroutine(_fast(station, limit_ms)), console


async def _fast(station, limit_ms):
    from keyfob import joining  # which is loaded for each attempt anew

    # The clock that it reads runs a hundred times faster.
    clock = joining.time
    start = clock.ticks_ms()

    class Fast:
        @staticmethod
        def ticks_ms():
            return start + clock.ticks_diff(clock.ticks_ms(), start) * 100

        ticks_diff = staticmethod(lambda later, earlier: later - earlier)

    joining.time = Fast
    try:
        await station.join()
    finally:
        joining.time = clock


def test_joining_is_told_with_the_address():
    station, _, console = joined(network.STAT_GOT_IP)
    assert station.is_up()
    assert [event["ip"] for event in console.named("wifi.up")] == ["192.0.2.7"]


def test_a_station_that_is_up_is_left_alone():
    station, _, _ = joined(network.STAT_GOT_IP)
    before = list(station._wlan.calls)
    with Console() as console:
        run(station.join())
    assert station._wlan.calls == before
    assert console.events == []


def test_a_station_that_joined_another_network_by_itself_joins_its_own():
    station, _, _ = joined(network.STAT_GOT_IP)
    station._wlan.essid = "another"
    with Console():
        run(station.join())
    assert station._wlan.calls[-2:] == ["disconnect", "connect"]
    assert station._wlan.essid == "net"


def test_a_station_that_joined_by_itself_at_boot_joins_with_the_password_of_the_settings():
    station, _, _ = joined(network.STAT_GOT_IP)
    booted = Wifi(SETTINGS)
    booted._wlan = station._wlan
    del booted._wlan.calls[:]
    with Console() as console:
        run(booted.join())
    assert booted._wlan.calls == ["active", "disconnect", "connect"]
    assert len(console.named("wifi.up")) == 1


def test_an_attempt_under_way_is_ended_before_the_next():
    station, _, _ = joined(network.STAT_GOT_IP)
    assert station._wlan.calls == ["active", "disconnect", "connect"]


STATUSES = {
    network.STAT_NO_AP_FOUND: "wifi.no-ap",
    network.STAT_WRONG_PASSWORD: "wifi.wrong-password",
    network.STAT_ASSOC_FAIL: "wifi.join-failed",
    network.STAT_CONNECTING: "wifi.timeout",
}


def test_each_status_has_its_own_code_with_the_network_as_evidence():
    for status in STATUSES:
        _, error, console = joined(status)
        assert error.code == STATUSES[status]
        assert error.detail.startswith("ssid net, status %d" % status)
        assert "secret" not in error.detail + "".join(console.lines)


def test_a_driver_that_refuses_is_told_by_its_own_words():
    _, error, _ = joined(OSError("Wifi Internal Error"))
    assert error.code == "wifi.driver"
    assert "Wifi Internal Error" in error.detail


def test_a_loss_is_told_once_and_the_return_again():
    station, _, _ = joined(network.STAT_GOT_IP)
    station.check_up()
    station._wlan.disconnect()
    with Console() as console:
        assert code_of(station.check_up) == "wifi.lost"
        assert code_of(station.check_up) == "wifi.lost"
        run(station.join())
    assert [event["ev"] for event in console.events] == ["wifi.down", "wifi.up"]
