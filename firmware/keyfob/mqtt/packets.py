"""MQTT control packets: written into a buffer, read out of one. 3.1.1, and what 5.0 shares.

OASIS MQTT 3.1.1 and 5.0, sections 2 and 3. The `put_*` functions write one packet at
``buffer[at]`` and return the offset behind it; a packet that does not fit is
mqtt.too-large, and nothing of it was written. ``properties`` is a block of 5.0 with
its length (`keyfob.mqtt.properties.encode`), empty bytes for 3.1.1. The `read_*`
functions judge what the section says a receiver must judge. Not checked: whether a
packet is in order here and now, which is the session's.
"""

from micropython import const

from keyfob.errors import KeyfobError

_MAX_REMAINING_LENGTH = const(268_435_455)


def put_connect(
    buffer: bytearray,
    at: int,
    client_id: str,
    keepalive_s: int,
    clean: bool,
    will=None,
    username: str = "",
    password: str = "",
    version: int = 4,
    properties: bytes = b"",
    will_properties: bytes = b"",
) -> int:
    """Section 3.1. ``will``: (topic, payload bytes, qos, retain) or None; ``version``: 4 or 5."""
    flags = 2 if clean else 0
    fields = [client_id.encode()]
    size = 12 + len(properties)
    if will:
        topic, payload, qos, retain = will
        check_topic(topic)
        flags |= 4 | qos << 3 | retain << 5
        fields += [topic.encode(), payload]
        size += len(will_properties)
    if username:
        flags |= 128
        fields.append(username.encode())
    if password:
        flags |= 64
        fields.append(password.encode())
    for field in fields:
        size += 2 + len(field)
    at = put_header(buffer, at, 0x10, size - 2)
    at = _put_field(buffer, at, b"MQTT")
    buffer[at] = version
    buffer[at + 1] = flags
    at = put_u16(buffer, at + 2, keepalive_s)
    at = put_bytes(buffer, at, properties)
    at = _put_field(buffer, at, fields.pop(0))
    if will:
        at = put_bytes(buffer, at, will_properties)
    for field in fields:
        at = _put_field(buffer, at, field)
    return at


def put_publish(
    buffer: bytearray,
    at: int,
    first: int,
    topic: str,
    packet_id: int,
    properties: bytes,
    payload,
    size: int,
) -> int:
    """Section 3.3. ``first``: the first byte, flags included; no ``packet_id`` at QoS 0.

    ``payload`` of ``size`` bytes, or None if the caller sends it by itself behind.
    """
    name = topic.encode()
    head = 2 + len(name) + len(properties) + (2 if packet_id else 0)
    at = put_header(buffer, at, first, head + size, head if payload is None else head + size)
    at = _put_field(buffer, at, name)
    if packet_id:
        buffer[at] = packet_id >> 8
        buffer[at + 1] = packet_id & 255
        at += 2
    if properties:
        at = put_bytes(buffer, at, properties)
    if size and payload is not None:
        buffer[at : at + size] = payload
        at += size
    return at


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
    at = put_bytes(buffer, put_u16(buffer, at, packet_id), properties)
    at = _put_field(buffer, at, name)
    if options >= 0:
        buffer[at] = options
        at += 1
    return at


def put_header(buffer: bytearray, at: int, first: int, size: int, here: int = -1) -> int:
    """Fixed header of a packet of remaining length ``size``, ``here`` bytes of it to be
    written into this buffer (all by default). Errors: mqtt.too-large."""
    need = 2 + (size if here < 0 else here)
    if size > 127:
        need += 1 + (size > 16_383) + (size > 2_097_151)
    if size > _MAX_REMAINING_LENGTH or need > len(buffer) - at:
        detail = "%d bytes to send, room for %d" % (need, len(buffer) - at)
        raise KeyfobError("mqtt.too-large", detail)
    buffer[at] = first
    at += 1
    while size > 127:
        buffer[at] = size & 127 | 128
        size >>= 7
        at += 1
    buffer[at] = size
    return at + 1


