"""keyfob.mqtt.session5: messages, acknowledgements and subscriptions of MQTT 5.0."""

from device_support import code_of, refusal
from mqtt5_steps import CONNACK, MESSAGE, begun, granting, opened
from mqtt_steps import (
    PINGRESP,
    PUBACK,
    PUBLISH,
    PUBREC,
    SUBACK,
    UNSUBACK,
    facts,
    feed,
    publish,
    taken,
)

from keyfob.mqtt import connect, subscribe
from keyfob.mqtt.session5 import size_of
from keyfob.mqtt.state import Outgoing


def test_publish_has_its_properties():
    made = opened()
    outgoing = Outgoing("a", b"x", 1, False)
    outgoing.properties = {"message_expiry_interval": 60}
    assert size_of(outgoing.properties) == 9
    made.publish(0, outgoing)
    assert taken(made) == b"\x32\x0c\x00\x01a\x00\x01\x05\x02\x00\x00\x00\x3cx"
    publish(made, 0)
    assert taken(made) == b"\x30\x05\x00\x01a\x00x"


def test_topics_get_aliases_as_far_as_both_sides_allow():
    made = opened(connack=granting(b"\x22\x00\x05"))
    for want in (
        b"\x30\x08\x00\x01a\x03\x23\x00\x01x", b"\x30\x07\x00\x00\x03\x23\x00\x01x",
    ):  # fmt: skip
        publish(made, 0, "a")
        assert taken(made) == want
    publish(made, 0, "b")
    publish(made, 0, "c")  # only two by our own setting
    taken(made)
    publish(made, 0, "c")
    assert taken(made) == b"\x30\x05\x00\x01c\x00x"
    connect.connect(made, 0, "id", 30, False)
    taken(made)
    feed(made, granting(b"\x22\x00\x05"))
    publish(made, 0, "a")  # aliases are of one connection
    assert taken(made) == b"\x30\x08\x00\x01a\x03\x23\x00\x01x"


def test_an_alias_makes_no_message_too_large():
    # With a new one a packet is larger by three bytes, with one of a short topic by two at most.
    head = b"\x32\x3e\x00\x02ab\x00"
    for tx_bytes, granted in (
        (64, b"\x22\x00\x05"), (256, b"\x22\x00\x05\x27\x00\x00\x00\x40"),
    ):  # fmt: skip
        for properties, block in ((None, b"\x00"), ({"content_type": "x"}, b"\x04\x03\x00\x01x")):
            made = opened(tx_bytes=tx_bytes, connack=granting(granted))
            outgoing = Outgoing("ab", bytes(56 - len(block)), 1, False)
            outgoing.properties = properties
            made.publish(0, outgoing)
            want = head + b"\x01" + block + bytes(56 - len(block))
            assert taken(made) == want and len(want) == 64 and not made.aliases_out
            publish(made, 0, "ab")
            assert taken(made) == b"\x30\x09\x00\x02ab\x03\x23\x00\x01x"
            publish(made, 1, "ab", bytes(55))
            assert taken(made) == head + b"\x02\x00" + bytes(55)
            publish(made, 1, "ab", bytes(54))
            assert taken(made) == b"\x32\x3e\x00\x00\x00\x03\x03\x23\x00\x01" + bytes(54)
    # Of what is read while it is sent, the buffer holds the head only.
    made = opened(tx_bytes=64, connack=granting(b"\x22\x00\x05"))
    outgoing = Outgoing("ab", None, 0, False)
    outgoing.size = 100
    made.publish(0, outgoing)
    assert taken(made) == b"\x30\x6c\x00\x02ab\x03\x23\x00\x01"


