"""MQTT on the wire, as far as every connection needs it all the time: PUBLISH.

OASIS MQTT 3.1.1 and 5.0, sections 2 and 3.3. The other packets are in modules of their own.
The `put_*` functions write one packet at ``buffer[at]`` and return the offset behind it; a
packet that does not fit is mqtt.too-large, and nothing of it was written.
"""

from micropython import const

from keyfob.errors import KeyfobError

_MAX_REMAINING_LENGTH = const(268_435_455)


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
    length = len(name)
    head = 2 + length + len(properties)
    if packet_id:
        head += 2
    at = put_header(buffer, at, first, head + size, head if payload is None else head + size)
    buffer[at] = length >> 8
    buffer[at + 1] = length & 255
    at += 2
    buffer[at : at + length] = name
    at += length
    if packet_id:
        buffer[at] = packet_id >> 8
        buffer[at + 1] = packet_id & 255
        at += 2
    if properties:
        buffer[at : at + len(properties)] = properties
        at += len(properties)
    if payload is not None:
        buffer[at : at + size] = payload
        at += size
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


def read_remaining_length(buffer, at: int, end: int) -> tuple:
    """(offset behind it, its value) of the variable byte integer at ``at``, section 2.2.3,
    in as few bytes as it takes (5.0 section 1.5.5).

    (0, 0) if ``buffer[at:end]`` is too short to tell. Errors: mqtt.malformed.
    """
    size = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            if shift and not byte:
                raise malformed("variable byte integer with a byte too many", size)
            return at, size
        shift += 7
        if shift > 21:
            raise malformed("variable byte integer of more than 4 bytes", byte)
    return 0, 0


def malformed(what: str, seen: int) -> KeyfobError:
    """The error for a packet that section 4.8 says to close the connection for."""
    return KeyfobError("mqtt.malformed", "%s: %d" % (what, seen))


def is_text(text: str) -> bool:
    """Whether it is well-formed UTF-8 without NUL (section 1.5.3), and not empty."""
    if not text or "\0" in text:
        return False
    try:
        data = text.encode()
    except ValueError:
        return False  # CPython's word for a surrogate
    if len(data) == len(text):
        return True
    from keyfob.mqtt.text import is_sound

    return is_sound(data)


def check_topic(topic: str, qos: int = 0) -> None:
    """A topic name, section 4.7: text without wildcards; and a QoS. Errors: mqtt.bad-topic,
    mqtt.qos-not-supported."""
    if "+" in topic or "#" in topic or not is_text(topic):
        raise KeyfobError("mqtt.bad-topic", repr(topic))
    if not 0 <= qos < 3:
        raise KeyfobError("mqtt.qos-not-supported", "%d: %s" % (qos, topic))