def _put_field(buffer: bytearray, at: int, field: bytes) -> int:
    size = len(field)
    if size > 65_535:
        raise KeyfobError("mqtt.too-large", "field of %d bytes" % size)
    buffer[at] = size >> 8
    buffer[at + 1] = size & 255
    at += 2
    buffer[at : at + size] = field
    return at + size


def put_bytes(buffer: bytearray, at: int, data: bytes) -> int:
    """As they are; returns the offset behind."""
    buffer[at : at + len(data)] = data
    return at + len(data)


def put_u16(buffer: bytearray, at: int, value: int) -> int:
    """Big-endian; returns the offset behind."""
    buffer[at] = value >> 8
    buffer[at + 1] = value & 255
    return at + 2


def check_topic(topic: str) -> None:
    """A topic name, section 4.7: not empty, no wildcard, no NUL. Errors: mqtt.bad-topic."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise KeyfobError("mqtt.bad-topic", repr(topic))


def check_received(topic: str) -> None:
    """The same, of a topic name that the broker sent. Errors: mqtt.malformed."""
    if "+" in topic or "#" in topic:
        raise malformed("topic name of length", len(topic))


def check_filter(topic_filter: str) -> None:
    """A topic filter, section 4.7.1: wildcards fill whole levels, # ends it.

    ``$share/NAME/FILTER`` (5.0 section 4.8.2) has a name without wildcards.
    """
    levels = topic_filter.split("/")
    is_bad = not topic_filter or "\0" in topic_filter or "#" in levels[:-1]
    if levels[0] == "$share":
        is_bad = is_bad or len(levels) < 3 or levels[1] in ("", "+", "#")
    for level in levels:
        is_bad = is_bad or (len(level) > 1 and ("+" in level or "#" in level))
    if is_bad:
        raise KeyfobError("mqtt.bad-topic", repr(topic_filter))


def matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic`` is of ``topic_filter``, section 4.7. ``$SYS`` is not of ``#``."""
    if topic_filter == topic:
        return True
    wanted = topic_filter.split("/")
    if wanted[0] == "$share":
        del wanted[:2]
    levels = topic.split("/")
    if topic[0] == "$" and wanted[0] in ("+", "#"):
        return False
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index >= len(levels) or want not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def read_remaining_length(buffer, at: int, end: int) -> tuple:
    """(offset behind it, its value) of the variable byte integer at ``at``, section 2.2.3.

    (0, 0) if ``buffer[at:end]`` is too short to tell. Errors: mqtt.malformed.
    """
    size = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return at, size
        shift += 7
        if shift > 21:
            raise malformed("variable byte integer of more than 4 bytes", byte)
    return 0, 0


def read_u16(buffer, at: int, end: int) -> int:
    """Errors: mqtt.malformed if the packet ends before."""
    if at + 2 > end:
        raise malformed("ends within a 16-bit number", end - at)
    return buffer[at] << 8 | buffer[at + 1]


def read_packet_id(buffer, at: int, end: int) -> int:
    """A packet identifier, which is never 0 (section 2.2.1)."""
    packet_id = read_u16(buffer, at, end)
    if not packet_id:
        raise malformed("packet identifier", 0)
    return packet_id


def read_text(buffer: memoryview, at: int, size: int) -> str:
    """UTF-8 without NUL, section 1.5.3. Errors: mqtt.malformed."""
    try:
        text = str(buffer[at : at + size], "utf-8")
    except (UnicodeError, ValueError):
        text = "\0"
    if "\0" in text:
        raise malformed("no UTF-8 string, of length", size)
    return text


def read_empty(at: int, end: int) -> None:
    """A packet that has to end here. Errors: mqtt.malformed."""
    if end != at:
        raise malformed("bytes behind the end", end - at)


def malformed(what: str, seen: int) -> KeyfobError:
    """The error for a packet that section 4.8 says to close the connection for."""
    return KeyfobError("mqtt.malformed", "%s: %d" % (what, seen))
