"""keyfob.mqtt.session5: what MQTT 5.0 adds; packets laid out by hand after its sections."""

from device_support import code_of, refusal
from mqtt_steps import (
    PART,
    PINGRESP,
    PUBACK,
    PUBLISH,
    PUBREC,
    SUBACK,
    UNSUBACK,
    facts,
    feed,
    publish,
    sweep,
    taken,
)

from keyfob.mqtt import connect, subscribe
from keyfob.mqtt.connack import resend
from keyfob.mqtt.session5 import Session5, size_of
from keyfob.mqtt.state import Outgoing

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


def test_connect_offers_what_the_settings_say():
    packet = taken(begun())
    head = b"\x00\x04MQTT\x05\x00\x00\x1e"
    block = b"\x11\x00\x00\x00\x0a\x21\x00\x08\x22\x00\x02\x27\x00\x00\x01\x00"
    rest = head + bytes([len(block)]) + block + b"\x00\x02id"
    assert packet == b"\x10" + bytes([len(rest)]) + rest


def test_a_will_has_its_delay_and_its_own_properties():
    made = Session5(64, 128, 8, None, config(broker={"will_delay_s": 5}))
    connect.connect(made, 0, "id", 30, True, will=("t", b"gone", 1, True, {"content_type": "x"}))
    want = b"\x00\x02id\x09\x03\x00\x01x\x18\x00\x00\x00\x05\x00\x01t\x00\x04gone"
    assert taken(made)[-len(want) :] == want


def test_the_brokers_limits_are_kept():
    made = opened(connack=granting(b"\x21\x00\x02\x13\x00\x0a\x12\x00\x01z\x27\x00\x00\x00\x20"))
    assert (made.window, made.keepalive_ms) == (2, 10_000)
    assert made.granted["assigned_client_identifier"] == "z"
    for qos, most in ((1, 24), (0, 26)):
        error = refusal(publish, made, qos, "a", bytes(most + 1))
        assert error.code == "mqtt.packet-too-large"
        assert error.detail == "33 bytes, the broker takes 32"
        publish(made, qos, "a", bytes(most))
        assert len(taken(made)) == 32
    assert code_of(publish, made, 1, "\u00e9", bytes(24)) == "mqtt.packet-too-large"
    made = opened(connack=granting(b"\x24\x01\x25\x00"))
    assert code_of(publish, made, 2) == "mqtt.qos-not-supported"
    assert code_of(made.publish, 0, Outgoing("a", b"", 0, True)) == "mqtt.retain-not-supported"


def test_a_connack_with_what_it_must_not_have_is_refused():
    # Section 3.2.2.3: 0 and more than 1 where that is a protocol error, and what is only for
    # whoever asked for it: response information, authentication.
    for block in (
        b"\x21\x00\x00", b"\x27\x00\x00\x00\x00", b"\x24\x02", b"\x25\x02", b"\x28\x02",
        b"\x29\xff", b"\x2a\x02", b"\x15\x00\x01m", b"\x16\x00\x01d", b"\x1a\x00\x01r",
        b"\x24\x01\x24\x01",
    ):  # fmt: skip
        made = begun()
        assert code_of(feed, made, granting(block)) == "mqtt.unexpected", block
        assert made.farewell("mqtt.unexpected") == b"\xe0\x01\x82"
    for block in (
        b"\x24\x00\x25\x00\x28\x00\x29\x00\x2a\x00", b"\x24\x01\x25\x01\x28\x01\x29\x01\x2a\x01",
        b"\x21\x00\x01\x27\x00\x00\x00\x01\x22\x00\x00\x11\x00\x00\x00\x00\x13\x00\x00",
    ):  # fmt: skip
        assert opened(connack=granting(block)).granted


def test_the_smaller_of_both_keep_alives_says_when_to_ping():
    # Section 3.2.2.3.14; a client may ping earlier (3.1.2.10), and has to notice a dead link.
    made = opened(connack=granting(b"\x13\x00\x04"))
    assert not made.tick(2_999) and made.tick(3_000)
    connect.connect(made, 0, "id", 30, False)
    feed(made, CONNACK)
    assert not made.tick(22_499) and made.tick(22_500)  # it was of that connection
    for larger in (b"\x13\x00\x00", b"\x13\xff\xff"):
        made = opened(connack=granting(larger))
        assert not made.tick(22_499) and made.tick(22_500)
        assert code_of(made.tick, 37_501) == "mqtt.no-pingresp"
    for granted, is_pinged in ((b"\x13\x00\x04", True), (b"\x13\x00\x00", False)):
        made = begun()
        connect.connect(made, 0, "id", 0, False)  # we do without
        feed(made, granting(granted))
        assert made.tick(500_000) == is_pinged


