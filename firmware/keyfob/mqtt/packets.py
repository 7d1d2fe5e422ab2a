"""MQTT 3.1.1 control packets: written into a buffer, read out of one.

OASIS MQTT 3.1.1 sections 2 and 3. The `put_*` functions write one packet at the
start of ``buffer`` and return its size; a packet that does not fit is mqtt.too-large.
The `read_*` functions judge everything the section says a receiver must judge, and
that a packet ends exactly where its remaining length says. Not checked: whether a
packet is in order here and now, which is the session's.
"""

from micropython import const

from keyfob.errors import KeyfobError

CONNECT = const(1)
CONNACK = const(2)
PUBLISH = const(3)
PUBACK = const(4)
SUBSCRIBE = const(8)
SUBACK = const(9)
UNSUBSCRIBE = const(10)
UNSUBACK = const(11)
PINGREQ = const(12)
PINGRESP = const(13)
DISCONNECT = const(14)

_MAX_STRING_BYTES = const(65_535)
_MAX_REMAINING_LENGTH = const(268_435_455)
_SUBACK_FAILURE = const(0x80)


def put_connect(
    buffer: bytearray,
    client_id: str,
    keepalive_s: int,
    clean_session: bool,
    will=None,
    username=None,
    password=None,
) -> int:
    """Section 3.1. ``will``: (topic, payload bytes, qos, retain) or None; ``password``: bytes."""
    flags = 0x02 if clean_session else 0
    fields = [client_id.encode()]
    if will:
        topic, payload, qos, retain = will
        check_topic(topic)
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        fields.append(topic.encode())
        fields.append(payload)
    if username is not None:
        flags |= 0x80
        fields.append(username.encode())
        if password is not None:
            flags |= 0x40
            fields.append(password)
    size = 10
    for field in fields:
        size += 2 + len(field)
    at = _put_header(buffer, CONNECT << 4, size)
    at = _put_field(buffer, at, b"MQTT")
    buffer[at] = 4
    buffer[at + 1] = flags
    at = put_u16(buffer, at + 2, keepalive_s)
    for field in fields:
        at = _put_field(buffer, at, field)
    return at


