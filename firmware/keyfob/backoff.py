"""How long to wait before the next attempt: exponential backoff with full jitter.

Full jitter (a uniform draw from zero to the ceiling) spreads a fleet that lost
its broker at one moment over the whole interval.
"""

from micropython import const

_FIRST_MS = const(500)
_CEILING_MS = const(60_000)
_STOP_MS = const(120_000)


class Backoff:
    """Delays for one connect loop. ``draw`` returns two random bytes."""

    def __init__(self, draw) -> None:
        self._draw = draw
        self._ceiling_ms = _FIRST_MS

    def reset(self) -> None:
        """A connection stood: start again from the shortest delay."""
        self._ceiling_ms = _FIRST_MS

    def next_ms(self, stop: bool) -> int:
        """Milliseconds until the next attempt.

        ``stop``: the failure needs a person, so the retry is slow: half to all of
        two minutes. Otherwise 0 to a ceiling that doubles from 0.5 s to 60 s.
        """
        if stop:
            return _STOP_MS // 2 + self._below(_STOP_MS // 2)
        delay_ms = self._below(self._ceiling_ms)
        self._ceiling_ms = min(2 * self._ceiling_ms, _CEILING_MS)
        return delay_ms

    def _below(self, limit_ms: int) -> int:
        # Not random.random(), which the ESP8266 lacks: its generator is os.urandom.
        pair = self._draw()
        return (pair[0] << 8 | pair[1]) * limit_ms >> 16
