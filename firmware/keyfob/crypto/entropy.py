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

    A draw is refused if one of its groups of 4 bytes comes again in it, or if it begins
    as the draw before; of good ones of 100 bytes, one in a million.
    """
    for _ in range(_ATTEMPTS):
        draw = os.urandom(size + _EXTRA_BYTES)
        same = draw[:4] == _last[0]
        _last[0] = draw[:4]
        # Not by a set of them, which would take 30 times the memory of the draw.
        for end in range(4, len(draw), 4):
            if draw.find(draw[end - 4 : end], end) >= 0:
                same = True
        if not same:
            return draw[_EXTRA_BYTES:]
    raise KeyfobError("tls.no-randomness", "%d bytes repeat themselves, three times" % len(draw))