def put_publish(
    buffer: bytearray,
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    packet_id: int,
    dup: bool,
) -> int:
    """Section 3.3. ``packet_id`` is not written at QoS 0."""
    check_topic(topic)
    name = topic.encode()
    size = 2 + len(name) + (2 if qos else 0) + len(payload)
    flags = (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    at = _put_header(buffer, PUBLISH << 4 | flags, size)
    at = _put_field(buffer, at, name)
    if qos:
        at = put_u16(buffer, at, packet_id)
    buffer[at : at + len(payload)] = payload
    return at + len(payload)


def put_subscribe(buffer: bytearray, packet_id: int, topic_filter: str, qos: int) -> int:
    """Section 3.8, one topic filter."""
    check_filter(topic_filter)
    name = topic_filter.encode()
    at = _put_header(buffer, SUBSCRIBE << 4 | 2, 5 + len(name))
    at = put_u16(buffer, at, packet_id)
    at = _put_field(buffer, at, name)
    buffer[at] = qos
    return at + 1


def put_unsubscribe(buffer: bytearray, packet_id: int, topic_filter: str) -> int:
    """Section 3.10, one topic filter."""
    check_filter(topic_filter)
    name = topic_filter.encode()
    at = _put_header(buffer, UNSUBSCRIBE << 4 | 2, 4 + len(name))
    at = put_u16(buffer, at, packet_id)
    return _put_field(buffer, at, name)


def put_puback(buffer: bytearray, packet_id: int) -> int:
    """Section 3.4."""
    return put_u16(buffer, _put_header(buffer, PUBACK << 4, 2), packet_id)


def put_empty(buffer: bytearray, kind: int) -> int:
    """A packet without content: PINGREQ (3.12) or DISCONNECT (3.14)."""
    return _put_header(buffer, kind << 4, 0)


def _put_header(buffer: bytearray, first: int, size: int) -> int:
    need = 2 + size + (size > 127) + (size > 16_383) + (size > 2_097_151)
    if size > _MAX_REMAINING_LENGTH or need > len(buffer):
        raise KeyfobError("mqtt.too-large", "%d bytes to send, room for %d" % (need, len(buffer)))
    buffer[0] = first
    at = 1
    while size > 127:
        buffer[at] = size & 0x7F | 0x80
        size >>= 7
        at += 1
    buffer[at] = size
    return at + 1


def _put_field(buffer: bytearray, at: int, field: bytes) -> int:
    if len(field) > _MAX_STRING_BYTES:
        raise KeyfobError("mqtt.too-large", "field of %d bytes" % len(field))
    at = put_u16(buffer, at, len(field))
    buffer[at : at + len(field)] = field
    return at + len(field)


def put_u16(buffer: bytearray, at: int, value: int) -> int:
    """Big-endian; returns the offset behind."""
    buffer[at] = value >> 8
    buffer[at + 1] = value & 0xFF
    return at + 2


def check_topic(topic: str) -> None:
    """A topic name, section 4.7: not empty, no wildcard, no NUL. Errors: mqtt.bad-topic."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise KeyfobError("mqtt.bad-topic", repr(topic))


def check_filter(topic_filter: str) -> None:
    """A topic filter, section 4.7.1: wildcards fill whole levels, # ends it."""
    levels = topic_filter.split("/")
    for index, level in enumerate(levels):
        alone = level == "+" or (level == "#" and index == len(levels) - 1)
        if not alone and ("+" in level or "#" in level):
            raise KeyfobError("mqtt.bad-topic", repr(topic_filter))
    if not topic_filter or "\0" in topic_filter:
        raise KeyfobError("mqtt.bad-topic", repr(topic_filter))


def matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic`` is of ``topic_filter``, section 4.7. ``$SYS`` is not of ``#``."""
    wanted = topic_filter.split("/")
    levels = topic.split("/")
    if topic[0] == "$" and wanted[0] in ("+", "#"):
        return False
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index >= len(levels) or want not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def read_remaining_length(buffer: bytearray, end: int) -> tuple:
    """(offset of the variable header, size of the packet), section 2.2.3.

    ``buffer[:end]`` starts with a packet; (0, 0) if more bytes are needed to tell.
    Errors: mqtt.malformed.
    """
    size = 0
    for index in range(1, 5):
        if index >= end:
            return 0, 0
        byte = buffer[index]
        size |= (byte & 0x7F) << 7 * (index - 1)
        if byte < 128:
            return index + 1, index + 1 + size
    raise malformed("remaining length of more than 4 bytes", buffer[1])


def read_u16(buffer: bytearray, at: int, end: int) -> int:
    """Errors: mqtt.malformed if the packet ends before."""
    if at + 2 > end:
        raise malformed("ends within a 16-bit number", end - at)
    return buffer[at] << 8 | buffer[at + 1]


def read_connack(buffer: bytearray, at: int, end: int) -> tuple:
    """(session present, return code), section 3.2. Errors: mqtt.malformed."""
    _check_flags(buffer[0], 0)
    if end - at != 2:
        raise malformed("CONNACK of length", end - at)
    if buffer[at] > 1:
        raise malformed("CONNACK flags", buffer[at])
    if buffer[at + 1] and buffer[at]:
        raise malformed("session present with return code", buffer[at + 1])
    return buffer[at] == 1, buffer[at + 1]


def read_publish(buffer: bytearray, at: int, end: int) -> tuple:
    """(topic, payload offset, qos, retain, dup, packet id or 0), section 3.3."""
    first = buffer[0]
    qos = first >> 1 & 3
    if qos == 3 or (first & 8 and not qos):
        raise malformed("PUBLISH flags", first & 15)
    size = read_u16(buffer, at, end)
    at += 2
    if at + size > end:
        raise malformed("topic of length", size)
    try:
        topic = bytes(buffer[at : at + size]).decode()
        check_topic(topic)
    except (UnicodeError, KeyfobError):
        raise malformed("topic name of length", size)
    at += size
    packet_id = 0
    if qos:
        packet_id = read_packet_id(buffer, at, end)
        at += 2
    return topic, at, qos, bool(first & 1), bool(first & 8), packet_id


def read_packet_id(buffer: bytearray, at: int, end: int) -> int:
    """A packet identifier, which is never 0 (section 2.3.1)."""
    packet_id = read_u16(buffer, at, end)
    if not packet_id:
        raise malformed("packet identifier", 0)
    return packet_id


def read_ack(buffer: bytearray, at: int, end: int) -> int:
    """The packet identifier of a PUBACK or UNSUBACK, sections 3.4 and 3.11."""
    _check_flags(buffer[0], 0)
    if end - at != 2:
        raise malformed("acknowledgement of length", end - at)
    return read_packet_id(buffer, at, end)


def read_suback(buffer: bytearray, at: int, end: int) -> tuple:
    """(packet identifier, return code) of a SUBACK for one filter, section 3.9."""
    _check_flags(buffer[0], 0)
    packet_id = read_packet_id(buffer, at, end)
    if end - at != 3:
        raise malformed("SUBACK of length", end - at)
    code = buffer[at + 2]
    if code > 2 and code != _SUBACK_FAILURE:
        raise malformed("SUBACK return code", code)
    return packet_id, code


def read_pingresp(buffer: bytearray, at: int, end: int) -> None:
    """Section 3.13: no flags, no content."""
    _check_flags(buffer[0], 0)
    if end != at:
        raise malformed("PINGRESP of length", end - at)


def _check_flags(first: int, want: int) -> None:
    if first & 15 != want:
        raise malformed("flags of packet type %d" % (first >> 4), first & 15)


def malformed(what: str, seen: int) -> KeyfobError:
    """The error for a packet that section 4.8 says to close the connection for."""
    return KeyfobError("mqtt.malformed", "%s: %d" % (what, seen))
