"""The time module of the ESP32 port: whole seconds since 2000-01-01, true ticks."""

import utime
from utime import (  # noqa
    ticks_add,
    ticks_cpu,
    ticks_diff,
    ticks_ms,
    ticks_us,
)

_2000 = const(946684800)
_timers = []  # (of machine.Timer): served while the program sleeps


def time():
    return utime.time_ns() // 1000000000 - _2000


def time_ns():
    return utime.time_ns() - _2000 * 1000000000


def gmtime(seconds=None):
    return utime.gmtime((time() if seconds is None else int(seconds)) + _2000)[:8]


localtime = gmtime


def mktime(fields):
    fields = tuple(fields)
    if len(fields) == 8:
        fields += (0,)
    return int(utime.mktime(fields)) - _2000


def sleep_ms(duration):
    if not _timers:
        return utime.sleep_ms(duration)
    end = utime.ticks_add(utime.ticks_ms(), duration)
    while (left := utime.ticks_diff(end, utime.ticks_ms())) > 0:
        wait = left
        for timer in list(_timers):
            wait = min(wait, timer._serve())
        utime.sleep_ms(max(1, wait))


def sleep_us(duration):
    utime.sleep_us(duration)


def sleep(seconds):
    sleep_ms(int(seconds * 1000))
