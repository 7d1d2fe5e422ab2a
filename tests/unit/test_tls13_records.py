"""Records of TLS 1.3 against those of RFC 8448, byte by byte, and broken ones."""

from device_support import code_of
from rfc8448 import octets

from keyfob.tls.protection13 import Protection13

APPLICATION_DATA = 23
HANDSHAKE = 22
ALERT = 21


def opened(protection, record):
    """(type, content) of a whole record."""
    buffer = bytearray(record[5:])
    found = protection.open(buffer, len(buffer), record[0])
    if not found:
        return None
    kind, start, end = found
    return kind, bytes(buffer[start:end])


def sealed(protection, kind, content):
    """The whole record."""
    buffer = bytearray(5 + len(content) + protection.suffix)
    buffer[5 : 5 + len(content)] = content
    end = protection.seal(buffer, 0, 5 + len(content), kind)
    return bytes(buffer[:end])


def test_flight_of_the_server_is_opened():
    protection = Protection13(octets("3.server-handshake-traffic"))
    found = opened(protection, octets("3.server-flight-record"))
    assert found == (HANDSHAKE, octets("3.server-flight"))


def test_finished_of_the_client_is_sealed():
    protection = Protection13(octets("3.client-handshake-traffic"))
    record = sealed(protection, HANDSHAKE, octets("3.client-finished"))
    assert record == octets("3.client-finished-record")


def test_records_in_a_row_have_each_their_nonce():
    protection = Protection13(octets("3.server-application-traffic"))
    for name, found in (
        ("3.ticket-record", (HANDSHAKE, octets("3.ticket"))),
        ("3.server-data-record", (APPLICATION_DATA, octets("3.application-data"))),
        ("3.server-close-record", (ALERT, b"\1\0")),
    ):
        assert opened(protection, octets(name)) == found
    protection = Protection13(octets("3.client-application-traffic"))
    record = sealed(protection, APPLICATION_DATA, octets("3.application-data"))
    assert record == octets("3.client-data-record")
    assert sealed(protection, ALERT, b"\1\0") == octets("3.client-close-record")
    assert protection.sequence == 2


def test_record_with_any_bit_changed_is_not_genuine():
    record = octets("3.client-data-record")
    for at in range(5, len(record)):
        broken = bytearray(record)
        broken[at] ^= 1 << at % 8
        protection = Protection13(octets("3.client-application-traffic"))
        assert opened(protection, broken) is None


def test_record_cut_or_grown_is_not_genuine():
    record = octets("3.client-data-record")
    for size in (5, 6, 21, 22, 23, 71):
        protection = Protection13(octets("3.client-application-traffic"))
        assert opened(protection, record[:size]) is None
    protection = Protection13(octets("3.client-application-traffic"))
    assert opened(protection, record + b"\0") is None


def test_padding_is_taken_off():
    for content in (b"", b"x", b"\0\0", bytes(50)):
        secret = octets("3.client-application-traffic")
        record = sealed(Protection13(secret), 0, content + b"\x17" + bytes(30))
        assert opened(Protection13(secret), record) == (APPLICATION_DATA, content)


def test_zeros_alone_are_refused():
    secret = octets("3.client-application-traffic")
    for size in (0, 1, 64):
        record = sealed(Protection13(secret), 0, bytes(size))
        assert code_of(opened, Protection13(secret), record) == "tls.unexpected-message"


def test_content_of_another_type_is_refused():
    secret = octets("3.client-application-traffic")
    for kind in (1, 20, 24, 255):
        record = sealed(Protection13(secret), 0, b"content" + bytes((kind, 0)))
        assert code_of(opened, Protection13(secret), record) == "tls.unexpected-message"


def test_record_beyond_the_limit_is_left_with_its_padding():
    """So that whoever counts the content finds too much of it."""
    secret = octets("3.client-application-traffic")
    for size in (63, 64, 65):
        receiver = Protection13(secret)
        receiver.limit = 64
        record = sealed(Protection13(secret), 0, b"\x17" + bytes(size - 2))
        want = b"" if size <= 64 else b"\x17" + bytes(64)
        assert opened(receiver, record) == (APPLICATION_DATA, want)


def test_record_in_clear_is_refused():
    protection = Protection13(octets("3.client-application-traffic"))
    for kind in (20, 21, 22, 24):
        code = code_of(protection.open, bytearray(40), 40, kind)
        assert code == "tls.unexpected-message"


def test_both_sides_go_on_under_the_next_secret():
    secret = octets("3.client-application-traffic")
    sender, receiver = Protection13(secret), Protection13(secret)
    for _ in range(3):
        assert opened(receiver, sealed(sender, 23, b"a")) == (23, b"a")
        old = sealed(sender, 23, b"b")
        sender.update()
        receiver.update()
        assert sender.sequence == receiver.sequence == 0
        assert opened(receiver, old) is None
        receiver.sequence = 0
