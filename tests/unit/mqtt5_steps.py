"""Sessions of MQTT 5.0, begun and opened, and packets to begin with."""

from mqtt_steps import feed, taken

from keyfob.mqtt import connect
from keyfob.mqtt.session5 import Session5

CONNACK = b"\x20\x03\x00\x00\x00"
MESSAGE = b"\x32\x08\x00\x01a\x00\x0a\x00hi"


def config(**more):
    made = {
        "broker": {"session_expiry_s": 10, "will_delay_s": 0},
        "limits": {"inbox": 8, "packet_bytes": 0, "topic_aliases": 2},
    }
    for section in more:
        made[section].update(more[section])
    return made


def begun(rx_bytes=256, tx_bytes=256, **more):
    made = Session5(rx_bytes, tx_bytes, 8, None, config(**more))
    connect.connect(made, 0, "id", 30, False)
    return made


def opened(rx_bytes=256, tx_bytes=256, connack=CONNACK, **more):
    made = begun(rx_bytes, tx_bytes, **more)
    taken(made)
    feed(made, connack)
    return made


def granting(block):
    """A CONNACK with these properties."""
    return bytes([0x20, 3 + len(block), 0, 0, len(block)]) + block


# By number, after MQTT 5.0 table 2-6, so that none of ours is beside its place.
NAMES = (
    (0x80, "mqtt.unspecified"), (0x81, "mqtt.found-malformed"),
    (0x82, "mqtt.found-protocol-error"), (0x83, "mqtt.implementation-specific"),
    (0x84, "mqtt.unacceptable-protocol"), (0x85, "mqtt.identifier-rejected"),
    (0x86, "mqtt.bad-credentials"), (0x87, "mqtt.not-authorized"),
    (0x88, "mqtt.server-unavailable"), (0x89, "mqtt.server-busy"), (0x8A, "mqtt.banned"),
    (0x8B, "mqtt.server-shutting-down"), (0x8C, "mqtt.bad-authentication-method"),
    (0x8D, "mqtt.keep-alive-timeout"), (0x8E, "mqtt.taken-over"), (0x8F, "mqtt.filter-invalid"),
    (0x90, "mqtt.topic-name-invalid"), (0x91, "mqtt.identifier-in-use"),
    (0x92, "mqtt.identifier-not-found"), (0x93, "mqtt.receive-maximum-exceeded"),
    (0x94, "mqtt.topic-alias-invalid"), (0x95, "mqtt.packet-too-large"),
    (0x96, "mqtt.message-rate-too-high"), (0x97, "mqtt.quota-exceeded"),
    (0x98, "mqtt.administrative-action"), (0x99, "mqtt.payload-format-invalid"),
    (0x9A, "mqtt.retain-not-supported"), (0x9B, "mqtt.qos-not-supported"),
    (0x9C, "mqtt.use-another-server"), (0x9D, "mqtt.server-moved"),
    (0x9E, "mqtt.shared-not-supported"), (0x9F, "mqtt.connection-rate-exceeded"),
    (0xA0, "mqtt.maximum-connect-time"), (0xA1, "mqtt.identifiers-not-supported"),
    (0xA2, "mqtt.wildcards-not-supported"),
)  # fmt: skip


SEEDS = (
    CONNACK, MESSAGE, b"\x30\x04\x00\x01a\x00", b"\x40\x02\x00\x01", b"\x40\x03\x00\x01\x87",
    b"\x90\x04\x00\x01\x00\x01", b"\xe0\x01\x8e", b"\xf0\x00", b"\xd0\x00",
    b"\x30\x0f\x00\x01a\x0b\x26\x00\x01k\x00\x01v\x0b\x07\x0b\x08",
    b"\x40\x08\x00\x01\x87\x04\x1f\x00\x01r", b"\x50\x02\x00\x02", b"\x62\x02\x00\x0a",
    b"\x30\x07\x00\x01a\x03\x23\x00\x02",
)  # fmt: skip
REFUSALS = [name for _, name in NAMES]
REFUSALS += ["mqtt.malformed", "mqtt.unexpected", "mqtt.too-large", "mqtt.auth-refused"]
REFUSALS.append("mqtt.topic-alias-unknown")
