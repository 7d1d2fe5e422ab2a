"""The handshake of TLS 1.3 through RFC 8448's example with P-256, whole and with each
message changed; the parsers on their own."""

import tls13_example
from device_support import code_of
from rfc8448 import octets

from keyfob.tls import certificate13
from keyfob.tls.protection13 import Protection13


def split(flight):
    """The messages of a flight."""
    found = []
    while flight:
        size = 4 + (flight[1] << 16 | flight[2] << 8 | flight[3])
        found.append(flight[:size])
        flight = flight[size:]
    return found


class Sealer:
    """Protects messages as the RFC's server does."""

    def __init__(self):
        self.keys = Protection13(octets("5.server-handshake-traffic"))

    def record(self, content, kind=22):
        buffer = bytearray(5 + len(content) + 17)
        buffer[5 : 5 + len(content)] = content
        self.keys.seal(buffer, 0, 5 + len(content), kind)
        return bytes(buffer)


def after_hello():
    engine = tls13_example.waiting_for_server_hello()
    tls13_example.give(engine, octets("5.server-hello-record"))
    return engine


def code_after(*contents):
    """The code when the server's flight is these, each in a record; "" if none."""
    engine = after_hello()
    sealer = Sealer()
    try:
        for content in contents:
            tls13_example.give(engine, sealer.record(content))
    except Exception as error:
        assert error is engine.error
        return error.code
    return ""


def test_example_of_the_rfc_from_the_server_hello_on():
    for chunk in (1, 10, 1000):
        engine = tls13_example.waiting_for_server_hello()
        tls13_example.give(engine, octets("5.server-hello-record"), chunk)
        assert not len(engine.tx())
        tls13_example.give(engine, octets("5.server-flight-record"), chunk)
        assert engine.is_open and not engine.is_resumed
        assert bytes(engine.tx()) == octets("5.client-finished-record")
        engine.sent(len(engine.tx()))
        assert engine.late[0] == octets("5.resumption-master")
        engine.close()
        assert bytes(engine.tx()) == octets("5.client-close-record")
        engine.sent(len(engine.tx()))
        tls13_example.give(engine, octets("5.server-close-record"), chunk)
        assert engine.read(memoryview(bytearray(1))) == 0 and engine.is_closed


def test_flight_may_be_cut_into_records_anywhere():
    flight = octets("5.server-flight")
    for size in (1, 3, 64, 500):
        engine = sealer = None  # a board has no room for two
        engine = after_hello()
        sealer = Sealer()
        for at in range(0, len(flight), size):
            tls13_example.give(engine, sealer.record(flight[at : at + size]))
        assert engine.is_open


def test_messages_of_the_flight_come_in_their_order():
    messages = split(octets("5.server-flight"))
    extensions, certificate, verify, finished = messages
    assert [message[0] for message in messages] == [8, 11, 15, 20]
    assert code_after(*messages) == ""
    for wrong in (
        (certificate,),
        (verify,),
        (finished,),
        (extensions, extensions),
        (extensions, verify),
        (extensions, finished),
        (extensions, certificate, certificate),
        (extensions, certificate, finished),
        (extensions, certificate, verify, verify),
        (octets("6.certificate-request"),),
        (extensions, certificate, octets("6.certificate-request")),
    ):
        assert code_after(*wrong) == "tls.unexpected-message"


def test_certificate_request_is_answered_with_an_empty_chain():
    extensions, certificate, verify, _ = split(octets("5.server-flight"))
    # What is signed and finished is no longer what went by.
    code = code_after(extensions, octets("6.certificate-request"), certificate, verify)
    assert code == "tls.bad-signature"


def test_no_message_of_the_flight_can_be_changed():
    messages = split(octets("5.server-flight"))
    for index in range(len(messages)):
        for at in range(4, len(messages[index]), 97):
            changed = bytearray(messages[index])
            changed[at] ^= 0x55
            code = code_after(*messages[:index], changed, *messages[index + 1 :])
            assert code[:4] == "tls."


def test_nothing_of_the_server_hello_can_be_changed():
    record = octets("5.server-hello-record")
    flight = octets("5.server-flight-record")
    for at in range(5, len(record), 3):
        engine = tls13_example.waiting_for_server_hello()
        changed = bytearray(record)
        changed[at] ^= 0x21
        try:
            tls13_example.give(engine, changed)
            tls13_example.give(engine, flight)
        except Exception as error:
            assert error is engine.error and error.code[:4] == "tls."
        assert not engine.is_open


def test_schemes_of_a_certificate_request():
    schemes = certificate13.read_request(octets("6.certificate-request")[4:], True)
    assert schemes[:4] == b"\x04\x03\x05\x03" and len(schemes) == 30


def test_certificate_request_may_go_on_behind_its_head():
    schemes = b"\0\x0d\0\x04\0\x02\x04\x03"
    for before in (b"", b"\0\x2f\0\x02\0\0", b"\0\x12\0\0"):
        found = before + schemes + b"\0\x2f\x04\0" + bytes(1024)
        body = b"\0" + len(found).to_bytes(2, "big") + found
        for limit in range(3 + len(before) + len(schemes), 100):
            assert certificate13.read_request(body[:limit], False) == b"\x04\x03"


def test_certificate_request_without_schemes_in_its_head():
    found = b"\0\x2f\x04\0" + bytes(1024)
    body = b"\0" + len(found).to_bytes(2, "big") + found
    for limit in range(3, 60):
        refused = code_of(certificate13.read_request, body[:limit], False)
        assert refused == "tls.message-too-large"
