"""A TLS 1.2 server that breaks one thing at a time: the right code, the right alert, no hang."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest
import tls13_rig as rig
from certificates import CLIENT_AUTH, DAY, Pair, make_ca, make_leaf
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls12_server import (
    ECDHE_ECDSA_CBC,
    ECDHE_ECDSA_GCM,
    ECDHE_RSA_GCM,
    ETM,
    EXTENDED,
    PSK_GCM,
    RENEGOTIATION,
    RSA_GCM,
    Server12,
)
from tls12_wire import CbcKeys
from tls13_rig import BROKER, CA, HOST, Client, pump, read_all
from tls13_wire import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, message, record, vector

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13, Engine

PARTS = (RENEGOTIATION, EXTENDED)
UNEXPECTED = ("tls.unexpected-message", "unexpected_message")
ILLEGAL = ("tls.illegal-parameter", "illegal_parameter")
NOT_OFFERED = ("tls.not-offered", "illegal_parameter")
UNKNOWN = ("tls.unknown-extension", "unsupported_extension")
MALFORMED = ("tls.malformed", "decode_error")
WRONG_VERSION = ("tls.wrong-version", "protocol_version")
BAD_SIGNATURE = ("tls.bad-signature", "decrypt_error")
BAD_FINISHED = ("tls.bad-finished", "decrypt_error")
BAD_MAC = ("tls.bad-record-mac", "bad_record_mac")
OVERFLOW = ("tls.record-overflow", "record_overflow")
TOO_LARGE = ("tls.message-too-large", "internal_error")


def refused(server: Server12, **options: object) -> tuple[str, str]:
    return rig.refused(server, **{"versions": (TLS12,), **options})


def opened(server: Server12, **options: object) -> Engine:
    return rig.opened(server, **{"versions": (TLS12,), **options})


def flipped(one: bytes, at: int = -1) -> bytes:
    changed = bytearray(one)
    changed[at] ^= 1
    return bytes(changed)


# ServerHello.


def hello(
    parts: tuple[tuple[int, bytes], ...] = PARTS,
    *,
    version: bytes = b"\3\3",
    random: bytes = bytes(32),
    session_id: bytes = b"",
    suite: bytes = b"\xc0\x2b",
    compression: bytes = b"\0",
    raw: bytes | None = None,
) -> Callable[[bytes], bytes]:
    from tls13_wire import extensions

    body = version + random + vector(session_id, 1) + suite + compression
    return lambda _: message(2, body + (extensions(parts) if raw is None else raw))


def alpn(*names: bytes) -> tuple[int, bytes]:
    return 16, vector(b"".join(vector(name, 1) for name in names), 2)


HELLOS = {
    "version SSL 3.0": (hello(version=b"\3\0"), WRONG_VERSION),
    "version TLS 1.0": (hello(version=b"\3\1"), WRONG_VERSION),
    "version TLS 1.1": (hello(version=b"\3\2"), WRONG_VERSION),
    "version TLS 1.3, not offered": (hello((*PARTS, (43, b"\3\4"))), WRONG_VERSION),
    "marked as a downgrade to 1.1": (
        hello(random=bytes(24) + b"DOWNGRD\0"),
        ("tls.downgrade", "illegal_parameter"),
    ),
    "suite not offered": (hello(suite=b"\xc0\x2c"), NOT_OFFERED),
    "suite NULL": (hello(suite=b"\0\0"), NOT_OFFERED),
    "suite with RSA exchange, not asked for": (hello(suite=b"\0\x9c"), NOT_OFFERED),
    "suite of PSK": (hello(suite=b"\0\xa8"), NOT_OFFERED),
    "suite of TLS 1.3": (hello(suite=b"\x13\1"), NOT_OFFERED),
    "compression": (hello(compression=b"\1"), NOT_OFFERED),
    "no secure renegotiation": (
        hello((EXTENDED,)),
        ("tls.no-secure-renegotiation", "handshake_failure"),
    ),
    "no extensions": (hello(raw=b""), ("tls.no-secure-renegotiation", "handshake_failure")),
    "renegotiated_connection": (
        hello(((0xFF01, vector(bytes(24), 1)), EXTENDED)),
        ("tls.no-secure-renegotiation", "handshake_failure"),
    ),
    "extension not offered": (hello((*PARTS, (5, b""))), UNKNOWN),
    "extension twice": (hello((*PARTS, EXTENDED)), MALFORMED),
    "extensions cut": (hello(raw=b"\0\5\xff\1\0\1"), MALFORMED),
    "bytes behind the extensions": (hello(raw=b"\0\5\xff\1\0\1\0\0"), MALFORMED),
    "session id of 33 bytes": (hello(session_id=bytes(33)), MALFORMED),
    "encrypt-then-MAC with GCM": (hello((*PARTS, ETM)), ILLEGAL),
    "encrypt-then-MAC with content": (
        hello((*PARTS, (22, b"x")), suite=b"\xc0\x23"),
        MALFORMED,
    ),
    "extended master secret with content": (hello((RENEGOTIATION, (23, b"x"))), MALFORMED),
    "session ticket with content": (hello((*PARTS, (35, b"x"))), MALFORMED),
    "fragment of another size": (hello((*PARTS, (1, b"\1"))), ILLEGAL),
    "fragment of no size": (hello((*PARTS, (1, b""))), ILLEGAL),
    "fragment of 200": (hello((*PARTS, (1, b"\xc8"))), ILLEGAL),
    "both sizes": (hello((*PARTS, (1, b"\2"), (28, b"\2\0"))), ILLEGAL),
    "record_size_limit too small": (hello((*PARTS, (28, b"\0\x3f"))), ILLEGAL),
    "record_size_limit cut": (hello((*PARTS, (28, b"\x3f"))), MALFORMED),
    "other protocol": (hello((*PARTS, alpn(b"h2"))), NOT_OFFERED),
    "two protocols": (hello((*PARTS, alpn(b"mqtt", b"mqtt"))), MALFORMED),
    "no protocol": (hello((*PARTS, alpn())), MALFORMED),
    "cut": (lambda one: message(2, one[4:30]), MALFORMED),
    "empty": (lambda _: message(2, b""), MALFORMED),
    "left out": (lambda _: b"", UNEXPECTED),
    "twice": (lambda one: one + one, UNEXPECTED),
    "huge": (lambda _: b"\2\xff\xff\xff" + bytes(5000), TOO_LARGE),
}


@pytest.mark.parametrize("flaw", HELLOS)
def test_server_hello(flaw: str) -> None:
    hook, want = HELLOS[flaw]
    assert refused(Server12(BROKER, hooks={"server_hello": hook}), alpn=(b"mqtt",)) == want


def test_downgrade_from_13_is_seen() -> None:
    marked = hello(random=bytes(24) + b"DOWNGRD\1")
    server = Server12(BROKER, hooks={"server_hello": marked})
    want = ("tls.downgrade", "illegal_parameter")
    assert refused(server, versions=(TLS13, TLS12)) == want


def test_older_version_than_the_board_allows() -> None:
    assert refused(Server12(BROKER), versions=(TLS13,)) in (NOT_OFFERED, WRONG_VERSION)


def test_session_that_was_not_offered() -> None:
    server = Server12(BROKER)
    engine = rig.make_engine(versions=(TLS13, TLS12))
    server.hooks["server_hello"] = lambda _: hello(session_id=engine._handshake.session_id)(b"")
    assert rig.failure(engine, server) == ILLEGAL


def test_session_resumed_with_something_changed() -> None:
    for parts, suite in (((RENEGOTIATION,), 0xC02B), (PARTS, 0xC023)):
        session = opened(Server12(BROKER, ticket=b"one")).session
        sessions = {b"one": (session.secret, suite)}
        assert refused(Server12(None, sessions=sessions, parts=parts), session=session) == ILLEGAL


def test_session_resumed_without_its_secret() -> None:
    session = opened(Server12(BROKER, ticket=b"one")).session
    sessions = {b"one": (bytes(48), ECDHE_ECDSA_GCM)}
    assert refused(Server12(None, sessions=sessions), session=session)[0] == BAD_MAC[0]


def test_resumption_that_goes_on_with_a_certificate() -> None:
    session = opened(Server12(BROKER, ticket=b"one")).session
    server = Server12(BROKER, sessions={b"one": (session.secret, ECDHE_ECDSA_GCM)})
    server.hooks["change_cipher_spec"] = lambda one: record(HANDSHAKE, server.certificate())
    assert refused(server, session=session) == UNEXPECTED


# Certificate.


def certificate(*ders: bytes) -> Callable[[bytes], bytes]:
    return lambda _: message(11, vector(b"".join(vector(der, 3) for der in ders), 3))


CERTIFICATES = {
    "no certificate": (certificate(), ("x509.no-certificate", "bad_certificate")),
    "an empty certificate": (certificate(b""), MALFORMED),
    "a list longer than the message": (lambda _: message(11, b"\0\xff\xff" + bytes(9)), MALFORMED),
    "a message longer than the list": (
        lambda one: message(11, one[4:] + b"\0"),
        MALFORMED,
    ),
    "an entry cut": (lambda _: message(11, b"\0\0\5\0\0\3\x30\0"), MALFORMED),
    "a length cut": (lambda _: message(11, vector(b"\0\0", 3)), MALFORMED),
    "nothing": (lambda _: message(11, b""), MALFORMED),
    "a huge certificate": (certificate(bytes(5000)), TOO_LARGE),
    "too many certificates": (certificate(*[BROKER.der] * 9), TOO_LARGE),
    "too many bytes": (certificate(*[bytes(4000)] * 4), TOO_LARGE),
    "no DER": (certificate(b"\x30\3\2\1\1"), ("x509.malformed", "bad_certificate")),
    "left out": (lambda _: b"", UNEXPECTED),
    "twice": (lambda one: one + one, UNEXPECTED),
}


@pytest.mark.parametrize("flaw", CERTIFICATES)
def test_certificate_message(flaw: str) -> None:
    hook, want = CERTIFICATES[flaw]
    assert refused(Server12(BROKER, hooks={"certificate": hook})) == want


def leaf(**options: object) -> Pair:
    return make_leaf(CA, HOST, (HOST,), **options)


CHAINS: dict[str, tuple[Callable[[], Pair], str]] = {
    "x509.expired": (lambda: leaf(after=-DAY / 2), "certificate_expired"),
    "x509.not-yet-valid": (lambda: leaf(before=DAY), "certificate_expired"),
    "x509.wrong-name": (lambda: make_leaf(CA, "x", ("other.test",)), "bad_certificate"),
    "x509.wrong-usage": (lambda: leaf(usage=CLIENT_AUTH), "unsupported_certificate"),
    "x509.untrusted": (lambda: make_leaf(make_ca("another"), HOST, (HOST,)), "unknown_ca"),
}


@pytest.mark.parametrize("code", CHAINS)
def test_chain(code: str) -> None:
    make, alert = CHAINS[code]
    assert refused(Server12(make())) == (code, alert)


def test_no_anchors_at_all() -> None:
    server = Server12(BROKER)
    engine = Engine(HOST, [], rig.make_engine()._handshake.now_s, versions=(TLS12,))
    assert rig.failure(engine, server) == ("x509.untrusted", "unknown_ca")


@pytest.fixture(scope="module")
def rsa_broker() -> Pair:
    return leaf(key=rsa.generate_private_key(65537, 2048))


def test_key_that_does_not_belong_to_the_suite(rsa_broker: Pair) -> None:
    assert refused(Server12(rsa_broker, suite=ECDHE_ECDSA_GCM)) == ILLEGAL
    server = Server12(BROKER, suite=ECDHE_RSA_GCM)
    assert refused(server) == ILLEGAL
    assert refused(Server12(BROKER, suite=RSA_GCM), has_rsa_exchange=True)[0] in (
        "x509.wrong-usage",
        "tls.illegal-parameter",
    )


# ServerKeyExchange.

NOT_ON_CURVE = b"\x04" + bytes(63) + b"\1"
EXCHANGES = {
    "one bit of the signature": (lambda server: flipped(server.key_exchange()), BAD_SIGNATURE),
    "one bit of the point": (lambda server: flipped(server.key_exchange(), 20), BAD_SIGNATURE),
    "another handshake's": (lambda server: server.key_exchange(randoms=bytes(64)), BAD_SIGNATURE),
    "another key": (lambda server: server.key_exchange(signer=leaf()), BAD_SIGNATURE),
    "scheme of another hash": (lambda server: rescheme(server, 0x0503), BAD_SIGNATURE),
    "scheme of RSA": (lambda server: rescheme(server, 0x0401), BAD_SIGNATURE),
    "scheme with SHA-1": (lambda server: rescheme(server, 0x0203), NOT_OFFERED),
    "scheme never heard of": (lambda server: rescheme(server, 0x0807), NOT_OFFERED),
    "curve P-384": (lambda server: server.key_exchange(curve=b"\3\0\x18"), NOT_OFFERED),
    "curve by its parameters": (lambda server: server.key_exchange(curve=b"\1\0\x17"), NOT_OFFERED),
    "point not on the curve": (lambda server: server.key_exchange(point=NOT_ON_CURVE), ILLEGAL),
    "point compressed": (lambda server: server.key_exchange(point=b"\2" + bytes(32)), ILLEGAL),
    "point at infinity": (lambda server: server.key_exchange(point=b"\0"), ILLEGAL),
    "point empty": (lambda server: server.key_exchange(point=b""), ILLEGAL),
    "bytes behind it": (
        lambda server: message(12, server.key_exchange()[4:] + b"\0"),
        MALFORMED,
    ),
    "cut": (lambda server: message(12, server.key_exchange()[4:60]), MALFORMED),
    "signature empty": (
        lambda server: message(12, server.key_exchange()[4:75] + b"\0\0"),
        BAD_SIGNATURE,
    ),
    "huge": (lambda server: message(12, bytes(3000)), TOO_LARGE),
    "left out": (lambda server: b"", UNEXPECTED),
}


def rescheme(server: Server12, scheme: int) -> bytes:
    one = bytearray(server.key_exchange())
    one[73:75] = scheme.to_bytes(2, "big")
    return bytes(one)


@pytest.mark.parametrize("flaw", EXCHANGES)
def test_server_key_exchange(flaw: str) -> None:
    make, want = EXCHANGES[flaw]
    server = Server12(BROKER)
    server.hooks["key_exchange"] = lambda _: make(server)
    assert refused(server) == want


def test_key_exchange_of_an_rsa_key(rsa_broker: Pair) -> None:
    for change in (flipped, lambda one: flipped(one, -200)):
        server = Server12(rsa_broker, suite=ECDHE_RSA_GCM, hooks={"key_exchange": change})
        assert refused(server) == BAD_SIGNATURE


# What the server asks for, and the order of it all.

REQUESTS = {
    "cut": (b"\1", MALFORMED),
    "empty": (b"", MALFORMED),
    "schemes cut": (b"\1\x40\0\x09\4\3", MALFORMED),
    "no scheme in common": (
        vector(b"\1\x40", 1) + vector(b"\2\1\6\3", 2) + vector(b"", 2),
        ("tls.no-common-scheme", "handshake_failure"),
    ),
    "schemes of an odd length": (
        vector(b"\1\x40", 1) + vector(b"\2\1\6", 2) + vector(b"", 2),
        ("tls.no-common-scheme", "handshake_failure"),
    ),
}


@pytest.mark.parametrize("flaw", REQUESTS)
def test_certificate_request(flaw: str) -> None:
    body, want = REQUESTS[flaw]
    client = Client(make_leaf(CA, "board", usage=CLIENT_AUTH))
    assert refused(Server12(BROKER, asks=body), client=client) == want


ASKS = vector(b"\1\x40", 1) + vector(b"\4\3\4\1", 2) + vector(b"", 2)
MESSAGES = ("server_hello", "certificate", "key_exchange", "certificate_request", "hello_done")


@pytest.mark.parametrize("name", [*MESSAGES, "ticket", "finished"])
@pytest.mark.parametrize("kind", [1, 2, 3, 5, 8, 15, 16, 21, 22, 24, 67, 254])
def test_message_of_another_kind_before(name: str, kind: int) -> None:
    if kind == 2 and name == "server_hello":
        kind = 12
    extra = message(kind, b"\0")
    server = Server12(BROKER, asks=ASKS, ticket=b"t", hooks={name: lambda one: extra + one})
    assert refused(server) == UNEXPECTED


@pytest.mark.parametrize("name", MESSAGES)
def test_change_cipher_spec_too_early(name: str) -> None:
    """CVE-2014-0224: keys made of nothing."""
    server = Server12(BROKER, asks=ASKS)
    server.hooks[name] = lambda one: (server.send(b"\1", CHANGE_CIPHER_SPEC), one)[1]
    assert refused(server) == UNEXPECTED


def test_change_cipher_spec_within_a_message() -> None:
    server = Server12(BROKER)

    def cut(one: bytes) -> bytes:
        server.send(one[:9], HANDSHAKE)
        server.send(b"\1", CHANGE_CIPHER_SPEC)
        return one[9:]

    server.hooks["certificate"] = cut
    assert refused(server) == UNEXPECTED


def test_change_cipher_spec_left_out_or_wrong() -> None:
    for raw in (b"", record(20, b"\2"), record(20, b"\1\1"), record(20, b"")):
        server = Server12(BROKER, hooks={"change_cipher_spec": lambda _, raw=raw: raw})
        assert refused(server)[0] in (
            "tls.unexpected-message",
            "tls.malformed",
            "tls.message-too-large",
        )


def test_change_cipher_spec_twice() -> None:
    server = Server12(BROKER, hooks={"change_cipher_spec": lambda one: one + one})
    assert refused(server)[0] == "tls.bad-record-mac"


def test_ticket_that_was_not_promised() -> None:
    ticket = message(4, bytes(4) + vector(b"t", 2))
    server = Server12(BROKER)
    server.hooks["change_cipher_spec"] = lambda one: record(HANDSHAKE, ticket) + one
    assert refused(server) == UNEXPECTED


def test_ticket_promised_but_not_given() -> None:
    server = Server12(BROKER, ticket=b"t", hooks={"ticket": lambda _: b""})
    assert refused(server) == UNEXPECTED


@pytest.mark.parametrize("body", [b"", bytes(5), bytes(4) + b"\0\5x", bytes(6) + b"x"])
def test_ticket_malformed(body: bytes) -> None:
    server = Server12(BROKER, ticket=b"t", hooks={"ticket": lambda _: message(4, body)})
    assert refused(server) == MALFORMED


FINISHED = {
    "one bit": flipped,
    "zeros": lambda _: message(20, bytes(12)),
    "short": lambda one: message(20, one[4:-1]),
    "long": lambda one: message(20, one[4:] + b"\0"),
    "empty": lambda _: message(20, b""),
}


@pytest.mark.parametrize("flaw", FINISHED)
def test_finished(flaw: str) -> None:
    assert refused(Server12(BROKER, hooks={"finished": FINISHED[flaw]})) == BAD_FINISHED


def test_finished_in_clear() -> None:
    server = Server12(BROKER)
    server.hooks["change_cipher_spec"] = lambda _: b""

    def clear(one: bytes) -> bytes:
        server.put(record(HANDSHAKE, one))
        return b""

    server.hooks["finished"] = clear
    assert refused(server) == UNEXPECTED


def test_data_before_finished() -> None:
    server = Server12(BROKER)
    server.hooks["finished"] = lambda one: (server.send(b"data"), one)[1]
    assert refused(server) == UNEXPECTED
    server = Server12(BROKER)
    server.hooks["certificate"] = lambda one: (server.send(b"data"), one)[1]
    assert refused(server) == UNEXPECTED


def test_message_behind_finished_in_its_record() -> None:
    server = Server12(BROKER, hooks={"finished": lambda one: one + message(0, b"")})
    assert refused(server) == UNEXPECTED


def test_pre_shared_key_that_differs() -> None:
    server = Server12(None, suite=PSK_GCM, psk=bytes(16))
    engine = rig.make_engine(versions=(TLS12,), psk=(b"board", b"k" * 16))
    with pytest.raises(InvalidTag):  # the server's, on our Finished
        pump(engine, server)
    assert not engine.is_open


def test_pre_shared_key_does_not_take_a_certificate() -> None:
    server = Server12(BROKER, suite=PSK_GCM, psk=bytes(16))
    server.hooks["hello_done"] = lambda one: server.certificate() + one
    assert refused(server, psk=(b"board", bytes(16))) == UNEXPECTED


# Records.


def test_record_with_one_bit_changed_anywhere() -> None:
    for suite, parts in ((ECDHE_ECDSA_GCM, PARTS), (ECDHE_ECDSA_CBC, PARTS)):
        for at in (0, 1, 9, 20, 25, -1):
            server = Server12(BROKER, suite=suite, parts=parts)
            engine = opened(server)
            server.send(b"content")
            sent = server.take()
            server.put(flipped(sent, at if at < 0 else 5 + at))
            assert rig.failure(engine, server) == BAD_MAC


def test_record_twice_or_left_out() -> None:
    for change in (lambda one, two: one + one, lambda one, two: two):
        server = Server12(BROKER)
        engine = opened(server)
        server.send(b"one")
        one = server.take()
        server.send(b"two")
        server.put(change(one, server.take()))
        assert rig.failure(engine, server) == BAD_MAC


def test_record_of_another_type_than_was_sealed() -> None:
    server = Server12(BROKER)
    engine = opened(server)
    server.send(b"content")
    server.put(b"\x16" + server.take()[1:])
    assert rig.failure(engine, server) == BAD_MAC


@pytest.mark.parametrize("parts", [PARTS, (*PARTS, ETM)])
@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 47, 48, 49, 64, 79])
def test_record_too_short_for_its_protection(parts: tuple, size: int) -> None:
    for suite in (ECDHE_ECDSA_CBC, ECDHE_ECDSA_GCM):
        if suite == ECDHE_ECDSA_GCM and ETM in parts:
            continue
        server = Server12(BROKER, suite=suite, parts=parts)
        engine = opened(server)
        server.put(record(23, bytes(size)))
        assert rig.failure(engine, server) == BAD_MAC


PADDINGS = {
    "one byte of it": lambda text: text[:-2] + bytes([text[-2] ^ 1]) + text[-1:],
    "its first byte": lambda text: (
        text[: -text[-1] - 1] + bytes([text[-1] ^ 0x80]) + text[-text[-1] :]
    ),
    "longer than the record": lambda text: text[:-1] + b"\xff",
    "reaching into the MAC": lambda text: text[:-1] + bytes([text[-1] + 16]),
    "one less": lambda text: text[:-1] + bytes([text[-1] - 1]),
    "of zero": lambda text: text[:-1] + b"\0",
}


@pytest.mark.parametrize("parts", [PARTS, (*PARTS, ETM)])
@pytest.mark.parametrize("flaw", PADDINGS)
def test_padding(flaw: str, parts: tuple) -> None:
    """With encrypt-then-MAC the MAC is right, so the text itself must still be."""
    server = Server12(BROKER, suite=ECDHE_ECDSA_CBC, parts=parts)
    engine = opened(server)
    assert isinstance(server.send_keys, CbcKeys)
    server.send_keys.spoil = PADDINGS[flaw]
    server.send(b"hello")
    if ETM in parts and flaw in ("of zero",):
        # The MAC covers it: what it takes off is what its sender said.
        assert read_all(engine, server).startswith(b"hello")
    else:
        assert rig.failure(engine, server) == BAD_MAC


def test_padding_may_be_longer_than_a_block() -> None:
    for parts in (PARTS, (*PARTS, ETM)):
        server = Server12(BROKER, suite=ECDHE_ECDSA_CBC, parts=parts)
        engine = opened(server)
        assert isinstance(server.send_keys, CbcKeys)
        server.send_keys.padding_blocks = 10
        server.send(b"hello")
        assert read_all(engine, server) == b"hello"


def test_record_larger_than_the_buffer() -> None:
    server = Server12(BROKER, fragment=16_000)
    engine = opened(server, rx_bytes=512)
    server.send(bytes(3000))
    assert rig.failure(engine, server) == OVERFLOW


def test_record_larger_than_was_agreed() -> None:
    server = Server12(BROKER, parts=(*PARTS, (1, b"\1")), fragment=500)
    engine = opened(server, rx_bytes=512)
    server._fragment = 520
    server.send(bytes(520))
    assert rig.failure(engine, server) == OVERFLOW


def test_record_larger_than_any_may_be() -> None:
    server = Server12(BROKER)
    server.put(b"\x16\3\3\x40\1")
    assert refused(server) == OVERFLOW


def test_record_of_another_version() -> None:
    server = Server12(BROKER)
    server.hooks["certificate"] = lambda one: (server.put(record(22, one, 0x0301)), b"")[1]
    assert refused(server) == WRONG_VERSION


def test_record_of_no_type() -> None:
    for kind in (0, 19, 24, 0x80, 255):
        server = Server12(BROKER)
        engine = rig.make_engine(versions=(TLS12,))
        while engine.step():
            pass
        server.receive(bytes(engine.tx()))
        engine.sent(len(engine.tx()))
        flight = server.take()
        hello_size = 5 + int.from_bytes(flight[3:5], "big")
        server.put(flight[:hello_size] + bytes([kind]) + flight[hello_size + 1 :])
        assert rig.failure(engine, server) == UNEXPECTED


@pytest.mark.parametrize("raw", [b"HTTP/1.1 400 Bad Request\r\n", b"\x20\2\0\0\0", b"\x16\2\0\0\5"])
def test_no_tls_at_all(raw: bytes) -> None:
    server = Server12(BROKER)
    server.put(raw)
    assert refused(server) == ("tls.not-tls", "")


def test_silence() -> None:
    engine = rig.make_engine(versions=(TLS12,))
    with pytest.raises(KeyfobError, match=r"tls\.no-answer"):
        engine.ended()


@pytest.mark.parametrize("at", [1, 4, 5, 6, 90, 300, 700])
def test_truncation_within_the_handshake(at: int) -> None:
    server = Server12(BROKER)
    engine = rig.make_engine(versions=(TLS12,))
    while engine.step():
        pass
    server.receive(bytes(engine.tx()))
    engine.sent(len(engine.tx()))
    assert not rig.give(engine, server.take()[:at])
    with pytest.raises(KeyfobError, match=r"tls\.closed"):
        engine.ended()


def test_close_notify_within_the_handshake() -> None:
    server = Server12(BROKER)
    server.hooks["certificate"] = lambda one: (server.send(b"\1\0", ALERT), one)[1]
    assert refused(server) == ("tls.closed", "")


# Alerts.

ALERTS = {
    10: "tls.alert",
    40: "tls.alert-handshake-failure",
    42: "tls.alert-bad-certificate",
    48: "tls.alert-unknown-ca",
    70: "tls.alert-protocol-version",
    80: "tls.alert",
    112: "tls.alert-unrecognized-name",
    115: "tls.alert-unknown-psk-identity",
    116: "tls.alert-certificate-required",
    120: "tls.alert-no-application-protocol",
    200: "tls.alert",
}


@pytest.mark.parametrize("number", ALERTS)
def test_fatal_alert(number: int) -> None:
    server = Server12(BROKER)
    server.send(bytes((2, number)), ALERT)
    assert refused(server) == (ALERTS[number], "")
    later = Server12(BROKER)
    engine = opened(later)
    later.send(bytes((2, number)), ALERT)
    assert rig.failure(engine, later) == (ALERTS[number], "")
    assert f"alert {number} from the broker, " in engine.error.detail


@pytest.mark.parametrize("raw", [b"", b"\2", b"\2\x28\2\x28"])
def test_alert_malformed(raw: bytes) -> None:
    server = Server12(BROKER)
    server.send(raw, ALERT)
    assert refused(server)[0] == "tls.malformed"


def test_floods_end() -> None:
    """Empty records, warnings and HelloRequests: each for a while, none for ever."""
    for content, kind in ((b"", 23), (b"\1\x70", ALERT), (bytes(4), HANDSHAKE)):
        server = Server12(BROKER)
        engine = opened(server)
        for _ in range(10):
            server.send(content, kind)
        server.send(b"data")
        assert read_all(engine, server) == b"data"
        for _ in range(20):
            server.send(content, kind)
        assert rig.failure(engine, server) == ("tls.flood", "unexpected_message")
    server = Server12(BROKER)
    server.put(record(ALERT, b"\1\x70") * 20)
    assert refused(server) == ("tls.flood", "unexpected_message")
    server = Server12(BROKER)
    server.put(record(HANDSHAKE, bytes(4 * 20)))
    assert refused(server) == ("tls.flood", "unexpected_message")


@pytest.mark.parametrize("kind", [1, 2, 4, 11, 12, 14, 20, 24])
def test_handshake_message_after_the_handshake(kind: int) -> None:
    server = Server12(BROKER)
    engine = opened(server)
    server.send(message(kind, b""), HANDSHAKE)
    assert rig.failure(engine, server) == UNEXPECTED


def test_change_cipher_spec_after_the_handshake() -> None:
    server = Server12(BROKER)
    engine = opened(server)
    server.send(b"\1", CHANGE_CIPHER_SPEC)
    assert rig.failure(engine, server) == UNEXPECTED


def test_refusals_leave_no_memory_behind() -> None:
    server_key = ec.generate_private_key(ec.SECP256R1())

    def once() -> None:
        server = Server12(BROKER)
        server.secret = server_key
        server.hooks["key_exchange"] = flipped
        refused(server)

    for _ in range(5):
        once()
    gc.collect()
    tracemalloc.start()
    for _ in range(5):
        once()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        once()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
