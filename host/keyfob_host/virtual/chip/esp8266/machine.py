"""The machine module of the ESP8266 port, as far as programs without a circuit use it."""

import _devices
import _wire
from _devices import (  # noqa
    Timer,
    _facts,
    _start,
    deepsleep,
    disable_irq,
    enable_irq,
    lightsleep,
    reset,
    reset_cause,
    soft_reset,
)
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa

PWRON_RESET = 0
WDT_RESET = 1
SOFT_RESET = 4
DEEPSLEEP_RESET = 5
HARD_RESET = 6
DEEPSLEEP = 4

sleep = lightsleep
_frequency = 80000000


def unique_id():
    """The chip's number: the last three bytes of the MAC, lowest first."""
    mac = bytes.fromhex(_facts["mac"])
    return bytes((mac[5], mac[4], mac[3], 0))


def freq(hz=None):
    global _frequency
    if hz is None:
        return _frequency
    if hz not in (80000000, 160000000):
        raise ValueError("frequency can only be either 80Mhz or 160MHz")
    _frequency = hz


class RTC(_devices.RTC):
    """No init() here, and milliseconds at the end."""

    ALARM0 = 0
    _per_second = 1000
    _memory_bytes = 492


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
