"""What the machine modules of the ports have in common."""

import utime

import _wire

_facts = {}


def _start(facts):
    _facts.update(facts)


def reset_cause():
    return _facts["reset_cause"]


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
    """The clock that ``time`` and files go by. The port's has ``_per_second`` of the fraction
    at the end of its fields, and ``_memory_bytes``."""

    def datetime(self, fields=None):
        if fields is None:
            now = utime.time_ns()
            year, month, day, hour, minute, second, weekday = utime.gmtime(now // 1000000000)[:7]
            fraction = now // (1000000000 // self._per_second) % self._per_second
            return (year, month, day, weekday, hour, minute, second, fraction)
        year, month, day, _, hour, minute, second, fraction = fields
        seconds = int(utime.mktime((year, month, day, hour, minute, second, 0, 0, 0)))
        _wire.call("set_clock", s=seconds, us=fraction * (1000000 // self._per_second))

    def memory(self, data=None):
        if data is None:
            return bytes.fromhex(_wire.call("rtc_memory"))
        if len(data) > self._memory_bytes:
            raise ValueError("buffer too long")
        _wire.call("rtc_memory", data=bytes(data).hex())


class Pin:
    """A pin: the bench sees what it puts out and sets what it reads."""

    IN = 1
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, *, value=None, drive=None, hold=None):
        if isinstance(id, Pin):
            id = id._id
        if not isinstance(id, int) or not self._exists(id):
            raise ValueError("invalid pin")
        self._id = id
        self._mode = self.IN
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None):
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
