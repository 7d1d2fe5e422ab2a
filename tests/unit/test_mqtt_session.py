"""keyfob.mqtt.session: what is in order when, identifiers, redelivery, limits, fuzzed input.

Packets are laid out by hand after MQTT 3.1.1.
"""

from device_support import code_of, refusal

from keyfob.errors import KeyfobError
from keyfob.mqtt import connect, subscribe
from keyfob.mqtt.session import Session
from keyfob.mqtt.state import Outgoing, since

# Events are numbered as the packets are, section 2.2.1.
OPENED, PUBLISH, PUBACK, PUBREC, SUBACK, UNSUBACK, PINGRESP, PART = 2, 3, 4, 5, 9, 11, 13, 16

CONNACK = b"\x20\x02\x00\x00"
PRESENT = b"\x20\x02\x01\x00"
MESSAGE = b"\x32\x09\x00\x03a/b\x00\x0ahi"  # QoS 1, identifier 10
EXACTLY_ONCE = b"\x34\x09\x00\x03a/b\x00\x0ahi"


def facts(made, event):
    """The event with what it says, as a tuple that can be compared."""
    if event == PUBLISH:
        receipt = made.receipt and made.receipt[0]
        return PUBLISH, made.topic, bytes(made.payload), made.qos, made.retain, receipt
    if event in (PUBACK, PUBREC):
        return event, made.outgoing.packet_id, made.code
    if event in (SUBACK, UNSUBACK):
        return event, made.packet_id, made.code
    if event == PART:
        return event, bytes(made.payload)
    return (event,)


def feed(to, data, piece=1000):
    """All events of ``data``, given in pieces."""
    events = []
    at = 0
    while at < len(data):
        room = to.room()
        part = data[at : at + min(piece, len(room))]
        room[: len(part)] = part
        to.received(len(part))
        at += len(part)
        event = to.next_event()
        while event:
            events.append(facts(to, event))
            event = to.next_event()
    return events


def start(made, connack=CONNACK):
    connect.connect(made, 0, "id", 30, False)
    taken(made)
    feed(made, connack)
    return made


def opened(rx_bytes=256, tx_bytes=256, window=8):
    return start(Session(rx_bytes, tx_bytes, window))


def taken(made):
    """What is to be sent, as bytes, and it is sent."""
    size = made.pack()
    data = bytes(made.tx[:size])
    made.sent(size)
    return data


def publish(made, qos=1, topic="a", payload=b"x", now_ms=0):
    outgoing = Outgoing(topic, payload, qos, False)
    made.publish(now_ms, outgoing)
    return outgoing


def handle(made):
    made.handled(made.receipt)


def test_a_session_starts_with_connect_and_opens_with_connack():
    made = Session(64, 64)
    assert code_of(publish, made) == "mqtt.not-connected"
    connect.connect(made, 0, "id", 30, True)
    assert taken(made) == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02id"
    assert code_of(publish, made) == "mqtt.not-connected"
    assert code_of(subscribe.subscribe, made, 0, "a", 1) == "mqtt.not-connected"
    assert feed(made, PRESENT) == [(OPENED,)]
    assert made.session_present
    publish(made, 0)
    assert taken(made) == b"\x30\x04\x00\x01ax"


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


def test_identifiers_are_never_0_and_never_one_in_use():
    made = opened(window=8)
    assert [publish(made).packet_id for _ in range(3)] == [1, 2, 3]
    made.last_id = 0xFEFE
    assert [publish(made).packet_id for _ in range(3)] == [
        0xFEFF,
        4,
        5,
    ]  # those above are the outbox's
    feed(made, b"\x40\x02\x00\x02")
    made.last_id = 0xFEFF
    assert subscribe.subscribe(made, 0, "a", 1) == 2
    made.last_id = 1
    assert subscribe.subscribe(made, 0, "a", 1) == 6


def test_no_identifier_left_is_an_error():
    made = opened()

    class Taken:
        """Has whichever identifier is asked for."""

        @property
        def packet_id(self):
            return made.last_id

    made.inflight.append(Taken())
    assert code_of(made.take_id) == "mqtt.no-identifier"


def test_an_acknowledgement_of_another_kind_or_identifier_is_unexpected():
    made = opened()
    subscribe.subscribe(made, 0, "a", 1)
    assert feed(made, b"\x90\x03\x00\x01\x01") == [(SUBACK, 1, 1)]
    assert code_of(feed, made, b"\x90\x03\x00\x01\x01") == "mqtt.unexpected"
    for qos, packets in ((1, (b"\xb0", b"\x50", b"\x70")), (2, (b"\x40", b"\x70"))):
        for first in packets:
            made = opened()
            publish(made, qos)
            assert code_of(feed, made, first + b"\x02\x00\x01") == "mqtt.unexpected", first


