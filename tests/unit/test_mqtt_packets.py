"""keyfob.mqtt.publish, connect, subscribe: bytes of the OASIS specification, and what is refused.

Expected bytes are the examples of MQTT 3.1.1 (figures and tables named) or laid out
by hand after its sections; none comes from our own encoder.
"""

from device_support import code_of
from mqtt_steps import feed, opened

from keyfob.inbox import matches
from keyfob.mqtt import connect, properties, subscribe
from keyfob.mqtt import publish as wire


def sent(put, *arguments, at=3):
    """What ``put`` writes at an offset, and that it writes nothing before it."""
    buffer = bytearray(b"\xee" * 300)
    end = put(buffer, at, *arguments)
    assert bytes(buffer[:at]) == b"\xee" * at
    return bytes(buffer[at:end])


def publish(topic, payload, first=0x30, packet_id=0, properties=b""):
    return (first, topic, packet_id, properties, payload, len(payload))


def test_connect_is_figure_3_6():
    # User name, password, will retain 0, will QoS 1, will, clean session; keep alive 10.
    will = ("a/b", b"gone", 1, False)
    packet = sent(connect.put_connect, "id", 10, True, will, "me", "pw")
    head = b"\x00\x04MQTT\x04\xce\x00\x0a"
    rest = b"\x00\x02id\x00\x03a/b\x00\x04gone\x00\x02me\x00\x02pw"
    assert packet == b"\x10" + bytes([len(head + rest)]) + head + rest


def test_connect_without_extras_has_no_flags():
    assert (
        sent(connect.put_connect, "x", 60, False)
        == b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01x"
    )


def test_a_retained_will_of_qos_2_sets_its_bits():
    packet = sent(connect.put_connect, "x", 60, False, ("t", b"", 2, True))
    assert packet[9] == 0x20 | 0x10 | 0x04


def test_connect_of_5_0_has_its_properties_behind_the_keep_alive_and_in_the_will():
    # MQTT 5.0 sections 3.1.2.11 and 3.1.3.2: session expiry 10, will delay 5.
    will = ("t", b"x", 0, False)
    packet = sent(
        connect.put_connect, "c", 10, True, will, "", "", 5,
        b"\x05\x11\x00\x00\x00\x0a", b"\x05\x18\x00\x00\x00\x05",
    )  # fmt: skip
    want = b"\x00\x04MQTT\x05\x06\x00\x0a\x05\x11\x00\x00\x00\x0a\x00\x01c"
    want += b"\x05\x18\x00\x00\x00\x05\x00\x01t\x00\x01x"
    assert packet == b"\x10" + bytes([len(want)]) + want


def test_publish_is_figure_3_11():
    # Section 3.3.2.3: topic a/b, packet identifier 10.
    put = wire.put_publish
    assert sent(put, *publish("a/b", b"", 0x32, 10)) == b"\x32\x07\x00\x03a/b\x00\x0a"
    assert sent(put, *publish("a/b", b"hi", 0x31)) == b"\x31\x07\x00\x03a/bhi"
    assert sent(put, *publish("a/b", b"x", 0x3A, 10, b"\x00")) == (
        b"\x3a\x09\x00\x03a/b\x00\x0a\x00x"
    )


def test_the_head_of_a_payload_that_follows_by_itself_has_the_length_of_all():
    packet = sent(wire.put_publish, 0x30, "a", 0, b"", None, 1_000_000)
    assert packet == b"\x30\xc3\x84\x3d\x00\x01a"  # 1,000,003


def test_subscribe_and_unsubscribe_are_of_sections_3_8_and_3_10():
    assert sent(subscribe.put_subscribe, 10, "a/b", 1) == b"\x82\x08\x00\x0a\x00\x03a/b\x01"
    assert sent(subscribe.put_subscribe, 10, "a/b", -1) == b"\xa2\x07\x00\x0a\x00\x03a/b"
    assert sent(subscribe.put_subscribe, 10, "a/b", 46, b"\x02\x0b\x01") == (
        b"\x82\x0b\x00\x0a\x02\x0b\x01\x00\x03a/b\x2e"
    )


