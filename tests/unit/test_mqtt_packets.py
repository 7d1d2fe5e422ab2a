"""keyfob.mqtt.packets: bytes of the OASIS specification, and what is refused.

Expected bytes are the examples of MQTT 3.1.1 (figures and tables named) or laid out
by hand after its sections; none comes from our own encoder.
"""

from device_support import code_of

from keyfob.mqtt import packets


def sent(put, *arguments):
    buffer = bytearray(300)
    return bytes(buffer[: put(buffer, *arguments)])


def test_connect_is_figure_3_6():
    # User name, password, will retain 0, will QoS 1, will, clean session; keep alive 10.
    will = ("a/b", b"gone", 1, False)
    packet = sent(packets.put_connect, "id", 10, True, will, "me", b"pw")
    head = b"\x00\x04MQTT\x04\xce\x00\x0a"
    rest = b"\x00\x02id\x00\x03a/b\x00\x04gone\x00\x02me\x00\x02pw"
    assert packet == b"\x10" + bytes([len(head + rest)]) + head + rest


def test_connect_without_extras_has_no_flags():
    assert (
        sent(packets.put_connect, "x", 60, False)
        == b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01x"
    )


def test_a_retained_will_of_qos_2_sets_its_bits():
    packet = sent(packets.put_connect, "x", 60, False, ("t", b"", 2, True))
    assert packet[9] == 0x20 | 0x10 | 0x04


def test_publish_is_figure_3_11():
    # Section 3.3.2.3: topic a/b, packet identifier 10.
    assert (
        sent(packets.put_publish, "a/b", b"", 1, False, 10, False) == b"\x32\x07\x00\x03a/b\x00\x0a"
    )
    assert sent(packets.put_publish, "a/b", b"hi", 0, True, 0, False) == b"\x31\x07\x00\x03a/bhi"
    assert sent(packets.put_publish, "a/b", b"", 1, False, 10, True)[0] == 0x3A


def test_subscribe_and_unsubscribe_are_of_sections_3_8_and_3_10():
    assert sent(packets.put_subscribe, 10, "a/b", 1) == b"\x82\x08\x00\x0a\x00\x03a/b\x01"
    assert sent(packets.put_unsubscribe, 10, "a/b") == b"\xa2\x07\x00\x0a\x00\x03a/b"


def test_the_short_packets_are_fixed_bytes():
    assert sent(packets.put_puback, 0x1234) == b"\x40\x02\x12\x34"
    assert sent(packets.put_empty, packets.PINGREQ) == b"\xc0\x00"
    assert sent(packets.put_empty, packets.DISCONNECT) == b"\xe0\x00"


LENGTHS = (
    # Table 2.4
    (0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_383, b"\xff\x7f"),
    (16_384, b"\x80\x80\x01"), (2_097_151, b"\xff\xff\x7f"), (2_097_152, b"\x80\x80\x80\x01"),
    (268_435_455, b"\xff\xff\xff\x7f"),
)  # fmt: skip


def test_remaining_lengths_are_those_of_table_2_4():
    for size, field in LENGTHS:
        buffer = b"\x30" + field
        assert packets.read_remaining_length(buffer, len(buffer)) == (
            len(buffer),
            len(buffer) + size,
        )
        for end in range(len(buffer)):
            assert packets.read_remaining_length(buffer, end) == (0, 0)
    assert code_of(packets.read_remaining_length, b"\x30\xff\xff\xff\xff", 5) == "mqtt.malformed"


def test_remaining_lengths_are_written_as_in_table_2_4():
    buffer = bytearray(20_000)
    for size, field in LENGTHS[1:5]:
        packets.put_publish(buffer, "a", bytes(size - 3), 0, False, 0, False)
        assert bytes(buffer[1 : 1 + len(field)]) == field


def test_a_packet_that_does_not_fit_is_refused_before_anything_is_written():
    for room in range(9):
        buffer = bytearray(b"\xee" * room)
        put = packets.put_publish
        assert code_of(put, buffer, "a/b", b"", 1, False, 10, False) == "mqtt.too-large"
        assert bytes(buffer) == b"\xee" * room
    assert packets.put_publish(bytearray(9), "a/b", b"", 1, False, 10, False) == 9


def test_a_field_longer_than_its_length_can_say_is_refused():
    buffer = bytearray(70_000)
    topic = "x" * 65_536
    assert code_of(packets.put_publish, buffer, topic, b"", 0, False, 0, False) == "mqtt.too-large"