def test_what_the_broker_has_not_is_not_subscribed_to():
    # Sections 3.2.2.3.11 to 13: a server throws out who asks for it.
    for block, topic_filter, values, code in (
        (b"\x28\x00", "a/+", None, "mqtt.wildcards-not-supported"),
        (b"\x28\x00", "#", None, "mqtt.wildcards-not-supported"),
        (b"\x2a\x00", "$share/n/a", None, "mqtt.shared-not-supported"),
        (b"\x29\x00", "a", {"subscription_identifier": 1}, "mqtt.identifiers-not-supported"),
        (b"\x27\x00\x00\x00\x09", "ab", None, "mqtt.packet-too-large"),
    ):
        made = opened(connack=granting(block))
        assert code_of(subscribe.subscribe, made, 0, topic_filter, 1, values) == code
        assert taken(made) == b"" and not made.asked
        subscribe.subscribe(made, 0, "$" if block[0] == 0x2A else "a", 1)
        subscribe.subscribe(made, 0, "a" if block[0] == 0x27 else topic_filter, -1)
        assert taken(made)


def test_a_clean_start_must_be_a_new_session():
    # Section 3.2.2-4
    for piece in (1, 5):
        for clean, present in ((True, 0), (False, 0), (False, 1)):
            made = begun()
            connect.connect(made, 0, "id", 30, clean)
            feed(made, bytes((0x20, 3, present, 0, 0)), piece)
            assert made.session_present == (present == 1)
        made = begun()
        connect.connect(made, 0, "id", 30, True)
        assert code_of(feed, made, b"\x20\x03\x01\x00\x00", piece) == "mqtt.unexpected"
        assert made.farewell("mqtt.unexpected") == b"\xe0\x01\x82"


def test_a_length_with_a_byte_too_many_is_refused():
    # Section 1.5.5: of the packet, and of its properties.
    for bad in (b"\xd0\x80\x00", b"\x30\x84\x00\x00\x01a\x00", b"\x30\x05\x00\x01a\x80\x00"):
        for piece in (1, 100):
            error = refusal(feed, opened(), bad, piece)
            assert error.code == "mqtt.malformed" and "byte too many" in error.detail


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


def test_each_reason_code_of_a_refusing_connack_has_its_name():
    for code, name in NAMES:
        error = refusal(feed, begun(), bytes([0x20, 3, 0, code, 0]))
        assert (error.code, error.detail) == (name, "CONNACK: reason code 0x%02x" % code)
    for code in (0xA3, 0xFF):
        assert code_of(feed, begun(), bytes([0x20, 3, 0, code, 0])) == "mqtt.unspecified"


def test_a_disconnect_of_the_brokers_is_told_by_its_name():
    for code, name in NAMES:
        assert code_of(feed, opened(), bytes([0xE0, 1, code])) == name
    error = refusal(feed, opened(), b"\xe0\x0c\x9d\x0a\x1f\x00\x01r\x1c\x00\x03b.c")
    assert error.detail == "DISCONNECT: reason code 0x9d, r, b.c"


def test_a_3_1_1_broker_answers_in_its_own_form():
    assert code_of(feed, begun(), b"\x20\x02\x00\x01") == "mqtt.unacceptable-protocol"
    assert code_of(feed, begun(), b"\x20\x03\x00\x84\x00") == "mqtt.unacceptable-protocol"
    assert code_of(feed, begun(), b"\x20\x02\x00\x00") == "mqtt.malformed"


def numbered(number, qos=1):
    return bytes((0x30 | qos << 1, 6, 0, 1, 0x61, number >> 8, number & 255, 0))


