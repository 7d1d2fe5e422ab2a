"""What is wrong with a packet that the session or `keyfob.blocking` does not take.

MQTT 3.1.1 and 5.0, section 4.8: the connection is closed for what the session does not
take. Imported when one comes.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed

_CONNACK = const(2)
_PUBREL = const(6)
_PINGRESP = const(13)
_WAITS_FOR_CONNACK = const(1)
_OPEN = const(2)
# MQTT 5.0, section 4.13: what we tell the broker before we hang up.
_FAREWELLS = {
    "mqtt.malformed": 0x81,
    "mqtt.unexpected": 0x82,
    "mqtt.auth-refused": 0x82,
    "mqtt.receive-maximum": 0x93,
    "mqtt.topic-alias-unknown": 0x94,
    "mqtt.too-large": 0x95,
}


def refused(session, first: int, at: int, end: int) -> KeyfobError:
    """The error for the packet with the first byte ``first`` and the rest ``rx[at:end]``."""
    kind = first >> 4
    if session.state != (_WAITS_FOR_CONNACK if kind == _CONNACK else _OPEN):
        return _unexpected(kind, session.state)
    if end - session.start > len(session.rx):
        return _too_large(end - session.start, session.rx)
    if first & 15 != (2 if kind == _PUBREL else 0):
        return malformed("flags of packet type %d" % kind, first & 15)
    if kind == _PINGRESP:
        return malformed("PINGRESP of length", end - at)
    return _unexpected(kind, session.state)


def refused_publish(rx, flags: int, at: int, end: int, have: int) -> KeyfobError:
    """What is wrong with the PUBLISH ``rx[at:end]``, of which ``rx[at:have]`` is there."""
    if end - at < 2:
        return malformed("PUBLISH of length", end - at)
    if flags & 6 == 6 or flags & 14 == 8:
        return malformed("PUBLISH flags", flags)
    size = rx[at] << 8 | rx[at + 1]
    at += 2
    behind = at + size + (2 if flags & 6 else 0)
    if behind > end:
        return malformed("topic of length", size)
    if behind > have:
        return _too_large(behind, rx)
    if flags & 6 and not (rx[behind - 2] or rx[behind - 1]):
        return malformed("packet identifier", 0)
    return malformed("no topic name, of length", size)


def farewell(code: str) -> bytes:
    """The DISCONNECT of MQTT 5.0 before a connection is closed for ``code``, if there is one."""
    reason = _FAREWELLS.get(code)
    return bytes((0xE0, 1, reason)) if reason else b""


def skipped(state, is_full: bool) -> KeyfobError:
    """The error for a PUBLISH that nobody gets: it comes in pieces, or the inbox is full."""
    code = "mqtt.inbox-full" if is_full else "mqtt.too-large"
    return KeyfobError(code, "%d bytes of %s" % (state.size, state.topic))


def _unexpected(kind: int, state: int) -> KeyfobError:
    return KeyfobError("mqtt.unexpected", "packet type %d in state %d" % (kind, state))


def _too_large(size: int, rx) -> KeyfobError:
    return KeyfobError("mqtt.too-large", "%d bytes received, room for %d" % (size, len(rx)))
