"""keyfob.mqtt.session: what is in order when, identifiers, keep alive, fuzzed input."""

from device_support import code_of, refusal

from keyfob.errors import KeyfobError
from keyfob.mqtt import session
from keyfob.mqtt.session import PUBACK, PUBLISH, SUBACK, UNSUBACK, Session

CONNACK = b"\x20\x02\x00\x00"
MESSAGE = b"\x32\x09\x00\x03a/b\x00\x0ahi"  # QoS 1, identifier 10


def feed(to, data, piece=1000):
    """All events of ``data``, given in pieces."""
    events = []
    for at in range(0, len(data), piece):
        part = data[at : at + piece]
        to.room()[: len(part)] = part
        to.received(len(part))
        event = to.next_event()
        while event:
            events.append(event)
            event = to.next_event()
    return events


def opened(rx_bytes=256, tx_bytes=256):
    made = Session(rx_bytes, tx_bytes)
    made.start(0, "id", 30, True)
    assert feed(made, CONNACK) == [(session.CONNACK, False)]
    return made


def test_a_session_starts_with_connect_and_opens_with_connack():
    made = Session(64, 64)
    assert code_of(made.publish, 0, "a", b"", 0, False) == "mqtt.not-connected"
    size = made.start(0, "id", 30, True)
    assert bytes(made.tx[:size]) == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02id"
    assert code_of(made.publish, 0, "a", b"", 0, False) == "mqtt.not-connected"
    assert feed(made, b"\x20\x02\x01\x00") == [(session.CONNACK, True)]
    assert made.publish(0, "a", b"", 0, False) == 5


def test_each_return_code_of_connack_has_its_own_code():
    # MQTT 3.1.1 table 3.1
    want = (
        "mqtt.unacceptable-protocol", "mqtt.identifier-rejected", "mqtt.server-unavailable",
        "mqtt.bad-credentials", "mqtt.not-authorized", "mqtt.malformed",
    )  # fmt: skip
    for code in range(1, 7):
        made = Session(64, 64)
        made.start(0, "id", 30, True)
        assert code_of(feed, made, bytes([0x20, 2, 0, code])) == want[code - 1]


def test_events_come_byte_by_byte_as_at_once():
    data = MESSAGE + b"\x40\x02\x00\x01" + b"\x30\x03\x00\x01a" + b"\xd0\x00"
    want = [
        (PUBLISH, "a/b", b"hi", 1, False, False, 10),
        (PUBACK, 1),
        (PUBLISH, "a", b"", 0, False, False, 0),
        (session.PINGRESP,),
    ]
    for piece in (1, 2, 3, 5, 100):
        assert feed(opened(), data, piece) == want, piece


def test_nothing_but_connack_comes_first_and_only_once():
    made = Session(64, 64)
    made.start(0, "id", 30, True)
    assert code_of(feed, made, MESSAGE) == "mqtt.unexpected"
    assert code_of(feed, opened(), CONNACK) == "mqtt.unexpected"


def test_packets_that_only_a_client_sends_are_unexpected():
    for first in (0x00, 0x10, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0, 0xF0):
        assert code_of(feed, opened(), bytes([first, 0])) == "mqtt.unexpected", first


def test_a_publish_of_qos_2_is_unexpected_as_we_never_ask_for_it():
    assert code_of(feed, opened(), b"\x34\x05\x00\x01a\x00\x01") == "mqtt.unexpected"


def test_a_failed_session_stays_failed_until_it_is_started_again():
    made = opened()
    assert code_of(feed, made, b"\xd1\x00") == "mqtt.malformed"
    assert code_of(made.next_event) == "mqtt.unexpected"
    assert code_of(made.publish, 0, "a", b"", 0, False) == "mqtt.not-connected"
    made.start(0, "id", 30, True)
    assert feed(made, CONNACK) == [(session.CONNACK, False)]


def test_a_packet_above_the_buffer_is_refused_at_its_header():
    made = opened(rx_bytes=32)
    error = refusal(feed, made, b"\x30\x1f")  # 33 bytes
    assert (error.code, error.detail) == ("mqtt.too-large", "33 bytes received, room for 32")
    made = opened(rx_bytes=32)
    assert feed(made, b"\x30\x1e\x00\x01a" + bytes(27)) == [
        (PUBLISH, "a", bytes(27), 0, False, False, 0)
    ]


def test_there_is_always_room_after_the_last_event():
    made = opened(rx_bytes=16)
    for _ in range(50):
        assert len(feed(made, MESSAGE, 4)) == 1
        assert len(made.room()) == 16


