"""How a connection begins: CONNECT. MQTT 3.1.1 and 5.0, section 3.1.

Imported for that; `connack` is what comes then. ``properties`` is a block of 5.0 with its
length (`keyfob.mqtt.properties.encode`), empty bytes for 3.1.1.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import check_topic, is_text, put_header

_WAITS_FOR_CONNACK = const(1)


def connect(
    session,
    now_ms: int,
    client_id: str,
    keepalive_s: int,
    clean: bool,
    will=None,
    username: str = "",
    password: str = "",
) -> None:
    """Put it into the `tx` of a `session.Session`. ``will``: (topic, payload bytes, qos,
    retain), and in 5.0 perhaps a dict of properties; or None. Event: CONNACK. Errors:
    mqtt.too-large, mqtt.bad-topic, mqtt.bad-property, mqtt.qos-not-supported,
    config.bad-value."""
    session.reset(*session.sizes)
    session.asked.clear()
    session.keepalive_ms = keepalive_s * 1000
    session.session_present = clean  # until the CONNACK, which then must not say so
    session.sent_ms = now_ms
    for outgoing in session.inflight:
        outgoing.sent_ms = now_ms
    properties = of_will = b""
    if session.version > 4:
        from keyfob.mqtt.granted import offer

        properties, of_will = offer(session, will)
    session.tx_end = put_connect(
        session.tx, 0, client_id, keepalive_s, clean, will and will[:4], username, password,
        session.version, properties, of_will,
    )  # fmt: skip
    session.state = _WAITS_FOR_CONNACK


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
    of_will: bytes = b"",
) -> int:
    """Section 3.1, written at ``buffer[at]``; the offset behind it.

    In 3.1.1 there is no password without a user name (section 3.1.2.9).
    """
    if (username and not is_text(username)) or (password and not username and version == 4):
        raise KeyfobError("config.bad-value", "broker.username: %r" % username)
    flags = 2 if clean else 0
    fields = [client_id.encode()]
    size = 12 + len(properties)
    if will:
        topic, payload, qos, retain = will
        check_topic(topic, qos)
        flags |= 4 | qos << 3 | retain << 5
        fields += [topic.encode(), payload]
        size += len(of_will)
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
    at = _put_u16(buffer, at + 2, keepalive_s)
    at = _put_bytes(buffer, at, properties)
    at = _put_field(buffer, at, fields.pop(0))
    if will:
        at = _put_bytes(buffer, at, of_will)
    for field in fields:
        at = _put_field(buffer, at, field)
    return at


def _put_field(buffer: bytearray, at: int, field: bytes) -> int:
    if len(field) > 65_535:
        raise KeyfobError("mqtt.too-large", "field of %d bytes" % len(field))
    return _put_bytes(buffer, _put_u16(buffer, at, len(field)), field)


def _put_bytes(buffer: bytearray, at: int, data: bytes) -> int:
    buffer[at : at + len(data)] = data
    return at + len(data)


def _put_u16(buffer: bytearray, at: int, value: int) -> int:
    """Big-endian."""
    buffer[at] = value >> 8
    buffer[at + 1] = value & 255
    return at + 2