def test_a_packet_without_content_is_its_fixed_header():
    assert sent(wire.put_header, 0xC0, 0) == b"\xc0\x00"
    assert sent(wire.put_header, 0xE0, 0) == b"\xe0\x00"


LENGTHS = (
    # Table 2.4
    (0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_383, b"\xff\x7f"),
    (16_384, b"\x80\x80\x01"), (2_097_151, b"\xff\xff\x7f"), (2_097_152, b"\x80\x80\x80\x01"),
    (268_435_455, b"\xff\xff\xff\x7f"),
)  # fmt: skip


def test_remaining_lengths_are_those_of_table_2_4():
    for size, field in LENGTHS:
        buffer = b"\x30" + field
        assert wire.read_remaining_length(buffer, 1, len(buffer)) == (len(buffer), size)
        for end in range(1, len(buffer)):
            assert wire.read_remaining_length(buffer, 1, end) == (0, 0)
        longer = field
        while len(longer) < 4:
            longer = longer[:-1] + bytes((longer[-1] | 128, 0))
            assert code_of(wire.read_remaining_length, longer, 0, len(longer)) == "mqtt.malformed"
    assert code_of(wire.read_remaining_length, b"\xff\xff\xff\xff", 0, 4) == "mqtt.malformed"


def test_remaining_lengths_are_written_as_in_table_2_4():
    for size, field in LENGTHS:
        assert sent(wire.put_header, 0x30, size, 0) == b"\x30" + field
    assert code_of(sent, wire.put_header, 0x30, 268_435_456, 0) == "mqtt.too-large"


def test_a_packet_that_does_not_fit_is_refused_before_anything_is_written():
    put = wire.put_publish
    what = publish("a/b", b"", 0x32, 10)
    for room in range(9):
        buffer = bytearray(b"\xee" * (room + 2))
        assert code_of(put, buffer, 2, *what) == "mqtt.too-large"
        assert bytes(buffer) == b"\xee" * (room + 2)
    assert put(bytearray(11), 2, *what) == 11


def test_a_field_longer_than_its_length_can_say_is_refused():
    buffer = bytearray(70_000)
    name = "x" * 65_536
    assert code_of(connect.put_connect, buffer, 0, name, 1, True) == "mqtt.too-large"


def test_topic_names_have_no_wildcards():
    for bad in ("", "a/+", "#", "a\0b"):
        assert code_of(wire.check_topic, bad) == "mqtt.bad-topic"
        assert code_of(sent, connect.put_connect, "x", 1, True, (bad, b"", 0, 0)) == (
            "mqtt.bad-topic"
        )
    wire.check_topic("$SYS/a//b ")


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
        "$share/name/a/+",
        "$share/name/#",
        "$share/name//a",
        "$share/name//",
        "$SYS/#",
        "/+//#",
    ):
        subscribe.check_filter(good)
    for bad in (
        "",
        "sport/tennis#",
        "sport/tennis/#/ranking",
        "sport+",
        "a/b+/c",
        "#/a",
        "a\0",
        "$share/a",
        "$share//a",
        "$share/+/a",
        "$share/a+/b",
        "$share/name/",
        "$share/#/a",
        "$share",
    ):
        assert code_of(subscribe.check_filter, bad) == "mqtt.bad-topic", bad


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
    ("$share/name/a/+", "a/b", True),
    ("$share/name/a/+", "b/b", False),
    ("$share/name/#", "$SYS/uptime", False),
)


def test_filters_match_as_in_section_4_7():
    for topic_filter, topic, want in MATCHES:
        assert matches(topic_filter, topic) == want, (topic_filter, topic)