def test_identifiers_are_never_0_and_never_one_in_use():
    made = opened()
    assert [made.take_id(PUBACK) for _ in range(3)] == [1, 2, 3]
    made._last_id = 65_534
    assert [made.take_id(PUBACK) for _ in range(3)] == [65_535, 4, 5]
    feed(made, b"\x40\x02\x00\x02")
    made._last_id = 65_535
    assert made.take_id(PUBACK) == 2


def test_no_identifier_left_is_an_error():
    made = opened()

    class All:
        def __contains__(self, packet_id):
            return True

    made._used = All()
    assert code_of(made.take_id, PUBACK) == "mqtt.no-identifier"


def test_an_acknowledgement_of_another_kind_or_identifier_is_unexpected():
    made = opened()
    packet_id = made.take_id(SUBACK)
    made.subscribe(0, "a", 1, packet_id)
    assert feed(made, b"\x90\x03\x00\x01\x01") == [(SUBACK, 1, 1)]
    assert code_of(feed, made, b"\x90\x03\x00\x01\x01") == "mqtt.unexpected"
    made = opened()
    made.take_id(PUBACK)
    assert code_of(feed, made, b"\xb0\x02\x00\x01") == "mqtt.unexpected"


def test_unsubscribe_is_acknowledged():
    made = opened()
    size = made.unsubscribe(0, "a/b", made.take_id(UNSUBACK))
    assert bytes(made.tx[:size]) == b"\xa2\x07\x00\x01\x00\x03a/b"
    assert feed(made, b"\xb0\x02\x00\x01") == [(UNSUBACK, 1)]


def test_a_late_puback_of_a_duplicate_is_no_error():
    made = opened()
    packet_id = made.take_id(PUBACK)
    assert feed(made, b"\x40\x02\x00\x01\x40\x02\x00\x01") == [(PUBACK, packet_id)] * 2


def test_publishes_keep_their_identifiers_over_a_reconnect():
    made = opened()
    publish_id = made.take_id(PUBACK)
    made.take_id(SUBACK)
    made.start(0, "id", 30, False)
    feed(made, CONNACK)
    assert made._used == {publish_id: PUBACK}


def test_a_received_publish_is_acknowledged():
    made = opened()
    assert bytes(made.tx[: made.acknowledge(0, 10)]) == b"\x40\x02\x00\x0a"


def test_a_ping_is_due_when_nothing_was_sent_for_three_quarters_of_the_keep_alive():
    made = opened()
    assert not made.ping_is_due(22_499)
    assert made.ping_is_due(22_500)
    made.publish(20_000, "a", b"", 0, False)
    assert not made.ping_is_due(42_499)
    assert made.ping_is_due(42_500)


def test_a_ping_without_answer_fails_the_session():
    made = opened()
    assert bytes(made.tx[: made.ping(22_500)]) == b"\xc0\x00"
    assert not made.ping_is_due(37_500)
    assert code_of(made.ping_is_due, 37_501) == "mqtt.no-pingresp"
    made = opened()
    made.ping(22_500)
    feed(made, b"\xd0\x00")
    assert not made.ping_is_due(37_501)


def test_the_counter_of_time_may_wrap():
    made = Session(64, 64)
    made.start(0x3FFFFFFF - 1_000, "id", 30, True)
    feed(made, CONNACK)
    assert not made.ping_is_due(21_498)
    assert made.ping_is_due(21_499)


def test_disconnect_ends_the_session():
    made = opened()
    assert bytes(made.tx[: made.disconnect()]) == b"\xe0\x00"
    assert code_of(made.ping, 0) == "mqtt.not-connected"


SEEDS = (
    CONNACK, MESSAGE, b"\x30\x03\x00\x01a", b"\x40\x02\x00\x01", b"\x90\x03\x00\x01\x01",
    b"\xb0\x02\x00\x01", b"\xd0\x00", b"\x3b\x0c\x00\x05a/b/c\x12\x34abc",
)  # fmt: skip


def sweep(rounds):
    """Mutated packets into a session: an event or a `KeyfobError`, and nothing else."""
    state = 12345
    refused = 0
    for count in range(rounds):
        packet = bytearray(SEEDS[count % len(SEEDS)] + SEEDS[count // 7 % len(SEEDS)])
        for _ in range(1 + count % 3):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            packet[(state >> 8) % len(packet)] = state >> 16 & 0xFF
        made = Session(64, 64)
        made.start(0, "id", 30, True)
        try:
            feed(made, CONNACK)
            feed(made, packet, 1 + count % 9)
        except KeyfobError as error:
            refused += 1
            assert error.code in ("mqtt.malformed", "mqtt.unexpected", "mqtt.too-large"), error
    return refused


def test_two_thousand_mutated_packets_raise_nothing_but_our_own_error():
    assert sweep(2_000) > 1_000
