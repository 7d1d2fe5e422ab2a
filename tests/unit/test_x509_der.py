"""keyfob.pki.der: DER, and nothing that only looks like it.

The elements are X.690's own examples and edge cases, and what its section 10 and 11
(DER) forbid of section 8 (BER).
"""

from device_support import code_of, refusal

from keyfob.pki.der import Reader, hex_text, oid_text

INTEGER, BITS, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x30


def reader_of(text):
    return Reader(bytes(int(text[at : at + 2], 16) for at in range(0, len(text), 3)))


def test_an_element_is_entered_and_left_behind_it():
    reader = reader_of("30 06 02 01 05 04 01 ff 05 00")
    outer = reader.enter(SEQUENCE)
    assert bytes(reader.integer()) == b"\x05"
    assert bytes(reader.take(OCTETS)) == b"\xff"
    assert reader.peek() == -1
    reader.leave(outer)
    assert reader.peek() == NULL
    assert bytes(reader.whole(NULL)) == b"\x05\x00"
    reader.finish()


def test_what_is_handed_out_is_a_view_of_the_buffer():
    der = bytearray(b"\x04\x02ab")
    content = Reader(der).take(OCTETS)
    der[2] = 0x7A
    assert bytes(content) == b"zb"


def test_a_long_length_has_the_fewest_bytes():
    for size in (0, 1, 0x7F):
        assert len(Reader(bytes((4, size)) + bytes(size)).take(OCTETS)) == size
    for size in (0x80, 0xFF):
        assert len(Reader(bytes((4, 0x81, size)) + bytes(size)).take(OCTETS)) == size
    for size in (0x100, 0x1234):
        header = bytes((4, 0x82, size >> 8, size & 0xFF))
        assert len(Reader(header + bytes(size)).take(OCTETS)) == size


def test_a_length_that_is_not_ders_is_refused():
    for text in (
        "04",  # none
        "04 80 00 00",  # indefinite (8.1.3.6)
        "04 81 7f" + " 00" * 127,  # one byte is enough (10.1)
        "04 82 00 ff" + " 00" * 255,
        "04 ff 00",  # reserved (8.1.3.5)
        "04 81",  # cut
        "04 82 01",
        "04 05 00 00 00 00",  # longer than what is there
    ):
        assert code_of(reader_of(text).take, OCTETS) == "x509.malformed", text
    long = b"\x04\x83\1\0\0" + bytes(65_536)  # longer than anything here
    assert code_of(Reader(long).take, OCTETS) == "x509.malformed"


def test_an_inner_element_cannot_reach_beyond_the_outer_one():
    reader = reader_of("30 03 04 02 00 00")
    reader.enter(SEQUENCE)
    assert "2 bytes, 1 are left" in refusal(reader.take, OCTETS).detail


def test_another_tag_is_refused_with_both():
    assert refusal(reader_of("31 00").enter, SEQUENCE).detail == "offset 0: tag 49, want 48"
    assert refusal(reader_of("31 00").take, SEQUENCE).detail == "offset 0: tag 49, want 48"
    assert refusal(Reader(b"").take, SEQUENCE).detail == "offset 0: tag -1, want 48"


def test_nothing_may_be_left_over():
    reader = reader_of("30 04 05 00 05 00 00")
    outer = reader.enter(SEQUENCE)
    reader.skip()
    assert code_of(reader.leave, outer) == "x509.malformed"
    reader.skip()
    reader.leave(outer)
    assert code_of(reader.finish) == "x509.malformed"


def test_tags_of_more_bytes_and_end_of_contents_are_refused():
    for text in ("1f 81 01 00", "3f 21 00", "bf 8a 00", "00 00", ""):
        assert code_of(reader_of(text).skip) == "x509.malformed", text
    assert reader_of("a3 02 05 00").skip() == 0xA3


def test_integers_are_not_negative_and_have_no_byte_too_many():
    for text, magnitude in (
        ("02 01 00", b"\0"),
        ("02 01 7f", b"\x7f"),
        ("02 02 00 80", b"\x80"),
        ("02 02 01 00", b"\1\0"),
        ("02 03 00 ff ff", b"\xff\xff"),
    ):
        assert bytes(reader_of(text).integer()) == magnitude
    for text in ("02 00", "02 01 80", "02 01 ff", "02 02 ff 7f", "02 02 ff 80", "02 02 00 7f",
                 "02 02 00 00", "01 01 00", "02 02 01"):  # fmt: skip
        assert code_of(reader_of(text).integer) == "x509.malformed", text


def test_small_integers_have_a_limit():
    assert reader_of("02 01 05").small_integer(5) == 5
    assert reader_of("02 03 00 ff ff").small_integer(0xFFFF) == 0xFFFF
    for text in ("02 01 06", "02 02 01 00", "02 03 01 00 00", "02 09 01 00 00 00 00 00 00 00 05"):
        assert code_of(reader_of(text).small_integer, 5) == "x509.malformed", text


def test_a_boolean_is_there_when_it_is_true():
    assert reader_of("01 01 ff").is_true()
    assert not reader_of("04 00").is_true()
    assert not Reader(b"").is_true()
    for text in ("01 01 00", "01 01 01", "01 01 fe", "01 00", "01 02 ff ff"):
        assert code_of(reader_of(text).is_true) == "x509.malformed", text


def test_bits_are_whole_bytes():
    assert bytes(reader_of("03 03 00 0a 3b").bit_string()) == b"\x0a\x3b"
    for text in ("03 00", "03 01 00", "03 02 04 f0", "03 02 08 00", "23 80 03 02 00 0a 00 00"):
        assert code_of(reader_of(text).bit_string) == "x509.malformed", text


def test_object_identifiers_are_whole_and_short():
    assert oid_text(reader_of("06 03 55 1d 11").oid()) == "2.5.29.17"
    assert oid_text(reader_of("06 06 2a 86 48 86 f7 0d").oid()) == "1.2.840.113549"
    assert oid_text(reader_of("06 03 88 37 03").oid()) == "2.999.3"  # X.690 section 8.19.5
    assert oid_text(reader_of("06 01 00").oid()) == "0.0"
    for text in ("06 00", "06 01 80", "06 02 55 9d", "06 03 80 1d 11", "06 03 55 80 01",
                 "06 21" + " 01" * 33):  # fmt: skip
        assert code_of(reader_of(text).oid) == "x509.malformed", text


def test_evidence_shows_eight_bytes():
    assert hex_text(bytes(range(250, 256))) == "fafbfcfdfeff"
    assert hex_text(bytes(40)) == "00" * 8
