"""How a connection goes on: CONNACK, redelivery; and its end, DISCONNECT.

MQTT 3.1.1 and 5.0, sections 3.2, 3.14 and 4.4. Imported for that. The functions work on a
`session.Session`.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed, put_header
from keyfob.mqtt.state import Outgoing

_CONNACK = const(2)
_PUBCOMP = const(7)
_OPEN = const(2)


def read_connack(session, at: int, end: int) -> int:
    """The event; `session.Session.session_present`. Errors: the refusal's."""
    if session.version > 4:
        from keyfob.mqtt import granted

        is_present = granted.read_connack(session, at, end)
    else:
        is_present = read_flags(session.rx, at, end)
    if is_present and session.session_present:
        raise KeyfobError("mqtt.unexpected", "session present after a clean start")
    session.session_present = is_present
    session.state = _OPEN
    if not is_present:
        session.kept.receipts.clear()
        session.kept.held.clear()
    return _CONNACK


def read_flags(rx, at: int, end: int) -> bool:
    """The CONNACK of 3.1.1: whether the broker kept the session. Errors: the refusal's."""
    if end - at != 2:
        raise malformed("CONNACK of length", end - at)
    flags, code = rx[at], rx[at + 1]
    if flags > 1 or (flags and code) or code > 5:
        raise malformed("CONNACK %d with return code" % flags, code)
    if code:
        # Section 3.2.2.3: the names are those of 5.0, where most are the same.
        from keyfob.mqtt import reasons

        raise reasons.returned(code)
    return flags == 1


def resend(session, now_ms: int, outgoing: Outgoing) -> bool:
    """After a CONNACK, one of `inflight` in its order: PUBLISH again, or PUBREL.

    False if there is nothing to send, as a new session of the broker's knows
    nothing of a message that the old one had taken: it is complete.
    """
    if outgoing.awaits != _PUBCOMP:
        at = session.tx_end
        session.publish(now_ms, outgoing)
        if session.version > 4 and not session.session_present:
            session.tx[at] &= 0xF7  # no DUP: our half of the session is to be forgotten too
    elif session.session_present:
        outgoing.sent_ms = now_ms
        session.replies.append(0x620000 | outgoing.packet_id)
    else:
        session.inflight.remove(outgoing)
        return False
    return True


def disconnect(session) -> None:
    """The broker drops the will. Nothing can follow but `connect.connect`."""
    session.check_open()
    session.tx_end = put_header(session.tx, session.tx_end, 0xE0, 0)
    session.state = 0
