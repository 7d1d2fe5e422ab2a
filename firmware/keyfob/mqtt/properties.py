"""MQTT 5.0 properties, section 2.2.2: a dict in the program, a block of bytes in a packet.

Names are the specification's, in lower case with underscores. ``user_property`` is a
list of pairs of str, ``subscription_identifier`` a list of int; bytes for binary data.
Checked: which packet may have which property, that none is there twice, lengths, and that
a response topic is a topic name. Not checked: what else the values mean.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import check_topic, is_text, malformed, read_remaining_length

WILL = const(0)  # beside the packet types, whose numbers stand for themselves
_SUBSCRIBE = const(8)

# Identifier, form (1, 2, 4 bytes, v = variable byte integer, s = string, b = binary data,
# p = pair of strings), the packet types that may have it as bits (table 2.4), and name;
# one text, as a dict of tuples would take four times the memory.
_TABLE = """
01 1 0009 payload_format_indicator
02 4 0009 message_expiry_interval
03 s 0009 content_type
08 s 0009 response_topic
09 b 0009 correlation_data
0b v 0108 subscription_identifier
11 4 4006 session_expiry_interval
12 s 0004 assigned_client_identifier
13 2 0004 server_keep_alive
15 s 8006 authentication_method
16 b 8006 authentication_data
17 1 0002 request_problem_information
18 4 0001 will_delay_interval
19 1 0002 request_response_information
1a s 0004 response_information
1c s 4004 server_reference
1f s caf4 reason_string
21 2 0006 receive_maximum
22 2 0006 topic_alias_maximum
23 2 0008 topic_alias
24 1 0004 maximum_qos
25 1 0004 retain_available
26 p cfff user_property
27 4 0006 maximum_packet_size
28 1 0004 wildcard_subscription_available
29 1 0004 subscription_identifier_available
2a 1 0004 shared_subscription_available
"""


def encode(properties, kind: int) -> bytes:
    """The block, its length in front, for a packet of type ``kind`` (or `WILL`).

    Errors: mqtt.bad-property for a name or value that does not belong there, mqtt.bad-topic.
    """
    block = bytearray()
    left = len(properties) if properties else 0
    end = 0
    while left and end + 1 < len(_TABLE):  # a list of all rows would take 2 KB
        at = end + 1
        end = _TABLE.find("\n", at)
        identifier, form, packets, name = _TABLE[at:end].split(" ")
        if name not in properties:
            continue
        left -= 1
        value = properties[name]
        values = value if isinstance(value, list) else [value]
        is_ours = int(packets, 16) >> kind & 1
        if form == "v":
            is_ours = kind == _SUBSCRIBE  # by which ones a message came, only a broker says
        if not is_ours or (len(values) != 1 and form != "p"):
            raise KeyfobError("mqtt.bad-property", "%s in packet type %d" % (name, kind))
        for value in values:
            block.append(int(identifier, 16))
            try:
                block += _bytes_of(value, form)
                if name == "response_topic":
                    check_topic(value)
            except (TypeError, ValueError, OverflowError, AttributeError):
                raise KeyfobError("mqtt.bad-property", "%s: %r" % (name, value))
    if left:
        raise KeyfobError("mqtt.bad-property", "unknown, one of %s" % ", ".join(properties))
    return _variable(len(block)) + bytes(block)


def _bytes_of(value, form: str) -> bytes:
    if form == "p":
        if isinstance(value, (str, bytes)) or len(value) != 2:
            raise TypeError(value)
        return _bytes_of(value[0], "s") + _bytes_of(value[1], "s")
    if form == "s":
        if not isinstance(value, str) or (value and not is_text(value)):
            raise TypeError(value)
        value = value.encode()
    if form in "sb":
        if isinstance(value, (int, str)) or len(value) > 65_535:
            raise ValueError(value)
        return len(value).to_bytes(2, "big") + bytes(value)
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
        row = _TABLE.find("\n%02x " % identifier) + 1
        if not row or not int(_TABLE[row + 5 : row + 9], 16) >> kind & 1:
            raise malformed("property in packet type %d" % kind, identifier)
        form, name = _TABLE[row + 3], _TABLE[row + 10 : _TABLE.find("\n", row)]
        at, value = _read(view, at + 1, stop, form)
        if form in "pv":
            found.setdefault(name, []).append(value)
        elif name in found:
            raise KeyfobError("mqtt.unexpected", "%s twice" % name)
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
        if not at:
            raise malformed("subscription identifier that ends at", stop)
        if not value:
            raise KeyfobError("mqtt.unexpected", "subscription identifier 0")
        return at, value
    if form in "sb":
        size = view[at] << 8 | view[at + 1] if at + 2 <= stop else stop
        at += 2
    else:
        size = int(form)
    if at + size > stop:
        raise malformed("property of length", size)
    if form == "s":
        return at + size, _read_text(view, at, size)
    value = bytes(view[at : at + size])
    return at + size, value if form == "b" else int.from_bytes(value, "big")


def _read_text(view: memoryview, at: int, size: int) -> str:
    """UTF-8 without NUL, section 1.5.4. Errors: mqtt.malformed."""
    try:
        text = str(view[at : at + size], "utf-8")
    except ValueError:
        text = "\0"
    if "\0" in text or (len(text) != size and not is_text(text)):
        raise malformed("no UTF-8 string, of length", size)
    return text
