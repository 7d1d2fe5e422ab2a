"""MQTT 5.0 properties, section 2.2.2: a dict in the program, a block of bytes in a packet.

Names are the specification's, in lower case with underscores. ``user_property`` is a
list of pairs of str, ``subscription_identifier`` a list of int; bytes for binary data.
Checked: which packet may have which property, that none is there twice, and lengths.
Not checked: what the values mean.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.packets import malformed, put_u16, read_remaining_length, read_text, read_u16

WILL = const(0)  # beside the packet types, whose numbers stand for themselves
_USER_PROPERTY = const(0x26)
_SUBSCRIPTION_IDENTIFIER = const(0x0B)

# Identifier: name, form (1, 2, 4 bytes, v = variable byte integer, s = string, b = binary
# data, p = pair of strings), and the packet types that may have it as bits (table 2.4).
_TABLE = {
    0x01: ("payload_format_indicator", "1", 0x0009),
    0x02: ("message_expiry_interval", "4", 0x0009),
    0x03: ("content_type", "s", 0x0009),
    0x08: ("response_topic", "s", 0x0009),
    0x09: ("correlation_data", "b", 0x0009),
    0x0B: ("subscription_identifier", "v", 0x0108),
    0x11: ("session_expiry_interval", "4", 0x4006),
    0x12: ("assigned_client_identifier", "s", 0x0004),
    0x13: ("server_keep_alive", "2", 0x0004),
    0x15: ("authentication_method", "s", 0x8006),
    0x16: ("authentication_data", "b", 0x8006),
    0x17: ("request_problem_information", "1", 0x0002),
    0x18: ("will_delay_interval", "4", 0x0001),
    0x19: ("request_response_information", "1", 0x0002),
    0x1A: ("response_information", "s", 0x0004),
    0x1C: ("server_reference", "s", 0x4004),
    0x1F: ("reason_string", "s", 0xCAF4),
    0x21: ("receive_maximum", "2", 0x0006),
    0x22: ("topic_alias_maximum", "2", 0x0006),
    0x23: ("topic_alias", "2", 0x0008),
    0x24: ("maximum_qos", "1", 0x0004),
    0x25: ("retain_available", "1", 0x0004),
    0x26: ("user_property", "p", 0xCFFF),
    0x27: ("maximum_packet_size", "4", 0x0006),
    0x28: ("wildcard_subscription_available", "1", 0x0004),
    0x29: ("subscription_identifier_available", "1", 0x0004),
    0x2A: ("shared_subscription_available", "1", 0x0004),
}


def encode(properties, kind: int) -> bytes:
    """The block, its length in front, for a packet of type ``kind`` (or `WILL`).

    Errors: mqtt.bad-property for a name or value that does not belong there.
    """
    block = bytearray()
    for identifier in sorted(_TABLE):
        name, form, packets = _TABLE[identifier]
        if not properties or name not in properties:
            continue
        value = properties[name]
        values = value if isinstance(value, list) else [value]
        is_many = form in "pv"
        if not packets >> kind & 1 or (len(values) != 1 and not is_many):
            raise KeyfobError("mqtt.bad-property", "%s in packet type %d" % (name, kind))
        for value in values:
            block.append(identifier)
            try:
                block += _bytes_of(value, form)
            except (TypeError, ValueError, OverflowError, AttributeError):
                raise KeyfobError("mqtt.bad-property", "%s: %r" % (name, value))
    known = [row[0] for row in _TABLE.values()]
    for name in properties or ():
        if name not in known:
            raise KeyfobError("mqtt.bad-property", name)
    return _variable(len(block)) + bytes(block)


def _bytes_of(value, form: str) -> bytes:
    if form == "p":
        if isinstance(value, (str, bytes)) or len(value) != 2:
            raise TypeError(value)
        return _bytes_of(value[0], "s") + _bytes_of(value[1], "s")
    if form == "s":
        if not isinstance(value, str):
            raise TypeError(value)
        value = value.encode()
    if form in "sb":
        if isinstance(value, (int, str)) or len(value) > 65_535:
            raise ValueError(value)
        head = bytearray(2)
        put_u16(head, 0, len(value))
        return bytes(head) + bytes(value)
    value = int(value)
    if form == "v":
        if not 0 < value < 1 << 28:
            raise ValueError(value)
        return _variable(value)
    if not 0 <= value < 1 << 8 * int(form):
        raise ValueError(value)
    return value.to_bytes(int(form), "big")


def _variable(value: int) -> bytes:
    block = bytearray()
    while value > 127:
        block.append(value & 127 | 128)
        value >>= 7
    block.append(value)
    return bytes(block)


def decode(view: memoryview, at: int, end: int, have: int, kind: int) -> tuple:
    """(offset behind, properties or None) of the block at ``at``.

    The packet ends at ``end``, of which ``have`` bytes are there. Errors:
    mqtt.malformed, mqtt.too-large if the block is longer than what is there.
    """
    at, size = read_remaining_length(view, at, min(end, have))
    stop = at + size
    if not at or stop > end:
        raise malformed("properties of length", size)
    if stop > have:
        raise KeyfobError("mqtt.too-large", "%d bytes of properties, room for %d" % (size, have))
    found: dict = {}
    while at < stop:
        identifier = view[at]
        name, form, packets = _TABLE.get(identifier, ("", "", 0))
        if not packets >> kind & 1:
            raise malformed("property in packet type %d" % kind, identifier)
        at, value = _read(view, at + 1, stop, form)
        if form in "pv":
            found.setdefault(name, []).append(value)
        elif name in found:
            raise malformed("property twice", identifier)
        else:
            found[name] = value
    return at, found or None


def _read(view: memoryview, at: int, stop: int, form: str) -> tuple:
    if form == "p":
        at, name = _read(view, at, stop, "s")
        at, value = _read(view, at, stop, "s")
        return at, (name, value)
    if form == "v":
        at, value = read_remaining_length(view, at, stop)
        if not at or not value:
            raise malformed("subscription identifier", value)
        return at, value
    if form in "sb":
        size = read_u16(view, at, stop)
        at += 2
    else:
        size = int(form)
    if at + size > stop:
        raise malformed("property of length", size)
    if form == "s":
        return at + size, read_text(view, at, size)
    value = bytes(view[at : at + size])
    return at + size, value if form == "b" else int.from_bytes(value, "big")