def test_the_brokers_aliases_stand_for_its_topics():
    made = opened()
    first = b"\x30\x07\x00\x01a\x03\x23\x00\x02"
    again = b"\x30\x06\x00\x00\x03\x23\x00\x02"
    want = (PUBLISH, "a", b"", 0, False, None)
    assert feed(made, first + again) == [want, want]
    for bad in (b"\x30\x06\x00\x00\x03\x23\x00\x01", b"\x30\x07\x00\x01a\x03\x23\x00\x03",
                b"\x30\x07\x00\x01a\x03\x23\x00\x00"):  # fmt: skip
        assert code_of(feed, opened(), bad) == "mqtt.topic-alias-unknown"
    assert code_of(feed, opened(), b"\x30\x03\x00\x00\x00") == "mqtt.unexpected"
    made = opened()
    feed(made, first)
    connect.connect(made, 0, "id", 30, False)
    feed(made, CONNACK)  # aliases are of one connection
    assert code_of(feed, made, again) == "mqtt.topic-alias-unknown"
    made = opened(limits={"topic_aliases": 0})
    assert code_of(feed, made, b"\x30\x07\x00\x01a\x03\x23\x00\x01") == "mqtt.topic-alias-unknown"
    assert code_of(size_of, {"topic_alias": 1}) == "mqtt.bad-property"


def test_a_received_message_has_its_properties():
    made = opened()
    block = b"\x26\x00\x01k\x00\x01v\x0b\x07\x0b\x08"
    feed(made, b"\x30\x0f\x00\x01a\x0b" + block)
    assert made.properties == {"user_property": [("k", "v")], "subscription_identifier": [7, 8]}
    feed(made, b"\x30\x04\x00\x01a\x00")
    assert made.properties is None


def test_a_usual_message_has_no_properties_and_any_other_is_left_for_the_events():
    made = opened()
    feed(made, b"\x30\x04\x00\x01a\x00")
    packets = (
        b"\x30\x06\x00\x01a\x00hi", b"\x30\x08\x00\x01a\x02\x01\x01hi", b"\x30\x04\x00\x01a\x00",
    )  # fmt: skip
    for packet, want in zip(packets, (b"hi", None, b"")):  # noqa: B905 - MicroPython's has two
        made.room()[: len(packet)] = packet
        made.received(len(packet))
        assert made.next_usual() == want
        if want is None:
            assert made.next_event() == PUBLISH
            assert (made.payload, made.properties) == (b"hi", {"payload_format_indicator": 1})
    made.room()[:5] = b"\x30\x03\x00\x01a"  # there must be a length of properties
    made.received(5)
    assert made.next_usual() is None
    assert code_of(made.next_event) == "mqtt.malformed"


def test_a_publish_in_pieces_has_its_properties_in_the_first():
    made = opened(rx_bytes=32)
    packet = b"\x32\x73\x00\x01a\x00\x0a\x05\x02\x00\x00\x00\x09" + bytes(104)
    events = feed(made, packet, 5)
    assert events[0][0] == PUBLISH
    assert len(events[0][2]) + sum(len(event[1]) for event in events[1:]) == made.size == 104
    error = refusal(feed, opened(rx_bytes=32), b"\x30\x73\x00\x01a\x60\x03\x00\x5d" + bytes(109))
    assert error.code == "mqtt.too-large"


def test_acknowledgements_have_reason_codes():
    made = opened()
    publish(made, 1)
    assert feed(made, b"\x40\x02\x00\x01") == [(PUBACK, 1, 0)]
    publish(made, 1)
    assert feed(made, b"\x40\x03\x00\x02\x10") == [(PUBACK, 2, 16)]
    publish(made, 1)
    assert feed(made, b"\x40\x08\x00\x03\x87\x04\x1f\x00\x01r") == [(PUBACK, 3, 0x87)]
    assert made.properties == {"reason_string": "r"}
    assert made.inflight == []


def test_a_refusing_pubrec_ends_it_without_pubrel_and_frees_the_identifier():
    made = opened()
    publish(made, 2)
    taken(made)
    assert feed(made, b"\x50\x03\x00\x01\x97") == [(PUBACK, 1, 0x97)]
    assert feed(made, b"\x50\x03\x00\x01\x97") == []  # again, for a duplicate of ours
    assert taken(made) == b"" and made.inflight == []
    made.kept.last_id = 0
    assert publish(made, 2).packet_id == 1


def test_qos_2_goes_on_over_reason_codes():
    made = opened()
    publish(made, 2)
    taken(made)
    assert feed(made, b"\x50\x04\x00\x01\x10\x00") == [(PUBREC, 1, 0x10)]
    assert taken(made) == b"\x62\x02\x00\x01"
    # 0x92 is no error while recovering (3.7.2.1)
    assert feed(made, b"\x70\x03\x00\x01\x92") == [(PUBACK, 1, 0)]
    assert feed(made, b"\x62\x03\x00\x07\x92") == []
    assert taken(made) == b"\x70\x02\x00\x07"


