"""Our bytes against paho-mqtt's, over generated packets; CPython only."""

from __future__ import annotations

import struct

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st
from mqtt5_steps import opened as opened5
from mqtt_steps import PUBLISH, SUBACK, feed, opened
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from keyfob.mqtt import connect, properties, subscribe
from keyfob.mqtt.publish import put_publish

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=40)
SHORT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
IDS = st.integers(1, 65_535)
PAHO_NAMES = {
    "payload_format_indicator": "PayloadFormatIndicator",
    "message_expiry_interval": "MessageExpiryInterval",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "subscription_identifier": "SubscriptionIdentifier",
    "user_property": "UserProperty",
}
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "payload_format_indicator": st.integers(0, 1),
        "message_expiry_interval": st.integers(0, 0xFFFFFFFF),
        "content_type": SHORT,
        "response_topic": TEXTS,
        "correlation_data": st.binary(max_size=200),
        "user_property": st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=5),
    },
)


class Recorder(paho.Client):
    """A paho client that keeps what it would send."""

    def __init__(self, version: MQTTProtocolVersion) -> None:
        super().__init__(paho.CallbackAPIVersion.VERSION2, client_id="id", protocol=version)
        self.sent = b""
        self._sock = self  # it publishes only with a socket, and only asks whether it has one

    def close(self) -> None:
        """What paho does with its socket in the end."""

    def _packet_queue(self, command, packet, mid, qos, info=None):  # type: ignore[no-untyped-def]
        self.sent = bytes(packet)
        return paho.MQTT_ERR_SUCCESS


V4, V5 = Recorder(paho.MQTTv311), Recorder(paho.MQTTv5)


def theirs(values: dict, kind: int = PacketTypes.PUBLISH) -> Properties:
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, PAHO_NAMES[name], value)
    return made


def ours(put, *arguments) -> bytes:  # type: ignore[no-untyped-def]
    buffer = bytearray(4096)
    return bytes(buffer[: put(buffer, 0, *arguments)])


@given(TEXTS, st.binary(max_size=2000), st.integers(0, 2), st.booleans(), st.booleans(), IDS)
def test_publish(topic, payload, qos, retain, dup, packet_id) -> None:  # type: ignore[no-untyped-def]
    dup = dup and qos > 0
    V4._send_publish(packet_id, topic.encode(), payload, qos, retain, dup)
    first = 0x30 | dup << 3 | qos << 1 | retain
    put = put_publish
    packet = ours(put, first, topic, packet_id if qos else 0, b"", payload, len(payload))
    assert packet == V4.sent
    if not dup:
        events = feed(opened(4096), packet, 100)
        assert events == [(PUBLISH, topic, payload, qos, retain, packet_id if qos else None)]


@given(PROPERTIES)
def test_properties(values) -> None:  # type: ignore[no-untyped-def]
    packed = theirs(values).pack()
    view = memoryview(packed)
    end = len(packed)
    assert properties.decode(view, 0, end, end, 3) == (end, values or None)
    block = properties.encode(values, 3)
    made = Properties(PacketTypes.PUBLISH)
    _, size = made.unpack(block)
    assert size == len(block) == end
    again = {name: getattr(made, PAHO_NAMES[name]) for name in values}
    assert again == values


@given(TEXTS, st.binary(max_size=300), PROPERTIES)
def test_publish_of_5_0_is_read(topic, payload, values) -> None:  # type: ignore[no-untyped-def]
    V5._send_publish(7, topic.encode(), payload, 1, False, False, None, theirs(values))
    made = opened5(4096)
    assert feed(made, V5.sent, 33) == [(PUBLISH, topic, payload, 1, False, 7)]
    assert made.properties == (values or None)


@given(TEXTS, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2), st.booleans())
def test_subscribe(topic_filter, qos, no_local, published, handling, is_5) -> None:  # type: ignore[no-untyped-def]
    if is_5:
        how = SubscribeOptions(qos, no_local, published, handling)
        V5._send_subscribe(False, [(topic_filter.encode(), how)], Properties(PacketTypes.SUBSCRIBE))
        options = qos | no_local << 2 | published << 3 | handling << 4
        (packet_id,) = struct.unpack_from("!H", V5.sent, 2)
        assert ours(subscribe.put_subscribe, packet_id, topic_filter, options, b"\0") == V5.sent
    else:
        V4._send_subscribe(False, [(topic_filter.encode(), qos)])
        (packet_id,) = struct.unpack_from("!H", V4.sent, 2)
        assert ours(subscribe.put_subscribe, packet_id, topic_filter, qos) == V4.sent


@given(TEXTS, st.binary(max_size=100), st.integers(0, 2), st.booleans(), SHORT, SHORT, IDS)
def test_connect(topic, payload, qos, retain, name, password, keepalive_s) -> None:  # type: ignore[no-untyped-def]
    client = Recorder(paho.MQTTv311)
    client._clean_session = False
    client.will_set(topic, payload, qos, retain)
    if name:
        client.username_pw_set(name, password or None)
    client._send_connect(keepalive_s)
    will = (topic, payload, qos, retain)
    more = (name, password) if name else ()
    assert ours(connect.put_connect, "id", keepalive_s, False, will, *more) == client.sent


@given(IDS, st.integers(0, 2))
def test_a_suback_is_read(packet_id, code) -> None:  # type: ignore[no-untyped-def]
    made = opened()
    made.kept.last_id = 0
    subscribe.subscribe(made, 0, "a", 2)
    assert feed(made, struct.pack("!BBHB", 0x90, 3, 1, code)) == [(SUBACK, 1, code)]
