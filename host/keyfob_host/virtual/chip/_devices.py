"""What the machine modules of the ports have in common: pins and timers."""

import utime

import _wire


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
