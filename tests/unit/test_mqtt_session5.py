"""keyfob.mqtt.session5: what MQTT 5.0 adds; packets laid out by hand after its sections."""

from device_support import code_of, refusal
from mqtt5_steps import CONNACK, NAMES, REFUSALS, SEEDS, begun, config, granting, opened
from mqtt_steps import PART, PUBACK, feed, publish, sweep, taken

from keyfob.mqtt import connect, subscribe
from keyfob.mqtt.connack import resend
from keyfob.mqtt.session5 import Session5
from keyfob.mqtt.state import Outgoing


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


def test_a_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(1_000, SEEDS, opened, REFUSALS) > 500
