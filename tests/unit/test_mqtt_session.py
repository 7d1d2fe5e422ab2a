"""keyfob.mqtt.session: what is in order when, what is refused, pieces, fuzzed input.

Packets are laid out by hand after MQTT 3.1.1.
"""

from device_support import code_of, refusal
from mqtt_steps import (
    CONNACK,
    MESSAGE,
    OPENED,
    PART,
    PINGRESP,
    PRESENT,
    PUBACK,
    PUBLISH,
    feed,
    handle,
    opened,
    publish,
    start,
    sweep,
    taken,
)

from keyfob.mqtt import connack, connect, subscribe
from keyfob.mqtt.session import Session


def test_a_session_starts_with_connect_and_opens_with_connack():
    made = Session(64, 64)
    assert code_of(publish, made) == "mqtt.not-connected"
    connect.connect(made, 0, "id", 30, False)
    assert taken(made) == b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x1e\x00\x02id"
    assert code_of(publish, made) == "mqtt.not-connected"
    assert code_of(subscribe.subscribe, made, 0, "a", 1) == "mqtt.not-connected"
    assert feed(made, PRESENT) == [(OPENED,)]
    assert made.session_present
    publish(made, 0)
    assert taken(made) == b"\x30\x04\x00\x01ax"


def test_a_clean_session_must_be_a_new_one():
    # Section 3.2.2.2, both sides of both bits; pieces of one byte and of all.
    for clean in (False, True):
        for packet in (CONNACK, PRESENT):
            for piece in (1, 4):
                made = Session(64, 64)
                connect.connect(made, 0, "id", 30, not clean)
                connect.connect(made, 0, "id", 30, clean)
                if clean and packet == PRESENT:
                    assert code_of(feed, made, packet, piece) == "mqtt.unexpected"
                    assert code_of(publish, made) == "mqtt.not-connected"
                else:
                    assert feed(made, packet, piece) == [(OPENED,)]
                    assert made.session_present == (packet == PRESENT)


def test_a_remaining_length_with_a_byte_too_many_is_refused():
    for good, bad in (
        (b"\xd0\x00", b"\xd0\x80\x00"), (b"\xd0\x00", b"\xd0\x80\x80\x00"),
        (b"\x30\x03\x00\x01a", b"\x30\x83\x00\x00\x01a"),
        (b"\x40\x02\x00\x09", b"\x40\x82\x80\x80\x00\x00\x09"),
        (b"\x30\x80\x01\x00\x01a" + bytes(125), b"\x30\x80\x81\x00\x00\x01a" + bytes(125)),
    ):  # fmt: skip
        for piece in (1, 200):
            feed(opened(), good, piece)
            error = refusal(feed, opened(), bad, piece)
            assert error.code == "mqtt.malformed" and "byte too many" in error.detail


def test_each_return_code_of_connack_has_its_own_code():
    # MQTT 3.1.1 table 3.1
    want = (
        "mqtt.unacceptable-protocol", "mqtt.identifier-rejected", "mqtt.server-unavailable",
        "mqtt.bad-credentials", "mqtt.not-authorized", "mqtt.malformed",
    )  # fmt: skip
    for code in range(1, 7):
        made = Session(64, 64)
        connect.connect(made, 0, "id", 30, True)
        assert code_of(feed, made, bytes([0x20, 2, 0, code])) == want[code - 1]


def test_events_come_byte_by_byte_as_at_once():
    data = MESSAGE + b"\x40\x02\x00\x01" + b"\x30\x03\x00\x01a" + b"\xd0\x00"
    want = [
        (PUBLISH, "a/b", b"hi", 1, False, 10),
        (PUBACK, 1, 0),
        (PUBLISH, "a", b"", 0, False, None),
        (PINGRESP,),
    ]
    for piece in (1, 2, 3, 5, 100):
        made = opened()
        publish(made)
        assert feed(made, data, piece) == want, piece


def test_a_packet_behind_the_last_event_stays_for_later():
    made = opened()
    assert feed(made, MESSAGE + MESSAGE[:5]) == [(PUBLISH, "a/b", b"hi", 1, False, 10)]
    handle(made)
    assert feed(made, MESSAGE[5:]) == [(PUBLISH, "a/b", b"hi", 1, False, 10)]


def test_nothing_but_connack_comes_first_and_only_once():
    made = Session(64, 64)
    connect.connect(made, 0, "id", 30, True)
    assert code_of(feed, made, MESSAGE) == "mqtt.unexpected"
    assert code_of(feed, opened(), CONNACK) == "mqtt.unexpected"


def test_packets_that_only_a_client_sends_are_unexpected():
    for first in (0x00, 0x10, 0x80, 0xA0, 0xC0, 0xE0, 0xF0):
        assert code_of(feed, opened(), bytes([first, 0])) == "mqtt.unexpected", first


def test_every_first_byte_is_taken_or_refused_as_table_2_2_says():
    # A broker's packets: 3 with any flags of a QoS, the others with theirs alone. Behind each
    # comes what makes it whole.
    good = {0x40: b"\x02\x00\x01", 0x50: b"\x02\x00\x02", 0x62: b"\x02\x00\x09"}
    good.update({0x70: b"\x02\x00\x09", 0xD0: b"\x00"})
    for first in range(0x30, 0x40):
        if first & 6 != 6 and first & 14 != 8:
            good[first] = b"\x03\x00\x01a" if not first & 6 else b"\x05\x00\x01a\x00\x07"
    for first in range(256):
        made = opened()
        publish(made, 1)
        publish(made, 2)
        kind = first >> 4
        rest = good.get(first) or good.get(kind << 4) or good.get(kind << 4 | 2) or b"\x00"
        packet = bytes((first,)) + rest
        if first in good:
            feed(made, packet)
            assert publish(made)
        else:
            of_broker = kind in (3, 4, 5, 6, 7, 9, 11, 13)
            code = code_of(feed, made, packet)
            assert code == "mqtt.malformed" or (code == "mqtt.unexpected" and not of_broker), packet