def test_unsubscribe_is_acknowledged():
    made = opened()
    subscribe.subscribe(made, 0, "a/b", -1)
    assert taken(made) == b"\xa2\x07\x00\x01\x00\x03a/b"
    assert feed(made, b"\xb0\x02\x00\x01") == [(UNSUBACK, 1, 0)]


def test_options_of_5_0_are_not_sent_to_a_3_1_1_broker():
    made = opened()
    subscribe.subscribe(made, 0, "a", 1 | 4 | 8 | 32)
    assert taken(made)[-1] == 1


def test_a_late_puback_of_a_duplicate_is_no_event():
    made = opened()
    publish(made)
    assert feed(made, b"\x40\x02\x00\x01\x40\x02\x00\x01") == [(PUBACK, 1, 0)]
    assert made.inflight == []


def test_publishes_are_sent_again_in_their_order_with_dup_and_their_identifiers():
    made = opened()
    first, second = publish(made, 1, "a"), publish(made, 2, "b")
    taken(made)
    start(made, PRESENT)
    assert made.inflight == [first, second]
    assert [connect.resend(made, 9, outgoing) for outgoing in (first, second)] == [True, True]
    assert taken(made) == b"\x3a\x06\x00\x01a\x00\x01x" + b"\x3c\x06\x00\x01b\x00\x02x"
    made.last_id = 0
    assert publish(made).packet_id == 3


def test_qos_2_goes_publish_pubrec_pubrel_pubcomp():
    made = opened()
    outgoing = publish(made, 2)
    assert taken(made) == b"\x34\x06\x00\x01a\x00\x01x"
    assert feed(made, b"\x50\x02\x00\x01") == [(PUBREC, 1, 0)]
    assert outgoing.payload is None and made.inflight == [outgoing]
    assert taken(made) == b"\x62\x02\x00\x01"
    assert feed(made, b"\x50\x02\x00\x01") == []  # the broker repeats itself
    assert feed(made, b"\x70\x02\x00\x01") == [(PUBACK, 1, 0)]
    assert made.inflight == []


def test_after_pubrec_only_pubrel_is_sent_again_and_never_the_message():
    made = opened()
    outgoing = publish(made, 2)
    feed(made, b"\x50\x02\x00\x01")
    start(made, PRESENT)
    assert connect.resend(made, 0, outgoing)
    assert taken(made) == b"\x62\x02\x00\x01"
    start(made, CONNACK)  # the broker forgot: it had the message, so it is complete
    assert not connect.resend(made, 0, outgoing)
    assert taken(made) == b"" and made.inflight == []


def test_a_pubrec_that_nobody_waits_for_is_answered_all_the_same():
    made = opened()
    assert feed(made, b"\x50\x02\x00\x09") == []
    assert taken(made) == b"\x62\x02\x00\x09"


def test_a_received_publish_is_acknowledged_when_it_is_handled():
    made = opened()
    feed(made, MESSAGE)
    assert taken(made) == b""
    handle(made)
    assert taken(made) == b"\x40\x02\x00\x0a"


def test_acknowledgements_go_out_in_the_order_of_the_messages():
    made = opened()
    feed(made, MESSAGE)
    first = made.receipt
    feed(made, b"\x32\x05\x00\x01a\x00\x0b")
    handle(made)
    assert taken(made) == b""
    made.handled(first)
    assert taken(made) == b"\x40\x02\x00\x0a\x40\x02\x00\x0b"


def test_a_received_qos_2_message_is_one_event_until_its_pubrel():
    made = opened()
    assert len(feed(made, EXACTLY_ONCE)) == 1
    receipt = made.receipt
    again = b"\x3c" + EXACTLY_ONCE[1:]
    start(made, PRESENT)
    assert feed(made, again) == [] and taken(made) == b""  # it is being handled still
    made.handled(receipt)
    assert taken(made) == b"\x50\x02\x00\x0a"
    start(made, PRESENT)
    assert feed(made, again) == []
    assert taken(made) == b"\x50\x02\x00\x0a"
    for _ in range(2):
        assert feed(made, b"\x62\x02\x00\x0a") == []
        assert taken(made) == b"\x70\x02\x00\x0a"
    assert len(feed(made, EXACTLY_ONCE)) == 1


def test_a_duplicate_of_a_message_that_is_being_handled_is_no_event():
    made = opened()
    feed(made, MESSAGE)
    receipt = made.receipt
    start(made, PRESENT)
    assert feed(made, b"\x3a" + MESSAGE[1:]) == []
    made.handled(receipt)
    assert taken(made) == b"\x40\x02\x00\x0a"