# What RFC 3629 (section 3 and its ABNF) leaves out, from tests of decoders: NUL, # and / in two
# and three bytes, surrogates, a pair of them, above U+10FFFF, what ends early.
BAD_TEXTS = (
    b"\xff", b"\xc3", b"\0", b"a\0b", b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xc0\xa3",
    b"a\xe0\x80\xafb", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xe0\x9f\xbf", b"\xc1\xbf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"a\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
)  # fmt: skip
GOOD_TEXTS = (
    (b"A\xf0\xaa\x9b\x94", "A\U0002a6d4"),  # section 1.5.3.1
    (b"\xc2\x80\xdf\xbf\xe0\xa0\x80", "\x80\u07ff\u0800"), (b"\xed\x9f\xbf", "\ud7ff"),
    (b"\xee\x80\x80", "\ue000"), (b"\xf0\x90\x80\x80", "\U00010000"),
    (b"\xf4\x8f\xbf\xbf", "\U0010ffff"), (b"\xef\xbb\xbfa", "\ufeffa"),  # and BOM stays: 1.5.3-3
)  # fmt: skip


def test_text_is_well_formed_utf_8_without_nul():
    read = properties._read_text
    for good, text in GOOD_TEXTS:
        assert read(memoryview(b"x" + good + b"x"), 1, len(good)) == text
    for bad in BAD_TEXTS:
        assert code_of(read, memoryview(bad), 0, len(bad)) == "mqtt.malformed", bad


def test_topics_that_come_are_well_formed_utf_8_without_nul():
    for good, text in GOOD_TEXTS:
        size = len(good)
        (event,) = feed(opened(), bytes([0x30, size + 2, 0, size]) + good)
        assert event[1] == text
    for bad in BAD_TEXTS:
        size = len(bad)
        packet = bytes([0x30, size + 2, 0, size]) + bad
        assert code_of(feed, opened(), packet) == "mqtt.malformed", bad


def test_topics_filters_and_user_names_that_go_out_are_well_formed_utf_8_without_nul():
    bad_texts = [chr(0xD800), "a" + chr(0xDFFF)]
    for bad in BAD_TEXTS:
        try:
            text = bad.decode()  # MicroPython reads most of them
        except ValueError:
            continue
        bad_texts.append(text)
    for bad in bad_texts:
        assert code_of(wire.check_topic, bad) == "mqtt.bad-topic"
        assert code_of(subscribe.check_filter, bad + "/#") == "mqtt.bad-topic"
        for form, name in (("s", "content_type"), ("p", "user_property")):
            value = bad if form == "s" else [("k", bad)]
            assert code_of(properties.encode, {name: value}, 3) == "mqtt.bad-property"
    for _, good in GOOD_TEXTS:
        wire.check_topic(good)
        subscribe.check_filter(good + "/+")
        properties.encode({"content_type": good}, 3)
    for name in ("a\0b", "\0", chr(0xD800), "a" + chr(0xDFFF)):
        assert code_of(sent, connect.put_connect, "x", 1, True, None, name) == "config.bad-value"
    for name in ("a", chr(0xD7FF), chr(0xE000), chr(0x10FFFF)):
        assert sent(connect.put_connect, "x", 1, True, None, name).endswith(name.encode())


def test_a_password_alone_is_of_5_0_only():
    # 3.1.1 section 3.1.2.9; 5.0 section 3.1.2.9 "does not follow this".
    put = connect.put_connect
    assert code_of(sent, put, "x", 1, True, None, "", "pw") == "config.bad-value"
    packet = sent(put, "x", 1, True, None, "", "pw", 5, b"\0")
    assert packet == b"\x10\x12\x00\x04MQTT\x05\x42\x00\x01\x00\x00\x01x\x00\x02pw"


def test_a_qos_is_0_1_or_2():
    for bad in (3, 4, -1):
        assert code_of(wire.check_topic, "a", bad) == "mqtt.qos-not-supported"
        assert code_of(sent, connect.put_connect, "x", 1, True, ("t", b"", bad, 0)) == (
            "mqtt.qos-not-supported"
        )