def test_topic_names_have_no_wildcards():
    for bad in ("", "a/+", "#", "a\0b"):
        assert code_of(packets.check_topic, bad) == "mqtt.bad-topic"
        assert code_of(sent, packets.put_publish, bad, b"", 0, False, 0, False) == "mqtt.bad-topic"
    packets.check_topic("$SYS/a//b ")


def test_topic_filters_have_wildcards_at_whole_levels():
    # Section 4.7.1, the valid and the not valid ones.
    for good in (
        "sport/tennis/player1/#",
        "#",
        "sport/#",
        "+",
        "+/tennis/#",
        "sport/+/player1",
        "/",
    ):
        packets.check_filter(good)
    for bad in ("", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "a/b+/c", "#/a", "a\0"):
        assert code_of(packets.check_filter, bad) == "mqtt.bad-topic", bad


MATCHES = (
    # Sections 4.7.1.2, 4.7.1.3 and 4.7.2
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "a/b", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/uptime", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/uptime", True),
    ("a/b", "a/b", True),
    ("a/b", "A/b", False),
    ("a/b/c", "a/b", False),
)


def test_filters_match_as_in_section_4_7():
    for topic_filter, topic, want in MATCHES:
        assert packets.matches(topic_filter, topic) == want, (topic_filter, topic)


def read(reader, packet):
    at, end = packets.read_remaining_length(packet, len(packet))
    assert end == len(packet)
    return reader(packet, at, end)


def test_connack_is_read():
    assert read(packets.read_connack, b"\x20\x02\x00\x00") == (False, 0)
    assert read(packets.read_connack, b"\x20\x02\x01\x00") == (True, 0)
    assert read(packets.read_connack, b"\x20\x02\x00\x05") == (False, 5)


def test_publish_is_read():
    seen = read(packets.read_publish, b"\x33\x09\x00\x03a/b\x00\x0ahi")
    assert seen == ("a/b", 9, 1, True, False, 10)
    assert read(packets.read_publish, b"\x30\x03\x00\x01a") == ("a", 5, 0, False, False, 0)
    assert read(packets.read_publish, b"\x3d\x05\x00\x01a\x00\x01")[2:5] == (2, True, True)


def test_suback_and_acknowledgements_are_read():
    assert read(packets.read_suback, b"\x90\x03\x00\x0a\x01") == (10, 1)
    assert read(packets.read_suback, b"\x90\x03\x00\x0a\x80") == (10, 128)
    assert read(packets.read_ack, b"\x40\x02\x12\x34") == 0x1234


MALFORMED = (
    ("read_connack", b"\x21\x02\x00\x00"),  # flags
    ("read_connack", b"\x20\x01\x00"),
    ("read_connack", b"\x20\x03\x00\x00\x00"),  # a trailing byte
    ("read_connack", b"\x20\x02\x02\x00"),
    ("read_connack", b"\x20\x02\x01\x05"),  # session present with a refusal
    ("read_publish", b"\x36\x05\x00\x01a\x00\x01"),  # QoS 3
    ("read_publish", b"\x38\x03\x00\x01a"),  # DUP at QoS 0
    ("read_publish", b"\x30\x00"),
    ("read_publish", b"\x30\x01\x00"),
    ("read_publish", b"\x30\x03\x00\x02a"),
    ("read_publish", b"\x30\x02\x00\x00"),  # empty topic
    ("read_publish", b"\x30\x03\x00\x01#"),
    ("read_publish", b"\x30\x03\x00\x01\x00"),
    ("read_publish", b"\x30\x03\x00\x01\xff"),  # not UTF-8
    ("read_publish", b"\x32\x03\x00\x01a"),  # no packet identifier
    ("read_publish", b"\x32\x04\x00\x01a\x00"),
    ("read_publish", b"\x32\x05\x00\x01a\x00\x00"),  # packet identifier 0
    ("read_ack", b"\x40\x02\x00\x00"),
    ("read_ack", b"\x40\x01\x01"),
    ("read_ack", b"\x40\x03\x00\x01\x00"),
    ("read_ack", b"\x42\x02\x00\x01"),
    ("read_suback", b"\x90\x02\x00\x01"),
    ("read_suback", b"\x90\x03\x00\x01\x03"),
    ("read_suback", b"\x90\x03\x00\x00\x01"),
    ("read_suback", b"\x90\x04\x00\x01\x01\x01"),
    ("read_suback", b"\x92\x03\x00\x01\x01"),
    ("read_pingresp", b"\xd0\x01\x00"),
    ("read_pingresp", b"\xd1\x00"),
)


def test_malformed_packets_are_refused():
    for name, packet in MALFORMED:
        assert code_of(read, getattr(packets, name), packet) == "mqtt.malformed", (name, packet)
