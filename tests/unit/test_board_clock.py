"""keyfob.clock: several servers, the RTC, the floor in flash."""

import os
import time

import machine
from device_support import (
    Console,
    code_of,
    new_folder,
    refused_coroutine,
    remove_folder,
    run,
    write,
)

from keyfob.clock import Clock
from keyfob.errors import KeyfobError

NOW_S = 1_800_000_000  # 2027-01-15 08:00:00 UTC
UNIX_NTP_S = 2_208_988_800


class Servers:
    """Time servers by name: a time to tell, a kiss code, or a code to raise."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def exchange(self, server, packet, limit_ms):
        self.asked.append(server)
        answer = self.answers[server]
        reply = bytearray(48)
        reply[0:2] = b"\x24\x02"
        reply[24:32] = packet[40:48]
        if isinstance(answer, bytes):
            reply[1] = 0
            reply[12:16] = answer
        elif isinstance(answer, str):
            raise KeyfobError(answer, "as told")
        else:
            reply[40:44] = ((answer + UNIX_NTP_S) % 2**32).to_bytes(4, "big")
        return bytes(reply)


class Running(Clock):
    """A clock whose time a test moves: ``at_s``."""

    at_s = NOW_S

    def now_s(self):
        return self.at_s


def with_clock(test, servers, floor=None, min_s=0):
    """Call ``test(clock, path, console)`` with a clock on a folder of its own."""
    _with(Clock, test, servers, floor, min_s)


def with_running(test, servers, floor=None):
    """As `with_clock`, with a `Running` one."""
    _with(Running, test, servers, floor, 0)


def _with(kind, test, servers, floor, min_s):
    folder = new_folder()
    try:
        path = folder + "/clock"
        if floor is not None:
            write(path, floor)
        del machine.rtc_fields[:]
        with Console() as console:
            settings = {"servers": list(servers.answers), "min_s": min_s}
            test(kind(settings, servers.exchange, path), path, console)
    finally:
        remove_folder(folder)


def read(path):
    with open(path) as file:
        return file.read()


def test_a_clock_that_was_never_set_tells_no_time():
    def check(clock, path, console):
        assert not clock.is_set()
        assert code_of(clock.now_s) == "clock.never-set"

    with_clock(check, Servers(a=NOW_S), floor=str(NOW_S))


def test_a_plausible_reply_sets_the_rtc():
    def check(clock, path, console):
        run(clock.set())
        assert clock.is_set()
        year, month, day, weekday, hour, minute, second, _ = machine.rtc_fields[0]
        assert (year, month, day, weekday) == (2027, 1, 15, 4)
        assert (hour, minute) == (8, 0) and second in (0, 1)
        event = console.named("clock.set")[0]
        assert (event["unix_s"], event["server"]) == (NOW_S, "a")

    with_clock(check, Servers(a=NOW_S))


def test_now_is_unix_seconds_of_the_ports_own_time():
    def check(clock, path, console):
        run(clock.set())
        epoch_s = 946_684_800 if time.gmtime(0)[0] == 2000 else 0
        assert abs(clock.now_s() - (int(time.time()) + epoch_s)) <= 1

    with_clock(check, Servers(a=NOW_S))


def test_the_servers_are_asked_again_after_a_day_or_a_doubt():
    def check(clock, path, console):
        assert clock.is_due()
        run(clock.set())
        told_s = clock.now_s()
        clock.now_s = lambda: NOW_S + 86_399
        assert not clock.is_due()
        clock.now_s = lambda: NOW_S + 86_400
        assert clock.is_due()
        clock.now_s = lambda: told_s
        clock.doubt()
        assert clock.is_due()

    with_clock(check, Servers(a=NOW_S))


def test_the_next_server_is_asked_after_a_refusal():
    def check(clock, path, console):
        run(clock.set())
        assert servers.asked == ["a", "b"] or servers.asked == ["b"]
        assert clock.is_set()

    servers = Servers(a="clock.no-answer", b=NOW_S)
    with_clock(check, servers)


def test_if_all_fail_the_error_names_server_and_evidence():
    def check(clock, path, console):
        error = refused_coroutine(clock.set())
        assert (error.code, error.detail) == ("clock.no-server", "a: as told")
        assert not clock.is_set() and not machine.rtc_fields

    with_clock(check, Servers(a="clock.no-server"))


def test_a_server_that_said_deny_is_not_asked_again():
    def check(clock, path, console):
        assert refused_coroutine(clock.set()).detail == "a: DENY"
        error = refused_coroutine(clock.set())
        assert (error.code, error.detail) == ("clock.kiss-of-death", "no server may be asked")
        assert servers.asked == ["a"]

    servers = Servers(a=b"DENY")
    with_clock(check, servers)


def test_a_server_that_said_rate_rests_and_is_asked_again():
    def check(clock, path, console):
        assert refused_coroutine(clock.set()).detail == "a: RATE"
        assert refused_coroutine(clock.set()).detail == "no server may be asked"
        clock.resting["a"] = time.ticks_add(time.ticks_ms(), -1_025_000)
        servers.answers["a"] = NOW_S
        run(clock.set())
        assert servers.asked == ["a", "a"]

    servers = Servers(a=b"RATE")
    with_clock(check, servers)


DAY_S = 86_400


def test_the_floor_is_the_latest_of_built_configured_and_a_day_before_the_latest_seen():
    with_clock(lambda clock, *_: _equal(clock.floor_s(), 1_793_491_200), Servers(a=NOW_S))
    with_clock(lambda clock, *_: _equal(clock.floor_s(), NOW_S), Servers(a=0), min_s=NOW_S)
    with_clock(
        lambda clock, *_: _equal(clock.floor_s(), NOW_S),
        Servers(a=0), floor=str(NOW_S + DAY_S), min_s=NOW_S - 5,
    )  # fmt: skip
    with_clock(
        lambda clock, *_: _equal(clock.floor_s(), NOW_S + 5),
        Servers(a=0), floor=str(NOW_S + DAY_S), min_s=NOW_S + 5,
    )  # fmt: skip


def _equal(seen, want):
    assert seen == want, (seen, want)


def test_a_reply_a_day_before_the_latest_time_seen_is_refused():
    def check(clock, path, console):
        assert refused_coroutine(clock.set()).code == "clock.implausible"

    with_clock(check, Servers(a=NOW_S - 1), floor=str(NOW_S + DAY_S))
    with_clock(lambda clock, *_: run(clock.set()), Servers(a=NOW_S), floor=str(NOW_S + DAY_S))


def test_a_time_that_no_connection_was_verified_by_is_not_kept():
    def check(clock, path, console):
        run(clock.set())
        assert clock.is_set()
        assert "clock" not in os.listdir(path[: path.rfind("/")])

    with_running(check, Servers(a=NOW_S))


def test_a_time_that_the_clock_leapt_to_is_not_kept_and_is_asked_for_again():
    for leap_s in (3_601, -3_601, 10 * 365 * DAY_S, -10 * 365 * DAY_S):

        def check(clock, path, console, leap_s=leap_s):
            run(clock.set())
            clock.keep()
            assert not clock.is_due()
            clock.at_s += leap_s
            for _ in range(3):
                clock.keep()
                clock.at_s += DAY_S // 2
            assert clock.is_due()
            assert read(path) == str(NOW_S)
            clock.at_s = NOW_S + 5
            run(clock.set())  # by a server that is right
            assert not clock.is_due()

        with_running(check, Servers(a=NOW_S))


def test_a_clock_that_runs_is_not_asked_for_again_before_a_day():
    def check(clock, path, console):
        run(clock.set())
        for _ in range(23):
            clock.at_s += 3_600
            clock.keep()
            assert not clock.is_due()
        assert read(path) == str(NOW_S + 13 * 3_600)

    with_running(check, Servers(a=NOW_S))


def test_the_time_of_a_verified_connection_is_kept_over_a_reboot():
    def check(clock, path, console):
        run(clock.set())
        clock.keep()
        assert read(path) == str(NOW_S)
        assert "clock.new" not in os.listdir(path[: path.rfind("/")])
        again = Clock({"servers": ["a"], "min_s": 0}, None, path)
        assert again.floor_s() == NOW_S - DAY_S
        assert not again.is_set()
        assert console.named("clock.kept")[-1]["floor_s"] == NOW_S - DAY_S

    with_running(check, Servers(a=NOW_S))


def test_the_floor_is_written_no_more_than_twice_a_day():
    def check(clock, path, console):
        clock.at_s = NOW_S + 43_199
        run(clock.set())
        clock.keep()
        assert read(path) == str(NOW_S)
        clock.at_s += 1
        clock.keep()
        assert read(path) == str(NOW_S + 43_200)

    with_running(check, Servers(a=NOW_S + 43_199), floor=str(NOW_S))


def test_a_floor_that_is_no_number_is_no_floor():
    for text in ("", "x", "-5", "99999999999", "1e9", "1.5", "\0\0\0\0"):
        with_clock(
            lambda clock, *_: _equal(clock.floor_s(), 1_793_491_200), Servers(a=0), floor=text
        )


def test_a_floor_that_cannot_be_written_costs_no_connection():
    def check(clock, path, console):
        os.mkdir(path + ".new")  # a folder where the temporary file would be
        run(clock.set())
        assert clock.is_set()
        clock.keep()
        clock.keep()  # not tried again at once
        assert [event["code"] for event in console.named("error")] == ["clock.floor-not-kept"]

    with_running(check, Servers(a=NOW_S))
