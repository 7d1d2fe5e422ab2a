"""The machine module of the ESP32 port, as far as programs without a circuit use it."""

import micropython
import umachine
import utime

import _devices
import _wire
from _devices import Timer  # noqa
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5
SLEEP = 2
DEEPSLEEP = 4
PIN_WAKE = 2
EXT0_WAKE = 2
EXT1_WAKE = 3
TIMER_WAKE = 4
TOUCHPAD_WAKE = 5
ULP_WAKE = 6

_2000 = const(946684800)
_facts = {}
_frequency = 160000000


def _start(facts):
    _facts.update(facts)


def unique_id():
    return bytes.fromhex(_facts["mac"])


def reset_cause():
    return _facts["reset_cause"]


def wake_reason():
    return TIMER_WAKE if reset_cause() == DEEPSLEEP_RESET else 0


def freq(hz=None):
    global _frequency
    if hz is None:
        return _frequency
    if hz not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _frequency = hz


def reset():
    _wire.call("reset")


def soft_reset():
    raise SystemExit


def deepsleep(time_ms=0):
    _wire.call("deepsleep", time_ms=time_ms)


def lightsleep(time_ms=0):
    utime.sleep_ms(time_ms)


def disable_irq():
    return 0


def enable_irq(state=0):
    pass


class RTC:
    """The clock that ``time``, files and mbedTLS go by."""

    _memory = None

    def datetime(self, fields=None):
        if fields is None:
            now = utime.time_ns()
            year, month, day, hour, minute, second, weekday, _ = utime.gmtime(now // 1000000000)[:8]
            return (year, month, day, weekday, hour, minute, second, now // 1000 % 1000000)
        year, month, day, _, hour, minute, second, microseconds = fields
        self._set(year, month, day, hour, minute, second, microseconds)

    def init(self, fields):
        year, month, day, hour, minute, second, microseconds, _ = fields
        self._set(year, month, day, hour, minute, second, microseconds)

    def _set(self, year, month, day, hour, minute, second, microseconds):
        seconds = int(utime.mktime((year, month, day, hour, minute, second, 0, 0, 0)))
        _wire.call("set_clock", s=seconds, us=microseconds)

    def memory(self, data=None):
        if data is None:
            return bytes.fromhex(_wire.call("rtc_memory"))
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _wire.call("rtc_memory", data=bytes(data).hex())


class Pin(_devices.Pin):
    """A pin: the bench sees what it puts out and sets what it reads."""

    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    DRIVE_0 = 0
    DRIVE_1 = 1
    DRIVE_2 = 2
    DRIVE_3 = 3

    @staticmethod
    def _exists(id):
        return 0 <= id <= 39 and id not in (24, 28, 29, 30, 31)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if mode == Pin.OUT and self._id >= 34:
            raise ValueError("pin can only be input")
        super().init(mode, pull, value=value)


class WDT:
    """The watchdog: not fed in time, the board resets."""

    def __init__(self, id=0, timeout=5000):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _wire.call("wdt", timeout_ms=timeout)

    def feed(self):
        _wire.call("wdt")
