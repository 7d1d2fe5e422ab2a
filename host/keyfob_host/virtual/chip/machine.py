"""The machine module of the ESP32 port, as far as programs without a circuit use it."""

import micropython
import umachine
import utime

import _wire
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


class Pin:
    """A pin: the bench sees what it puts out and sets what it reads."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    DRIVE_0 = 0
    DRIVE_1 = 1
    DRIVE_2 = 2
    DRIVE_3 = 3

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if isinstance(id, Pin):
            id = id._id
        if not isinstance(id, int) or not 0 <= id <= 39 or id in (24, 28, 29, 30, 31):
            raise ValueError("invalid pin")
        self._id = id
        self._mode = Pin.IN
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if mode == Pin.OUT and self._id >= 34:
            raise ValueError("pin can only be input")
        if mode is not None and mode != -1:
            self._mode = mode
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return _wire.call("pin", n=self._id)
        _wire.call("pin", n=self._id, level=1 if level else 0)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=3, wake=None):
        if handler is not None:
            raise NotImplementedError("a virtual board's pins raise no interrupts")

    def __repr__(self):
        return "Pin(%d)" % self._id


class WDT:
    """The watchdog: not fed in time, the board resets."""

    def __init__(self, id=0, timeout=5000):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _wire.call("wdt", timeout_ms=timeout)

    def feed(self):
        _wire.call("wdt")


class Timer:
    """A timer whose callback runs while the program sleeps (``time.sleep*``)."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id=-1, **options):
        self._id = id
        self._callback = None
        if options:
            self.init(**options)

    def init(self, *, mode=1, freq=-1, period=-1, callback=None, hard=False, tick_hz=1000):
        self._period = int(1000 / freq) if freq != -1 else period
        self._once = mode == Timer.ONE_SHOT
        self._callback = callback
        self._due = utime.ticks_add(utime.ticks_ms(), self._period)
        timers = __import__("time")._timers
        if self not in timers:
            timers.append(self)

    def deinit(self):
        timers = __import__("time")._timers
        if self in timers:
            timers.remove(self)

    def value(self):
        return self._period - max(0, utime.ticks_diff(self._due, utime.ticks_ms()))

    def _serve(self):
        """Call back if due; milliseconds until the next time."""
        left = utime.ticks_diff(self._due, utime.ticks_ms())
        if left > 0:
            return left
        self._due = utime.ticks_add(self._due, self._period)
        if self._once:
            self.deinit()
        if self._callback:
            self._callback(self)
        return self._period
