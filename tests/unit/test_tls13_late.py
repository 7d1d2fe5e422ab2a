"""An engine of TLS 1.3 behind the handshake: the rest of RFC 8448's first example, whole, in
pieces and broken."""

from device_support import IS_MICROPYTHON, code_of, refusal
from rfc8448 import octets

from keyfob.tls.engine import TLS13, Engine
from keyfob.tls.protection13 import Protection13

HANDSHAKE = 22
APPLICATION_DATA = 23
HOST = "broker.test"


def open_engine(**options):
    """As it is when the RFC's handshake is over."""
    engine = Engine(HOST, (), 1_000_000, **options)
    engine._handshake = None
    engine.is_open = True
    engine.version = TLS13
    engine.suite = 0x1301
    engine.rx_keys = Protection13(octets("3.server-application-traffic"))
    engine.tx_keys = Protection13(octets("3.client-application-traffic"))
    engine.late = (octets("3.resumption-master"), HOST, 1_000_000, 2_000_000)
    engine.sent(len(engine.tx()))
    return engine


class Server:
    """Seals what comes to ``engine``."""

    def __init__(self, engine):
        self._engine = engine
        self.keys = Protection13(octets("3.server-application-traffic"))

    def send(self, kind, content):
        buffer = bytearray(5 + len(content) + 17)
        buffer[5 : 5 + len(content)] = content
        self.keys.seal(buffer, 0, 5 + len(content), kind)
        give(self._engine, buffer)


def give(engine, raw, chunk=1 << 20):
    """Read whatever comes of it."""
    buffer = bytearray(100)
    found = b""
    at = 0
    while at < len(raw):
        room = engine.room()
        assert len(room)
        count = min(len(room), len(raw) - at, chunk)
        room[:count] = raw[at : at + count]
        engine.received(count)
        at += count
        count = 1
        while count:
            count = engine.read(memoryview(buffer))
            found += buffer[:count]
    return found


def test_rest_of_the_example_of_the_rfc():
    for chunk in (1, 2, 3, 100, 1000):
        engine = open_engine()
        assert give(engine, octets("3.ticket-record"), chunk) == b""
        session = engine.session
        assert session.secret == octets("3.resumption-psk")
        ticket = octets("3.ticket")
        assert ticket.find(session.ticket) > 0 and len(session.ticket) == 178
        assert session.extra == 0xFAD6AAC5 and session.life_s == 30
        data = octets("3.application-data")
        assert engine.write(memoryview(data)) == len(data)
        assert bytes(engine.tx()) == octets("3.client-data-record")
        engine.sent(len(engine.tx()))
        assert give(engine, octets("3.server-data-record"), chunk) == data
        engine.close()
        assert bytes(engine.tx()) == octets("3.client-close-record")
        assert give(engine, octets("3.server-close-record"), chunk) == b""
        assert engine.is_closed


def test_code_of_the_messages_is_dropped_behind_them():
    import sys

    engine = open_engine()
    give(engine, octets("3.ticket-record"))
    for name in ("late13", "keys13", "session"):
        assert "keyfob.tls." + name not in sys.modules