def test_acknowledgements_are_read_in_each_of_their_lengths():
    # Section 3.4.2.1: the reason code may be left out, and the properties with it.
    reason = b"\x1f\x00\x01r"
    for rest in (b"", b"\x00", b"\x00\x00", b"\x00\x04" + reason):
        made = opened()
        publish(made, 1)
        publish(made, 2)
        for first, event in ((0x40, PUBACK), (0x50, PUBREC), (0x70, PUBACK)):
            number = 1 if first == 0x40 else 2
            packet = bytes((first, 2 + len(rest), 0, number)) + rest
            assert feed(made, packet) == [(event, number, 0)]
        taken(made)
        feed(made, bytes((0x62, 2 + len(rest), 0, 9)) + rest)
        assert taken(made) == b"\x70\x02\x00\x09"
    for first in (0x40, 0x50, 0x62, 0x70):
        for rest in (b"\x00\x01", b"\x00\x03\x1f\x00\x01", b"\x00\x00\x00",
                     b"\x00\x02\x01\x01", b"\x00\x05\x1f\x00\x01r"):  # fmt: skip
            made = opened()
            publish(made, 1 if first == 0x40 else 2)
            packet = bytes((first, 2 + len(rest), 0, 1)) + rest
            assert code_of(feed, made, packet) == "mqtt.malformed", packet


def test_reason_codes_below_0x80_are_those_of_the_packet():
    # Tables 3-4 to 3-7, 3-8 and 3-9: what is beside them.
    for first, good in ((0x40, (0, 16)), (0x50, (0, 16)), (0x62, (0,)), (0x70, (0,))):
        for code in range(128):
            made = opened()
            if first != 0x70:
                publish(made, 1 if first == 0x40 else 2)
            packet = bytes((first, 3, 0, 1, code))
            if code in good:
                feed(made, packet)
            else:
                assert code_of(feed, made, packet) == "mqtt.malformed", packet
    for first, good in ((0x90, (0, 1, 2)), (0xB0, (0, 17))):
        for code in range(128):
            made = opened()
            subscribe.subscribe(made, 0, "a", 1 if first == 0x90 else -1)
            packet = bytes((first, 4, 0, 1, 0, code))
            if code in good:
                assert feed(made, packet)[0][2] == code
            else:
                assert code_of(feed, made, packet) == "mqtt.malformed", packet
    for code in range(1, 128):
        assert code_of(feed, begun(), bytes((0x20, 3, 0, code, 0))) == "mqtt.malformed"


def test_subscriptions_have_options_properties_and_reason_codes():
    made = opened()
    subscribe.subscribe(made, 0, "a", 1 | 4 | 8 | 32, {"subscription_identifier": [7]})
    assert taken(made) == b"\x82\x09\x00\x01\x02\x0b\x07\x00\x01a\x2d"
    assert feed(made, b"\x90\x04\x00\x01\x00\x01") == [(SUBACK, 1, 1)]
    subscribe.subscribe(made, 0, "a", 1)
    assert feed(made, b"\x90\x04\x00\x02\x00\x87") == [(SUBACK, 2, 0x87)]
    subscribe.subscribe(made, 0, "a", -1)
    assert taken(made)[-8:] == b"\xa2\x06\x00\x03\x00\x00\x01a"
    assert feed(made, b"\xb0\x04\x00\x03\x00\x11") == [(UNSUBACK, 3, 17)]
    subscribe.subscribe(made, 0, "a", 1)
    assert code_of(feed, made, b"\x90\x04\x00\x04\x00\x11") == "mqtt.malformed"


def test_events_come_byte_by_byte_as_at_once():
    data = MESSAGE + b"\x40\x04\x00\x01\x00\x00" + b"\x30\x09\x00\x01a\x05\x02\x00\x00\x00\x01"
    results = []
    for piece in (1, 2, 3, 7, 100):
        made = opened()
        publish(made)
        results.append(feed(made, data, piece))
        assert facts(made, PINGRESP) == (PINGRESP,)
    assert results == [results[0]] * 5
    assert [event[0] for event in results[0]] == [PUBLISH, PUBACK, PUBLISH]
