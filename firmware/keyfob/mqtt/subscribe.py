"""Subscribing: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK.

MQTT 3.1.1 and 5.0, sections 3.8 to 3.11 and 4.7. Imported for that. The functions work on
a `session.Session`. ``properties`` is a block of 5.0 with its length
(`keyfob.mqtt.properties.encode`), empty bytes for 3.1.1.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import is_text, malformed, put_header
from keyfob.mqtt.state import Outgoing

_SUBACK = const(9)
_UNSUBACK = const(11)
_NO_LOCAL = const(4)


def subscribe(session, now_ms: int, topic_filter: str, options: int, properties=None) -> Outgoing:
    """SUBSCRIBE, or UNSUBSCRIBE if ``options`` is negative; what its answer comes for.

    ``options``: section 3.8.3.1 of 5.0; in 3.1.1 the QoS, and what is beside it is left
    out. Events: SUBACK, UNSUBACK. Errors: mqtt.too-large, mqtt.not-connected, and in 5.0
    those of `granted.ask_for`.
    """
    session.check_open()
    block = b""
    if session.version > 4:
        from keyfob.mqtt.granted import ask_for

        block = ask_for(session, topic_filter, options, properties)
    elif options > 0:
        options &= 3
    asked = Outgoing(topic_filter, None, 0, False)
    asked.packet_id = session.take_id()
    session.tx_end = put_subscribe(
        session.tx, session.tx_end, asked.packet_id, topic_filter, options, block
    )
    session.again = None
    asked.awaits = _SUBACK if options >= 0 else _UNSUBACK
    asked.sent_ms = session.sent_ms = now_ms
    session.asked.append(asked)
    return asked


def read_answer(session, at: int, end: int) -> int:
    """The event of a SUBACK or UNSUBACK."""
    rx = session.rx
    kind = rx[session.start] >> 4
    packet_id = rx[at] << 8 | rx[at + 1] if end - at > 1 else 0
    if not packet_id:
        raise malformed("packet identifier of packet type %d" % kind, 0)
    if session.version > 4:
        from keyfob.mqtt.granted import read_granted

        code = read_granted(session, kind, at + 2, end)
    else:
        code = _read_granted(rx, kind, at + 2, end)
    for asked in session.asked:
        if asked.packet_id == packet_id and asked.awaits == kind:
            session.asked.remove(asked)
            session.outgoing = asked
            asked.code = code
            return kind
    detail = "packet type %d for identifier %d" % (kind, packet_id)
    raise KeyfobError("mqtt.unexpected", detail)


def _read_granted(rx, kind: int, at: int, end: int) -> int:
    """Sections 3.9.3 and 3.11: granted QoS, 128 for a refusal; nothing for UNSUBACK."""
    if end - at != (1 if kind == _SUBACK else 0):
        raise malformed("payload of packet type %d, of length" % kind, end - at)
    code = rx[at] if kind == _SUBACK else 0
    if code > 2 and code != 128:
        raise malformed("SUBACK return code", code)
    return code


def check_granted(topic_filter: str, code: int, properties=None) -> None:
    """The ``code`` of a SUBACK or UNSUBACK, and in 5.0 its ``properties``. Errors:
    mqtt.subscribe-refused."""
    if code >= 128:
        detail = "%s: code %d" % (topic_filter, code)
        if code > 128 or properties:
            from keyfob.mqtt.reasons import refusal

            refused = refusal(code, topic_filter, properties)
            detail = "%s (%s)" % (refused.detail, refused.code)
        raise KeyfobError("mqtt.subscribe-refused", detail)


def put_subscribe(
    buffer: bytearray,
    at: int,
    packet_id: int,
    topic_filter: str,
    options: int,
    properties: bytes = b"",
) -> int:
    """Section 3.8, one topic filter; UNSUBSCRIBE (3.10) if ``options`` is negative."""
    name = topic_filter.encode()
    first, size = (0x82, 5) if options >= 0 else (0xA2, 4)
    at = put_header(buffer, at, first, size + len(name) + len(properties))
    rest = packet_id.to_bytes(2, "big") + properties + len(name).to_bytes(2, "big") + name
    if options >= 0:
        rest += bytes((options,))
    buffer[at : at + len(rest)] = rest
    return at + len(rest)


def check_filter(topic_filter: str, options: int = 0) -> None:
    """A topic filter, section 4.7.1: wildcards fill whole levels, # ends it.

    ``$share/NAME/FILTER`` (5.0 section 4.8.2) has a name without wildcards. ``options``: as
    those of `subscribe`; none is a QoS of 3, retain handling of 3, a reserved bit, or no
    local with a shared subscription (5.0 section 3.8.3.1).
    Errors: mqtt.bad-topic, mqtt.bad-property.
    """
    levels = topic_filter.split("/")
    is_bad = not is_text(topic_filter) or "#" in levels[:-1]
    if levels[0] == "$share":
        is_bad = is_bad or levels[2:] in ([], [""]) or levels[1] in ("", "+", "#")
    for level in levels:
        is_bad = is_bad or (len(level) > 1 and ("+" in level or "#" in level))
    if is_bad:
        raise KeyfobError("mqtt.bad-topic", repr(topic_filter))
    has_no_local = options & _NO_LOCAL and levels[0] == "$share"
    if options >= 0 and (options & 3 == 3 or options > 0x2F or has_no_local):
        raise KeyfobError("mqtt.bad-property", "options 0x%02x of %s" % (options, topic_filter))