def test_ticket_in_pieces():
    ticket = octets("3.ticket")
    for cut in (1, 3, 4, 5, 100, len(ticket) - 1):
        engine = open_engine()
        server = Server(engine)
        for at in range(0, cut, max(cut // 6, 1)):
            server.send(HANDSHAKE, ticket[at : min(at + max(cut // 6, 1), cut)])
        server.send(HANDSHAKE, ticket[cut:])
        assert engine.session.secret == octets("3.resumption-psk")
        assert not engine.late_message


def test_ticket_cut_anywhere_is_malformed():
    ticket = octets("3.ticket")
    body = ticket[4:]
    for size in range(0, len(body), 7):
        engine = open_engine()
        message = b"\x04\0\0" + bytes((size,)) + body[:size]
        code = code_of(Server(engine).send, HANDSHAKE, message)
        assert code == "tls.malformed"
        assert engine.session is None


def test_message_that_is_not_for_a_client_is_refused():
    for kind in (0, 1, 2, 3, 5, 8, 11, 12, 13, 14, 15, 16, 20, 23, 25, 67, 254, 255):
        engine = open_engine()
        message = bytes((kind, 0, 0, 1, 0))
        assert code_of(Server(engine).send, HANDSHAKE, message) == "tls.unexpected-message"


def test_key_update_is_followed_and_answered_before_the_next_data():
    engine = open_engine()
    server = Server(engine)
    server.send(HANDSHAKE, b"\x18\0\0\1\1")
    server.keys.update()
    assert engine.owes_update and not len(engine.tx())
    assert engine.write(memoryview(b"mine")) == 4
    sent = bytearray(engine.tx())
    keys = Protection13(octets("3.client-application-traffic"))
    size = 5 + sent[4]
    body = sent[5:size]
    assert keys.open(body, len(body), sent[0]) == (HANDSHAKE, 0, 5)
    assert bytes(body[:5]) == b"\x18\0\0\1\0"
    keys.update()
    body = sent[size + 5 :]
    assert keys.open(body, len(body), sent[size]) == (APPLICATION_DATA, 0, 4)
    assert bytes(body[:4]) == b"mine"
    assert not engine.owes_update


def test_key_update_that_is_wrong_is_refused():
    for message, code in (
        (b"\x18\0\0\1\2", "tls.illegal-parameter"),
        (b"\x18\0\0\0", "tls.malformed"),
        (b"\x18\0\0\2\0\0", "tls.malformed"),
        (b"\x18\0\0\1\0\4", "tls.unexpected-message"),
    ):
        assert code_of(Server(open_engine()).send, HANDSHAKE, message) == code


def test_messages_without_data_between_them_are_bounded():
    for message in (octets("3.ticket"), b"\x18\0\0\1\1"):
        engine = open_engine()
        server = Server(engine)
        for count in range(100):
            try:
                server.send(HANDSHAKE, message)
            except Exception as error:
                assert error.code == "tls.flood" and 8 < count < 40
                break
            if message[0] == 24:
                server.keys.update()
        else:
            raise AssertionError("no end")
        assert engine.error


def test_data_between_messages_lift_the_bound():
    engine = open_engine()
    server = Server(engine)
    for _ in range(30):
        server.send(HANDSHAKE, octets("3.ticket"))
        server.send(APPLICATION_DATA, b"x")
    assert not engine.error


def test_message_too_large_to_keep_takes_no_memory():
    engine = open_engine()
    server = Server(engine)
    server.send(HANDSHAKE, b"\x04\0\x30\0" + bytes(900))
    for _ in range(11):
        server.send(HANDSHAKE, bytes(1000))
        assert len(engine.late_message) == 4
    server.send(HANDSHAKE, bytes(0x3000 - 11_900))
    assert not engine.late_message and engine.session is None
    assert code_of(server.send, HANDSHAKE, b"\x04\0\x40\1") == "tls.message-too-large"


def test_data_within_a_message_are_refused():
    engine = open_engine()
    server = Server(engine)
    server.send(HANDSHAKE, b"\x04\0")
    assert code_of(server.send, APPLICATION_DATA, b"x") == "tls.unexpected-message"


def test_memory_that_is_short_ends_the_connection():
    from keyfob.tls import late13

    def received(_):
        raise MemoryError

    kept, late13.received = late13.received, received
    try:
        error = refusal(Server(open_engine()).send, HANDSHAKE, octets("3.ticket"))
    finally:
        late13.received = kept
    assert error.code == "tls.no-memory"


def test_memory_does_not_grow_with_what_comes_in():
    import gc

    def used():
        gc.collect()
        return gc.mem_alloc() // 64 if IS_MICROPYTHON else len(gc.get_objects())

    engine = open_engine()
    server = Server(engine)
    for turn in range(24):
        server.send(HANDSHAKE, octets("3.ticket"))
        server.send(APPLICATION_DATA, b"x")
        if turn == 4:
            before = used()
    assert used() - before < 20


def test_stream_names_version_suite_and_protocol():
    from keyfob.tls.engine_stream import EngineStream

    class Stream:
        engine = open_engine()

    facts = {"version": "TLSv1.3", "cipher": "TLS1-3-AES-128-GCM-SHA256", "resumed": False}
    assert EngineStream.facts(Stream) == facts
    Stream.engine.version, Stream.engine.suite = 0x0303, 0xC02B
    Stream.engine.alpn = b"mqtt"
    assert EngineStream.facts(Stream) == {
        "version": "TLSv1.2", "cipher": "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
        "resumed": False, "alpn": "mqtt",
    }  # fmt: skip


def test_error_is_sticky_and_told():
    engine = open_engine()
    server = Server(engine)
    error = refusal(server.send, HANDSHAKE, b"\x02\0\0\0")
    for again in (engine.step, lambda: engine.read(memoryview(bytearray(1)))):
        assert refusal(again) is error
    assert refusal(engine.write, memoryview(b"x")) is error
    assert not len(engine.room())
    sent = bytearray(engine.tx())
    keys = Protection13(octets("3.client-application-traffic"))
    body = sent[5:]
    assert keys.open(body, len(body), sent[0]) == (21, 0, 2)
    assert bytes(body[:2]) == b"\2\x0a"
