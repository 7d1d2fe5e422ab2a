"""The machine module of the ESP8266 port, as far as programs without a circuit use it."""

import utime

import _devices
import _wire
from _devices import Timer  # noqa
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa

PWRON_RESET = 0
WDT_RESET = 1
SOFT_RESET = 4
DEEPSLEEP_RESET = 5
HARD_RESET = 6
DEEPSLEEP = 4

_RTC_MEMORY_BYTES = const(492)
_facts = {}
_frequency = 80000000


def _start(facts):
    _facts.update(facts)


def unique_id():
    """The chip's number: the last three bytes of the MAC, lowest first."""
    mac = bytes.fromhex(_facts["mac"])
    return bytes((mac[5], mac[4], mac[3], 0))


def reset_cause():
    return _facts["reset_cause"]


def freq(hz=None):
    global _frequency
    if hz is None:
        return _frequency
    if hz not in (80000000, 160000000):
        raise ValueError("frequency can only be either 80Mhz or 160MHz")
    _frequency = hz


def reset():
    _wire.call("reset")


def soft_reset():
    raise SystemExit


def deepsleep(time_ms=0):
    _wire.call("deepsleep", time_ms=time_ms)


def lightsleep(time_ms=0):
    utime.sleep_ms(time_ms)


sleep = lightsleep


def disable_irq():
    return 0


def enable_irq(state=0):
    pass


class RTC:
    """The clock that ``time`` and files go by. No init() here, and milliseconds at the end."""

    ALARM0 = 0

    def datetime(self, fields=None):
        if fields is None:
            now = utime.time_ns()
            year, month, day, hour, minute, second, weekday = utime.gmtime(now // 1000000000)[:7]
            return (year, month, day, weekday, hour, minute, second, now // 1000000 % 1000)
        year, month, day, _, hour, minute, second, milliseconds = fields
        seconds = int(utime.mktime((year, month, day, hour, minute, second, 0, 0, 0)))
        _wire.call("set_clock", s=seconds, us=milliseconds * 1000)

    def memory(self, data=None):
        if data is None:
            return bytes.fromhex(_wire.call("rtc_memory"))
        if len(data) > _RTC_MEMORY_BYTES:
            raise ValueError("buffer too long")
        _wire.call("rtc_memory", data=bytes(data).hex())


class Pin(_devices.Pin):
    """GPIO 0 to 16; 16 has no pull."""

    IN = 0
    OUT = 1
    OPEN_DRAIN = 2
    PULL_UP = 1

    @staticmethod
    def _exists(id):
        return 0 <= id <= 16

    def init(self, mode=-1, pull=None, *, value=None):
        if self._id == 16 and pull not in (None, -1):
            raise ValueError("Pin(16) doesn't support pull")
        super().init(mode, pull, value=value)


class WDT:
    """The watchdog: not fed for its fixed time, the board resets."""

    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout != 5000:
            raise ValueError
        _wire.call("wdt", timeout_ms=timeout)

    def feed(self):
        _wire.call("wdt")
