"""keyfob.mqtt.properties: blocks of MQTT 5.0 section 2.2.2, laid out by hand."""

from device_support import code_of

from keyfob.mqtt import properties
from keyfob.mqtt.properties import WILL, decode, encode

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 2, 3, 8, 14
BLOCKS = (
    # (packet type, properties, block), one of each form
    (PUBLISH, None, b"\x00"),
    (PUBLISH, {"payload_format_indicator": 1}, b"\x02\x01\x01"),
    (CONNECT, {"receive_maximum": 258}, b"\x03\x21\x01\x02"),
    (CONNECT, {"session_expiry_interval": 0x01020304}, b"\x05\x11\x01\x02\x03\x04"),
    (SUBSCRIBE, {"subscription_identifier": [300]}, b"\x03\x0b\xac\x02"),
    (PUBLISH, {"content_type": "a/b"}, b"\x06\x03\x00\x03a/b"),
    (PUBLISH, {"correlation_data": b"\xff\0"}, b"\x05\x09\x00\x02\xff\x00"),
    (
        DISCONNECT,
        {"user_property": [("a", "1"), ("a", "")]},
        b"\x0d\x26\x00\x01a\x00\x011\x26\x00\x01a\x00\x00",
    ),
    (WILL, {"will_delay_interval": 5}, b"\x05\x18\x00\x00\x00\x05"),
)


def test_blocks_are_written_as_section_2_2_2_says():
    for kind, values, block in BLOCKS:
        assert encode(values, kind) == block, values


def test_blocks_are_read_as_they_were_written_wherever_they_stand():
    for kind, values, block in BLOCKS:
        view = memoryview(b"xx" + block + b"yy")
        end = len(view)
        assert decode(view, 2, end, end, kind) == (end - 2, values)


def test_a_length_of_more_than_one_byte_is_written_and_read():
    values = {"user_property": [("k", "v" * 200)]}
    block = encode(values, PUBLISH)
    assert block[:2] == b"\xce\x01"
    assert decode(memoryview(block), 0, 208, 208, PUBLISH) == (208, values)


WRONG = (
    {"content_type": 5}, {"content_type": b"x"}, {"correlation_data": "x"},
    {"message_expiry_interval": -1}, {"message_expiry_interval": 1 << 32},
    {"message_expiry_interval": "x"}, {"content_type": "x" * 65_536},
    {"user_property": ["x"]}, {"user_property": 5},
    {"receive_maximum": 5},  # not in a PUBLISH
    {"content_type": ["a", "b"]}, {"no_such_property": 1}, {"subscription_identifier": [0]},
)  # fmt: skip


def test_what_is_no_property_of_the_packet_is_refused():
    for values in WRONG:
        assert code_of(encode, values, PUBLISH) == "mqtt.bad-property", values


MALFORMED = (
    b"", b"\x02\x01", b"\x01\x01",  # lengths
    b"\x02\x00\x01", b"\x02\x04\x01",  # no such identifier
    b"\x03\x21\x00\x01",  # of another packet
    b"\x07\x26\x00\x01\xff\x00\x01v", b"\x07\x26\x00\x01k\x00\x01\x00",  # pairs
    b"\x04\x26\x00\x01k",
    b"\x80\x00", b"\x82\x00\x01\x01", b"\x03\x0b\x87\x00",  # more bytes than needed: 1.5.5-1
    b"\x04\x03\x00\x05a", b"\x04\x03\x00\x01\xff",  # strings
    b"\x03\x0b\xff\xff", b"\x06\x0b\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x01",
)  # fmt: skip


def test_malformed_blocks_are_refused():
    for block in MALFORMED:
        size = len(block)
        assert code_of(decode, memoryview(block), 0, size, size, PUBLISH) == "mqtt.malformed", block


