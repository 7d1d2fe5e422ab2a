"""Random bytes for keys and nonces, from `os.urandom`, looked at before they are used.

On the boards `os.urandom` is the hardware generator (with radio or ADC noise only while
Wi-Fi is up). What is seen here is a generator that stands still or runs in a short
circle, as SP 800-90B section 4.4 wants it seen; predictable output that looks random is
not.
"""

import os

from micropython import const

from keyfob.errors import KeyfobError

# Drawn beside what was asked for, so that small draws can be judged too.
_EXTRA_BYTES = const(24)
_ATTEMPTS = const(3)
_last = [b""]


def random_bytes(size: int) -> bytes:
    """``size`` of them. Errors: tls.no-randomness if three draws repeat themselves.

    A draw is refused if two of its groups of 4 bytes are the same, or if it begins as
    the draw before; of good ones of 100 bytes, one in ten million.
    """
    for _ in range(_ATTEMPTS):
        draw = os.urandom(size + _EXTRA_BYTES)
        ends = range(4, len(draw) + 1, 4)
        words = {draw[end - 4 : end] for end in ends}
        begins_as_before = draw[:4] == _last[0]
        _last[0] = draw[:4]
        if len(words) == len(ends) and not begins_as_before:
            return draw[_EXTRA_BYTES:]
    raise KeyfobError("tls.no-randomness", "%d groups of %d differ" % (len(words), len(ends)))