def test_a_failed_session_stays_failed_until_it_is_started_again():
    made = opened()
    assert code_of(feed, made, b"\xd1\x00") == "mqtt.malformed"
    assert code_of(made.next_event) == "mqtt.unexpected"
    assert code_of(publish, made) == "mqtt.not-connected"
    publish(start(made))


MALFORMED = (
    b"\x30\x00", b"\x30\x01\x00", b"\x30\x03\x00\x02a",
    b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
    b"\x38\x03\x00\x01a",  # DUP at QoS 0
    b"\x30\x02\x00\x00", b"\x30\x03\x00\x01#", b"\x30\x03\x00\x01\x00",  # topic names
    b"\x30\x03\x00\x01\xff",  # not UTF-8
    b"\x32\x03\x00\x01a", b"\x32\x04\x00\x01a\x00",  # no packet identifier
    b"\x32\x05\x00\x01a\x00\x00",  # packet identifier 0
    b"\x40\x02\x00\x00", b"\x40\x01\x01", b"\x40\x03\x00\x01\x00", b"\x42\x02\x00\x01",
    b"\x50\x03\x00\x01\x00", b"\x60\x02\x00\x01", b"\x62\x03\x00\x01\x00", b"\x72\x02\x00\x01",
    b"\x90\x02\x00\x01", b"\x90\x03\x00\x01\x03", b"\x90\x03\x00\x00\x01",
    b"\x90\x04\x00\x01\x01\x01", b"\x92\x03\x00\x01\x01",
    b"\xb0\x03\x00\x01\x00", b"\xb2\x02\x00\x01",
    b"\xd0\x01\x00", b"\xd1\x00",
    b"\x30\xff\xff\xff\xff",
)  # fmt: skip


def test_malformed_packets_are_refused():
    for packet in MALFORMED:
        assert code_of(feed, opened(), packet) == "mqtt.malformed", packet


def test_malformed_connacks_are_refused():
    for packet in (
        b"\x21\x02\x00\x00", b"\x20\x01\x00", b"\x20\x03\x00\x00\x00", b"\x20\x02\x02\x00",
        b"\x20\x02\x01\x05",  # session present with a refusal
    ):  # fmt: skip
        made = Session(64, 64)
        connect.connect(made, 0, "id", 30, True)
        assert code_of(feed, made, packet) == "mqtt.malformed", packet


def test_a_packet_above_the_buffer_is_refused_at_its_header():
    made = opened(rx_bytes=32)
    error = refusal(feed, made, b"\xb0\x1f")  # 33 bytes
    assert (error.code, error.detail) == ("mqtt.too-large", "33 bytes received, room for 32")
    made = opened(rx_bytes=32)
    assert feed(made, b"\x30\x1e\x00\x01a" + bytes(27)) == [
        (PUBLISH, "a", bytes(27), 0, False, None)
    ]


def test_a_publish_above_the_buffer_comes_in_pieces():
    payload = bytes(range(256)) * 4
    packet = b"\x32\x85\x08\x00\x01a\x00\x0b" + payload  # 1024 + 5
    for piece in (1, 7, 1000):
        made = opened(rx_bytes=32)
        events = feed(made, packet + b"\xd0\x00", piece)
        assert events[0][:2] == (PUBLISH, "a") and made.size == 1024
        assert events[-1] == (PINGRESP,)
        got = events[0][2]
        for event in events[1:-1]:
            assert event[0] == PART
            got += event[1]
        assert got == payload
        assert made.left == 0


def test_a_usual_message_is_taken_at_once_and_any_other_left_for_the_events():
    made = opened()
    feed(made, b"\x30\x04\x00\x01ax")
    for packet, want in (
        (b"\x30\x04\x00\x01ay", b"y"), (b"\x30\x03\x00\x01a", b""),
        (b"\x30\x04\x00\x01ay"[:5], None), (b"\x31\x04\x00\x01ay", None),
        (b"\x30\x04\x00\x01by", None), (b"\x32\x06\x00\x01a\x00\x07y", None),
        (b"\x30\x02\x00\x01a", None), (b"\x30", None), (b"\xd0\x00", None),
    ):  # fmt: skip
        made.room()[: len(packet)] = packet
        made.received(len(packet))
        left = made.start
        assert made.next_usual() == want, packet
        assert made.start == (left if want is None else left + len(packet))
        made.room()
        made.start = made._end = 0
    made.room()[:6] = b"\x30\x04\x00\x01bz"
    made.received(6)
    assert made.next_usual() is None and made.next_event() == PUBLISH
    assert (made.topic, made.payload) == ("b", b"z")


def test_the_head_of_a_publish_in_pieces_fits_the_buffer():
    made = opened(rx_bytes=32)
    packet = b"\x30\x64\x00\x20" + b"t" * 98
    assert code_of(feed, made, packet) == "mqtt.too-large"


def test_there_is_always_room_after_the_last_event():
    made = opened(rx_bytes=16)
    for _ in range(50):
        assert len(feed(made, MESSAGE, 4)) == 1
        handle(made)
        assert len(made.room()) == 16


def test_disconnect_ends_the_session():
    made = opened()
    connack.disconnect(made)
    assert taken(made) == b"\xe0\x00"
    assert not made.tick(60_000)
    assert code_of(connack.disconnect, made) == "mqtt.not-connected"


def test_a_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(1_000) > 500