def test_what_the_specification_calls_a_protocol_error_is_one():
    # Twice: sections 3.3.2.3.2 to .7; a subscription identifier of 0: 3.3.2.3.8.
    for block in (
        b"\x04\x01\x01\x01\x01", b"\x0a\x02\x00\x00\x00\x01\x02\x00\x00\x00\x01",
        b"\x08\x03\x00\x01a\x03\x00\x01a", b"\x06\x23\x00\x01\x23\x00\x01", b"\x02\x0b\x00",
    ):  # fmt: skip
        size = len(block)
        code = code_of(decode, memoryview(block), 0, size, size, PUBLISH)
        assert code == "mqtt.unexpected", block


def test_each_property_is_refused_in_packets_that_do_not_have_it():
    # MQTT 5.0 table 2-4: identifier, form, packet types (0 stands for the will).
    allowed = (
        (0x01, "1", (3, 0)), (0x02, "4", (3, 0)), (0x03, "s", (3, 0)), (0x08, "s", (3, 0)),
        (0x09, "s", (3, 0)), (0x0B, "1", (3, 8)), (0x11, "4", (1, 2, 14)), (0x12, "s", (2,)),
        (0x13, "2", (2,)), (0x15, "s", (1, 2, 15)), (0x16, "s", (1, 2, 15)), (0x17, "1", (1,)),
        (0x18, "4", (0,)), (0x19, "1", (1,)), (0x1A, "s", (2,)), (0x1C, "s", (2, 14)),
        (0x1F, "s", (2, 4, 5, 6, 7, 9, 11, 14, 15)), (0x21, "2", (1, 2)), (0x22, "2", (1, 2)),
        (0x23, "2", (3,)), (0x24, "1", (2,)), (0x25, "1", (2,)),
        (0x26, "p", (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15)), (0x27, "4", (1, 2)),
        (0x28, "1", (2,)), (0x29, "1", (2,)), (0x2A, "1", (2,)),
    )  # fmt: skip
    values = {
        "1": b"\x01", "2": b"\x00\x01", "4": b"\x00\x00\x00\x01", "s": b"\x00\x01a",
        "p": b"\x00\x01a\x00\x01b",
    }  # fmt: skip
    known = {}
    for identifier, form, kinds in allowed:
        known[identifier] = form, kinds
    for identifier in range(256):
        form, kinds = known.get(identifier, ("1", ()))
        block = bytes((1 + len(values[form]), identifier)) + values[form]
        size = len(block)
        for kind in range(16):
            view = memoryview(block)
            if kind in kinds:
                assert decode(view, 0, size, size, kind)[0] == size, (identifier, kind)
            else:
                assert code_of(decode, view, 0, size, size, kind) == "mqtt.malformed"


def test_what_only_a_broker_may_say_is_not_sent():
    # Sections 3.3.4 (MQTT-3.3.4-6) and 3.8.2.1.2.
    identifiers = {"subscription_identifier": [1]}
    assert code_of(encode, identifiers, PUBLISH) == "mqtt.bad-property"
    identifiers["subscription_identifier"] = [1, 2]
    assert code_of(encode, identifiers, SUBSCRIBE) == "mqtt.bad-property"


def test_a_response_topic_is_a_topic_name():
    # MQTT-3.3.2-14
    assert encode({"response_topic": "a/b"}, PUBLISH) == b"\x06\x08\x00\x03a/b"
    for bad in ("a/+", "#", ""):
        assert code_of(encode, {"response_topic": bad}, PUBLISH) == "mqtt.bad-topic"


def test_a_block_longer_than_what_is_there_is_too_large():
    view = memoryview(b"\x20" + bytes(9))
    assert code_of(decode, view, 0, 100, 10, PUBLISH) == "mqtt.too-large"


def test_every_name_of_the_table_is_written_and_read():
    samples = {"1": 1, "2": 2, "4": 4, "v": [7], "s": "s", "b": b"b", "p": [("n", "v")]}
    for row in properties._TABLE.split("\n")[1:-1]:
        _, form, packets, name = row.split(" ")
        packets = int(packets, 16)
        kind = 0
        while not packets >> kind & 1 or (form == "v" and kind != SUBSCRIBE):
            kind += 1
        block = encode({name: samples[form]}, kind)
        size = len(block)
        assert decode(memoryview(block), 0, size, size, kind) == (size, {name: samples[form]})
