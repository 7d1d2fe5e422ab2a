"""Events: one line each on the serial console, ``kf `` and compact JSON.

``t`` is milliseconds since `start` (it wraps after some days), ``ev`` the event's
name. Callers never pass keys or passwords.
"""

import json
import time

from micropython import const

from keyfob.errors import KeyfobError

_TICKS_MASK = const(0x3FFF_FFFF)
_start_ms = 0


def now_ms() -> int:
    """Milliseconds since some moment, wrapping; see `keyfob.mqtt.session.since`."""
    # The stubs give ticks an opaque type; every port gives an int.
    return time.ticks_ms()  # type: ignore[return-value]


def start() -> None:
    """Count ``t`` from now: the program boots. Ticks themselves count from anywhere."""
    global _start_ms
    _start_ms = now_ms()


def emit(ev: str, **fields: object) -> None:
    """Print the event ``ev`` with its fields, in one write.

    Written piece by piece because a MicroPython dict keeps no order, and ``t``
    and ``ev`` first is what makes a console readable.
    """
    line = 'kf {"t":%d,"ev":"%s"' % ((now_ms() - _start_ms) & _TICKS_MASK, ev)
    for name in sorted(fields):
        line += ',"%s":%s' % (name, json.dumps(fields[name], separators=(",", ":")))
    print(line + "}")


def emit_error(error: KeyfobError, next_ms: int = 0) -> None:
    """The ``error`` event; ``next_ms`` is when the next attempt starts, 0 for none."""
    from keyfob.backoff import is_stop

    retry = "stop" if is_stop(error.code) else "wait"
    emit("error", code=error.code, detail=error.detail, retry=retry, next_ms=next_ms)