def test_far_more_messages_than_may_be_unacknowledged_are_left_for_the_next_connection():
    # mosquitto 2.0.11 sends more with each PUBACK, and all again in a session taken up again.
    for inbox, most, qos in ((4, 64, 1), (40, 80, 1), (4, 64, 2)):
        made = opened(limits={"inbox": inbox})
        for number in range(1, most + 1):
            assert len(feed(made, numbered(number, qos))) == 1
        assert feed(made, numbered(201, qos) + numbered(202, qos)) == []
        receipts = list(made.kept.receipts)
        assert len(receipts) == most and len(made.kept.held) == (most if qos == 2 else 0)
        made.kept.handled(receipts[0])
        assert feed(made, numbered(203, qos)) == []  # they keep their order
        assert len(feed(made, b"\x30\x04\x00\x01a\x00")) == 1
        for receipt in receipts[1:]:
            made.tick(1_000)
            made.kept.handled(receipt)
        made.tick(1_500)  # not acknowledged yet
        while made.kept.replies:
            taken(made)
        made.tick(2_000)  # nor by the broker, perhaps
        error = refusal(made.tick, 2_500)
        assert (error.code, error.detail) == ("mqtt.more-waiting", "3 come again")
        assert code_of(publish, made) == "mqtt.not-connected"
        connect.connect(made, 0, "id", 30, False)
        taken(made)
        feed(made, b"\x20\x03\x01\x00\x00")
        assert len(feed(made, numbered(201, qos) + numbered(202, qos))) == 2
        made.tick(3_000)


def test_what_is_left_for_the_next_connection_may_be_larger_than_the_buffer():
    made = opened(rx_bytes=32)
    for number in range(1, 65):
        feed(made, numbered(number))
    large = b"\x32\x6e\x00\x01a\x01\x00\x00" + bytes(104)
    events = feed(made, large)
    assert all(event[0] == PART for event in events)  # that nobody waits for
    assert b"".join(event[1] for event in events) == bytes(104)
    assert feed(made, numbered(300)) == []


def test_a_broker_with_more_on_their_way_than_there_are_identifiers_is_hung_up_on():
    made = opened()
    for number in range(1, 66):
        feed(made, numbered(number))
    made.deferred = 65_534
    assert feed(made, numbered(66)) == []
    error = refusal(feed, made, numbered(67))
    assert (error.code, error.detail) == ("mqtt.receive-maximum", "65535 unacknowledged")
    assert made.farewell(error.code) == b"\xe0\x01\x93"


def test_auth_is_refused():
    assert code_of(feed, begun(), b"\xf0\x00") == "mqtt.auth-refused"
    assert code_of(feed, opened(), b"\xf0\x02\x18\x00") == "mqtt.auth-refused"


def test_we_say_why_we_hang_up():
    made = opened()
    assert made.farewell("mqtt.malformed") == b"\xe0\x01\x81"
    assert made.farewell("mqtt.too-large") == b"\xe0\x01\x95"
    assert made.farewell("tls.closed") == b""


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


def test_a_session_that_the_broker_lost_is_lost_here_too():
    # MQTT-3.2.2-5: the message is sent as a new one; with the session kept, as a duplicate.
    for connack, first in ((CONNACK, 0x32), (b"\x20\x03\x01\x00\x00", 0x3A)):
        made = opened()
        outgoing = publish(made, 1)
        taken(made)
        connect.connect(made, 0, "id", 30, False)
        taken(made)
        feed(made, connack)
        assert resend(made, 0, outgoing)
        assert taken(made) == bytes((first, 7)) + b"\x00\x01a\x00\x01\x00x"
        assert feed(made, b"\x40\x02\x00\x01") == [(PUBACK, 1, 0)]


def test_a_disconnect_of_the_brokers_is_taken_in_each_of_its_forms():
    for packet in (b"\xe0\x00", b"\xe0\x01\x00", b"\xe0\x02\x00\x00"):
        assert code_of(feed, opened(), packet) == "mqtt.unspecified"
    # With a session expiry interval, which is a client's (MQTT-3.14.2-2), it ends all the same.
    assert code_of(feed, opened(), b"\xe0\x07\x8b\x05\x11\x00\x00\x00\x01") == (
        "mqtt.server-shutting-down"
    )
    assert code_of(feed, opened(), b"\xe1\x00") == "mqtt.malformed"
    assert code_of(feed, opened(), b"\xe0\x03\x8b\x00\x00") == "mqtt.malformed"
    assert code_of(feed, begun(), b"\xe0\x01\x8b") == "mqtt.unexpected"  # before a CONNACK


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


def test_a_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(1_000, SEEDS, opened, REFUSALS) > 500
