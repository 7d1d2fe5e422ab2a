"""Events: one line each on the serial console, ``kf `` and compact JSON.

``t`` is milliseconds since boot as ``time.ticks_ms`` counts them (it wraps after
some days), ``ev`` the event's name. Callers never pass keys or passwords.
"""

import json
import time

from keyfob.errors import KeyfobError, is_stop


def now_ms() -> int:
    """Milliseconds since boot, wrapping at a power of two; see `keyfob.mqtt.session.since`."""
    # The stubs give ticks an opaque type; every port gives an int.
    return time.ticks_ms()  # type: ignore[return-value]


def emit(ev: str, **fields: object) -> None:
    """Print the event ``ev`` with its fields, in one write.

    Written piece by piece because a MicroPython dict keeps no order, and ``t``
    and ``ev`` first is what makes a console readable.
    """
    line = 'kf {"t":%d,"ev":"%s"' % (now_ms(), ev)
    for name in sorted(fields):
        line += ',"%s":%s' % (name, json.dumps(fields[name], separators=(",", ":")))
    print(line + "}")


def emit_error(error: KeyfobError, next_ms: int = 0) -> None:
    """The ``error`` event; ``next_ms`` is when the next attempt starts, 0 for none."""
    retry = "stop" if is_stop(error.code) else "wait"
    emit("error", code=error.code, detail=error.detail, retry=retry, next_ms=next_ms)
