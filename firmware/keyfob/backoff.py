"""How long to wait before the next attempt: exponential backoff with full jitter.

Full jitter (a uniform draw from zero to the ceiling) spreads a fleet that lost
its broker at one moment over the whole interval.
"""

from micropython import const

_FIRST_MS = const(500)
_CEILING_MS = const(60_000)
_STOP_MS = const(120_000)


class Backoff:
    """Delays for one connect loop. ``random`` returns a float in [0, 1)."""

    def __init__(self, random) -> None:
        self._random = random
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
            return _STOP_MS // 2 + int(self._random() * (_STOP_MS // 2))
        delay_ms = int(self._random() * self._ceiling_ms)
        self._ceiling_ms = min(2 * self._ceiling_ms, _CEILING_MS)
        return delay_ms
