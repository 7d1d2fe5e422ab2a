"""keyfob.tls.records: what the records of a handshake show, in pieces of any size.

The bytes are laid out by hand after RFC 5246 sections 6.2.1 and 7.2.
"""

from device_support import HERE  # noqa: F401 - puts the firmware on the path

from keyfob.tls.records import RecordWatch

SERVER_HELLO = b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"
CHANGE_CIPHER_SPEC = b"\x14\x03\x03\x00\x01\x01"
FINISHED = b"\x16\x03\x03\x00\x28" + b"\xaa" * 40
UNKNOWN_CA = b"\x15\x03\x03\x00\x02\x02\x30"


def watch(data, piece):
    seen = RecordWatch()
    for at in range(0, len(data), piece):
        part = bytearray(data[at : at + piece])
        seen.feed(part, len(part))
    return seen


def test_the_handshake_is_over_with_the_record_after_the_cipher_change():
    data = SERVER_HELLO * 3 + CHANGE_CIPHER_SPEC + FINISHED
    for piece in (1, 2, 3, 5, 7, 64, 1000):
        assert watch(data, piece).is_over, piece
        assert not watch(data[:-1], piece).is_over, piece
        assert not watch(SERVER_HELLO * 9, piece).is_over


def test_an_alert_in_clear_gives_its_number():
    for piece in (1, 2, 3, 4, 5, 6, 7, 100):
        assert watch(SERVER_HELLO + UNKNOWN_CA, piece).alert == 48, piece
    assert watch(SERVER_HELLO + UNKNOWN_CA[:-1], 1).alert == -1


def test_an_alert_behind_the_cipher_change_is_ciphertext():
    data = CHANGE_CIPHER_SPEC + b"\x15\x03\x03\x00\x1a" + b"\x30" * 26
    assert watch(data, 4).alert == -1


def test_what_is_no_tls_shows_at_its_first_bytes():
    for data in (b"HTTP/1.1 400", b"\x20\x02\x00\x00", b"\x00", b"\x16\x02", b"\x18\x03"):
        assert not watch(data, 1).is_tls, data
    assert watch(SERVER_HELLO, 1).is_tls


def test_nothing_is_read_behind_the_end_of_the_handshake():
    seen = watch(CHANGE_CIPHER_SPEC + FINISHED + b"anything", 1000)
    assert seen.is_over and seen.is_tls and seen.alert == -1
    assert seen.seen_bytes == len(CHANGE_CIPHER_SPEC + FINISHED) + 8


def test_an_empty_record_is_a_record():
    assert watch(b"\x16\x03\x03\x00\x00" + UNKNOWN_CA, 1).alert == 48