def test_a_new_session_owes_nothing():
    made = opened()
    feed(made, EXACTLY_ONCE)
    old = made.receipt
    start(made, CONNACK)
    made.handled(old)
    assert taken(made) == b""
    assert len(feed(made, EXACTLY_ONCE)) == 1


def test_a_message_that_was_not_received_whole_is_forgotten():
    made = opened()
    feed(made, EXACTLY_ONCE)
    made.kept.forget(made.receipt)
    made.kept.forget(made.receipt)
    assert len(feed(made, b"\x3c" + EXACTLY_ONCE[1:])) == 1


def test_a_broker_without_bounds_is_refused():
    made = opened()
    for packet_id in range(1, 257):
        feed(made, b"\x34\x05\x00\x01a" + bytes([packet_id >> 8, packet_id & 255]))
        handle(made)
    assert code_of(feed, made, b"\x34\x05\x00\x01a\x10\x00") == "mqtt.unexpected"


def test_acknowledgements_wait_for_room_in_the_buffer():
    made = opened(tx_bytes=32)
    publish(made, 0, "a", bytes(24))
    feed(made, b"\x62\x02\x00\x01")
    assert made.pack() == 29
    made.sent(10)
    assert made.pack() == 23
    assert bytes(made.tx[19:23]) == b"\x70\x02\x00\x01"


def test_several_packets_wait_side_by_side():
    made = opened()
    publish(made, 0)
    publish(made, 0, "b")
    assert taken(made) == b"\x30\x04\x00\x01ax\x30\x04\x00\x01bx"


def test_a_ping_is_due_when_nothing_was_sent_for_three_quarters_of_the_keep_alive():
    made = opened()
    assert not made.tick(22_499)
    publish(made, 0, now_ms=20_000)
    taken(made)
    assert not made.tick(42_499)
    assert made.tick(42_500)
    assert taken(made) == b"\xc0\x00"
    assert not made.tick(50_000)


def test_a_ping_without_answer_fails_the_session():
    made = opened()
    assert made.tick(22_500)
    assert not made.tick(37_500)
    assert code_of(made.tick, 37_501) == "mqtt.no-pingresp"
    assert code_of(publish, made) == "mqtt.not-connected"
    made = opened()
    made.tick(22_500)
    feed(made, b"\xd0\x00")
    assert not made.tick(37_501)


def test_who_does_not_read_still_pings_and_misses_no_answer():
    made = opened()
    publish(made)
    assert made.tick(22_500, True)
    assert not made.tick(44_999, True)
    assert made.tick(45_000, True)


def test_acknowledgements_have_a_time_limit():
    for qos in (1, 2):
        made = opened()
        publish(made, qos, now_ms=1_000)
        assert not made.tick(21_000)
        assert code_of(made.tick, 21_001) == "mqtt.no-puback"
    made = opened()
    subscribe.subscribe(made, 1_000, "a", 1)
    assert not made.tick(21_000)
    assert code_of(made.tick, 21_001) == "mqtt.no-suback"


def test_the_counter_of_time_may_wrap():
    assert since(0x3FFFFFFF - 1_000, 500) == 1_501
    made = Session(64, 64)
    connect.connect(made, 0x3FFFFFFF - 1_000, "id", 30, True)
    feed(made, CONNACK)
    assert not made.tick(21_498)
    assert made.tick(21_499)


def test_disconnect_ends_the_session():
    made = opened()
    connect.disconnect(made)
    assert taken(made) == b"\xe0\x00"
    assert not made.tick(60_000)
    assert code_of(connect.disconnect, made) == "mqtt.not-connected"


SEEDS = (
    CONNACK, MESSAGE, b"\x30\x03\x00\x01a", b"\x40\x02\x00\x01", b"\x90\x03\x00\x01\x01",
    b"\xb0\x02\x00\x01", b"\xd0\x00", b"\x3b\x0c\x00\x05a/b/c\x12\x34abc",
    b"\x50\x02\x00\x02", b"\x62\x02\x00\x0a", b"\x70\x02\x00\x02",
)  # fmt: skip
REFUSALS = ("mqtt.malformed", "mqtt.unexpected", "mqtt.too-large")


def sweep(rounds, seeds=SEEDS, make=opened, refusals=REFUSALS):
    """Mutated packets into a session: events or a `KeyfobError`, and nothing else."""
    state = 12345
    refused = 0
    for count in range(rounds):
        packet = bytearray(seeds[count % len(seeds)] + seeds[count // 7 % len(seeds)])
        for _ in range(1 + count % 3):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            packet[(state >> 8) % len(packet)] = state >> 16 & 0xFF
        made = make(64, 64)
        publish(made, 1)
        publish(made, 2)
        try:
            feed(made, packet, 1 + count % 9)
        except KeyfobError as error:
            refused += 1
            assert error.code in refusals, error
    return refused


def test_a_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(1_000) > 500
