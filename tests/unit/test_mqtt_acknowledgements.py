"""keyfob.mqtt.session: identifiers, acknowledgements in their order, redelivery.

Packets are laid out by hand after MQTT 3.1.1.
"""

import os

from device_support import code_of
from mqtt_steps import (
    CONNACK,
    EXACTLY_ONCE,
    MESSAGE,
    PRESENT,
    PUBACK,
    PUBREC,
    SUBACK,
    UNSUBACK,
    feed,
    handle,
    opened,
    publish,
    start,
    taken,
)

from keyfob.mqtt import connack, state, subscribe


def test_identifiers_are_never_0_and_never_one_in_use():
    made = opened(window=8)
    assert [publish(made).packet_id for _ in range(3)] == [1, 2, 3]
    made.kept.last_id = 0xFEFE
    assert [publish(made).packet_id for _ in range(3)] == [
        0xFEFF,
        4,
        5,
    ]  # those above are the outbox's
    feed(made, b"\x40\x02\x00\x02")
    made.kept.last_id = 0xFEFF
    assert subscribe.subscribe(made, 0, "a", 1).packet_id == 2
    made.kept.last_id = 1
    assert subscribe.subscribe(made, 0, "a", 1).packet_id == 6


def test_identifiers_of_two_lives_begin_anywhere_and_wrap():
    zeros, state.urandom = state.urandom, os.urandom
    try:
        assert len({state.SessionState().last_id for _ in range(8)}) > 1
        for drawn, first in ((0, 1), (0xFEFD, 0xFEFE), (0xFEFE, 0xFEFF), (0xFFFF, 257)):
            state.urandom = lambda count, drawn=drawn: drawn.to_bytes(count, "big")
            made = opened()
            assert publish(made).packet_id == first
            assert publish(made).packet_id == first % 0xFEFF + 1
    finally:
        state.urandom = zeros


def test_no_identifier_left_is_an_error():
    made = opened()

    class Taken:
        """Has whichever identifier is asked for."""

        @property
        def packet_id(self):
            return made.kept.last_id

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
    assert [connack.resend(made, 9, outgoing) for outgoing in (first, second)] == [True, True]
    assert taken(made) == b"\x3a\x06\x00\x01a\x00\x01x" + b"\x3c\x06\x00\x01b\x00\x02x"
    made.kept.last_id = 0
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
    assert connack.resend(made, 0, outgoing)
    assert taken(made) == b"\x62\x02\x00\x01"
    start(made, CONNACK)  # the broker forgot: it had the message, so it is complete
    assert not connack.resend(made, 0, outgoing)
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
    made.kept.handled(first)
    assert taken(made) == b"\x40\x02\x00\x0a\x40\x02\x00\x0b"


def test_a_received_qos_2_message_is_one_event_until_its_pubrel():
    made = opened()
    assert len(feed(made, EXACTLY_ONCE)) == 1
    receipt = made.receipt
    again = b"\x3c" + EXACTLY_ONCE[1:]
    start(made, PRESENT)
    assert feed(made, again) == [] and taken(made) == b""  # it is being handled still
    made.kept.handled(receipt)
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
    made.kept.handled(receipt)
    assert taken(made) == b"\x40\x02\x00\x0a"


def test_a_new_session_owes_nothing():
    made = opened()
    feed(made, EXACTLY_ONCE)
    old = made.receipt
    start(made, CONNACK)
    made.kept.handled(old)
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
