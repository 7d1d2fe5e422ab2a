"""A TLS 1.3 server that breaks one thing at a time: the right code, the right alert, no hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from certificates import CLIENT_AUTH, DAY, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls13_rig import (
    BROKER,
    CA,
    HOST,
    failure,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    pump,
    read_all,
    refused,
)
from tls13_server import CLIENT_CONTEXT, PSS_RSAE, Server13
from tls13_wire import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    RETRY_RANDOM,
    Keys,
    extensions,
    message,
    record,
    vector,
)

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS13

UNEXPECTED = ("tls.unexpected-message", "unexpected_message")
ILLEGAL = ("tls.illegal-parameter", "illegal_parameter")
NOT_OFFERED = ("tls.not-offered", "illegal_parameter")
UNKNOWN = ("tls.unknown-extension", "unsupported_extension")
MALFORMED = ("tls.malformed", "decode_error")
COOKIE = (44, vector(b"cookie", 2))
NOT_ON_CURVE = b"\x04" + bytes(63) + b"\1"
RANDOM = bytes(32)


def hello(
    parts: list[tuple[int, bytes]],
    *,
    version: bytes = b"\3\3",
    random: bytes = RANDOM,
    echo: bytes | None = None,
    suite: bytes = b"\x13\1",
    compression: bytes = b"\0",
) -> Callable[[bytes], bytes]:
    """A hook that sends another ServerHello."""

    def change(one: bytes) -> bytes:
        session_id = one[39:71] if echo is None else echo
        body = version + random + vector(session_id, 1) + suite + compression
        return message(2, body + extensions(parts))

    return change


def share(group: int, point: bytes) -> tuple[int, bytes]:
    return 51, group.to_bytes(2, "big") + vector(point, 2)


def real_point() -> bytes:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


IS_13 = (43, b"\3\4")
GOOD = share(0x17, real_point())
HELLOS = {
    "no key share": ([IS_13], {}, ("tls.missing-extension", "missing_extension")),
    "group not offered": ([IS_13, share(0x1D, bytes(32))], {}, ILLEGAL),
    "point not on the curve": ([IS_13, share(0x17, NOT_ON_CURVE)], {}, ILLEGAL),
    "point compressed": ([IS_13, share(0x17, b"\2" + bytes(32))], {}, ILLEGAL),
    "point at infinity": ([IS_13, share(0x17, b"\0")], {}, ILLEGAL),
    "point empty": ([IS_13, share(0x17, b"")], {}, ILLEGAL),
    "key share cut": ([IS_13, (51, b"\0\x17\0\x41\4")], {}, MALFORMED),
    "bytes behind the key share": ([IS_13, (51, GOOD[1] + b"\0")], {}, MALFORMED),
    "suite not offered": ([IS_13, GOOD], {"suite": b"\x13\2"}, NOT_OFFERED),
    "suite of TLS 1.2": ([IS_13, GOOD], {"suite": b"\xc0\x2b"}, NOT_OFFERED),
    "another session id": ([IS_13, GOOD], {"echo": bytes(32)}, ILLEGAL),
    "no session id": ([IS_13, GOOD], {"echo": b""}, ILLEGAL),
    "compression": ([IS_13, GOOD], {"compression": b"\1"}, NOT_OFFERED),
    "version TLS 1.4": ([(43, b"\3\5"), GOOD], {}, ("tls.wrong-version", "protocol_version")),
    "version TLS 1.2 as extension": (
        [(43, b"\3\3"), GOOD],
        {},
        ("tls.wrong-version", "protocol_version"),
    ),
    "legacy version 1.3": (
        [IS_13, GOOD],
        {"version": b"\3\4"},
        ("tls.wrong-version", "protocol_version"),
    ),
    "version with a byte behind": ([(43, b"\3\4\0"), GOOD], {}, MALFORMED),
    "extension twice": ([IS_13, GOOD, GOOD], {}, MALFORMED),
    "extension of another message": ([IS_13, GOOD, (28, b"\2\0")], {}, ILLEGAL),
    "extension of TLS 1.2": ([IS_13, GOOD, (23, b"")], {}, ILLEGAL),
    "extension never offered": ([IS_13, GOOD, (0x1234, b"")], {}, UNKNOWN),
    "cookie": ([IS_13, GOOD, COOKIE], {}, ILLEGAL),
    "pre-shared key never offered": ([IS_13, GOOD, (41, b"\0\0")], {}, UNKNOWN),
    "downgrade to 1.2 marked": (
        [],
        {"random": bytes(24) + b"DOWNGRD\1", "suite": b"\xc0\x2b"},
        ("tls.downgrade", "illegal_parameter"),
    ),
    "downgrade to 1.1 marked": (
        [],
        {"random": bytes(24) + b"DOWNGRD\0", "suite": b"\xc0\x2b"},
        ("tls.downgrade", "illegal_parameter"),
    ),
}


@pytest.mark.parametrize("flaw", HELLOS)
def test_server_hello(flaw: str) -> None:
    parts, options, want = HELLOS[flaw]
    assert refused(Server13(BROKER, hooks={"server_hello": hello(parts, **options)})) == want


RETRIES = {
    "that changes nothing": ([], ILLEGAL),
    "for a group not offered": ([(51, b"\0\x1d")], ILLEGAL),
    "for the group that was sent": ([(51, b"\0\x17")], ILLEGAL),
    "with an empty cookie": ([(44, b"\0\0")], MALFORMED),
    "with bytes behind the cookie": ([(44, COOKIE[1] + b"x")], MALFORMED),
    "with a pre-shared key": ([COOKIE, (41, b"\0\0")], UNKNOWN),
    "with another extension": ([COOKIE, (28, b"\2\0")], ILLEGAL),
}


@pytest.mark.parametrize("group", [b"\0\x17", b"\0\x18", b"\x11\xec"])
def test_hello_retry_request_for_another_group_where_there_are_two(group: bytes) -> None:
    assert refused(Server13(BROKER, retry=[(51, group)]), versions=(TLS13,)) == ILLEGAL


@pytest.mark.parametrize(
    "point",
    [bytes(32), b"\1" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f", b"x", real_point()],
    ids=["zero", "one", "prime", "short", "of-p256"],
)
def test_point_of_x25519_that_leads_to_zero_or_is_none(point: bytes) -> None:
    hooks = {"server_hello": hello([IS_13, share(0x1D, point)])}
    server = Server13(BROKER, retry=[(51, b"\0\x1d")], hooks=hooks)
    assert refused(server, versions=(TLS13,)) == ILLEGAL


def test_group_of_the_server_hello_is_not_that_of_the_hello_retry_request() -> None:
    hooks = {"server_hello": hello([IS_13, GOOD])}
    server = Server13(BROKER, retry=[(51, b"\0\x1d")], hooks=hooks)
    assert refused(server, versions=(TLS13,)) == ILLEGAL


@pytest.mark.parametrize("flaw", RETRIES)
def test_hello_retry_request(flaw: str) -> None:
    parts, want = RETRIES[flaw]
    assert refused(Server13(BROKER, retry=parts)) == want


def test_second_hello_retry_request() -> None:
    again = hello([IS_13, COOKIE], random=RETRY_RANDOM)
    assert refused(Server13(BROKER, retry=[COOKIE], hooks={"server_hello": again})) == UNEXPECTED


def test_tls_12_behind_a_hello_retry_request() -> None:
    older = hello([], suite=b"\xc0\x2b")
    seen = refused(Server13(BROKER, retry=[COOKIE], hooks={"server_hello": older}))
    assert seen == ("tls.wrong-version", "protocol_version")


def flipped(one: bytes, at: int = -1) -> bytes:
    changed = bytearray(one)
    changed[at] ^= 1
    return bytes(changed)


def test_signature_of_another_handshake() -> None:
    kept = []

    def keep(one: bytes) -> bytes:
        kept.append(one)
        return kept[0]

    opened(Server13(BROKER, hooks={"certificate_verify": keep}))
    seen = refused(Server13(BROKER, hooks={"certificate_verify": keep}))
    assert seen == ("tls.bad-signature", "decrypt_error")


def test_signature_with_one_bit_changed() -> None:
    for at in (-1, -40):
        server = Server13(BROKER, hooks={"certificate_verify": lambda one, at=at: flipped(one, at)})
        assert refused(server) == ("tls.bad-signature", "decrypt_error")


def test_signature_by_another_key() -> None:
    other = make_leaf(CA, HOST, (HOST,))
    server = Server13(BROKER)
    server.hooks["certificate_verify"] = lambda _: other_signs()

    def other_signs() -> bytes:
        server._pair = other
        return server.certificate_verify()

    assert refused(server) == ("tls.bad-signature", "decrypt_error")


def test_signature_made_for_a_client() -> None:
    server = Server13(BROKER)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(CLIENT_CONTEXT)
    assert refused(server) == ("tls.bad-signature", "decrypt_error")


@pytest.mark.parametrize("scheme", [0x0401, 0x0503, 0x0201, 0x0804, 0x0807, 0x0001])
def test_signature_scheme_that_does_not_belong_to_the_key(scheme: int) -> None:
    server = Server13(BROKER)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(scheme=scheme)
    assert refused(server) == ILLEGAL


def test_pkcs1_signature_of_an_rsa_key() -> None:
    pair = make_leaf(CA, HOST, (HOST,), key=rsa.generate_private_key(65537, 2048))
    server = Server13(pair)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(scheme=0x0401)
    assert refused(server) == ILLEGAL
    server = Server13(pair, hooks={"certificate_verify": flipped})
    assert refused(server) == ("tls.bad-signature", "decrypt_error")
    server = Server13(pair)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(scheme=PSS_RSAE + 1)
    assert refused(server) == ("tls.bad-signature", "decrypt_error")


FINISHED = {
    "one bit": lambda one: flipped(one),
    "zeros": lambda one: message(20, bytes(32)),
    "short": lambda one: message(20, one[4:-1]),
    "long": lambda one: message(20, one[4:] + b"\0"),
    "empty": lambda one: message(20, b""),
}


@pytest.mark.parametrize("flaw", FINISHED)
def test_finished(flaw: str) -> None:
    seen = refused(Server13(BROKER, hooks={"finished": FINISHED[flaw]}))
    assert seen == ("tls.bad-finished", "decrypt_error")


MESSAGES = ("encrypted_extensions", "certificate", "certificate_verify", "finished")


@pytest.mark.parametrize("name", MESSAGES)
def test_message_left_out(name: str) -> None:
    server = Server13(BROKER, hooks={name: lambda _: b""})
    if name == "finished":
        engine = make_engine()
        pump(engine, server)
        assert not engine.is_open
        with pytest.raises(KeyfobError, match=r"tls\.closed"):
            engine.ended()
    else:
        assert refused(server) == UNEXPECTED


@pytest.mark.parametrize("name", MESSAGES[:3])
def test_message_twice(name: str) -> None:
    assert refused(Server13(BROKER, hooks={name: lambda one: one + one})) == UNEXPECTED


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("kind", [0, 1, 2, 4, 5, 12, 14, 16, 22, 24, 67, 254])
def test_message_of_another_kind_before(name: str, kind: int) -> None:
    extra = message(kind, b"\0")
    assert refused(Server13(BROKER, hooks={name: lambda one: extra + one})) == UNEXPECTED


def test_message_with_bytes_behind_its_end() -> None:
    for name in ("encrypted_extensions", "certificate_verify"):
        server = Server13(BROKER, hooks={name: lambda one: message(one[0], one[4:] + b"\0")})
        assert refused(server) == MALFORMED


def test_certificate_request_after_the_certificate() -> None:
    request = message(13, b"\0" + extensions([(13, vector(b"\4\3", 2))]))
    server = Server13(BROKER, hooks={"certificate_verify": lambda one: request + one})
    assert refused(server) == UNEXPECTED


REQUESTS = {
    "no schemes": (b"\0" + extensions([]), ("tls.missing-extension", "missing_extension")),
    "empty schemes": (b"\0" + extensions([(13, b"\0\0")]), MALFORMED),
    "a context": (vector(b"x", 1) + extensions([(13, vector(b"\4\3", 2))]), ILLEGAL),
    "cut": (b"\0\0\x09\0\x0d", MALFORMED),
    "empty": (b"", MALFORMED),
}


@pytest.mark.parametrize("flaw", REQUESTS)
def test_certificate_request(flaw: str) -> None:
    body, want = REQUESTS[flaw]
    assert refused(Server13(BROKER, asks=body)) == want


ENCRYPTED = {
    "not offered": ((0x1234, b""), UNKNOWN),
    "of the ServerHello": (GOOD, ILLEGAL),
    "of TLS 1.2": ((23, b""), ILLEGAL),
    "other protocol": ((16, vector(vector(b"http/1.1", 1), 2)), NOT_OFFERED),
    "two protocols": ((16, vector(vector(b"mqtt", 1) * 2, 2)), MALFORMED),
    "no protocol": ((16, b"\0\0"), MALFORMED),
    "fragment of another size": ((1, b"\1"), ILLEGAL),
    "record_size_limit too small": ((28, b"\0\x3f"), ILLEGAL),
    "record_size_limit cut": ((28, b"\x3f"), MALFORMED),
    "server_name with content": ((0, b"x"), MALFORMED),
}


@pytest.mark.parametrize("flaw", ENCRYPTED)
def test_encrypted_extensions(flaw: str) -> None:
    part, want = ENCRYPTED[flaw]
    assert refused(Server13(BROKER, encrypted=[part]), alpn=(b"mqtt",)) == want


def test_encrypted_extensions_twice_or_empty() -> None:
    assert refused(Server13(BROKER, encrypted=[(0, b""), (0, b"")])) == MALFORMED
    empty = Server13(BROKER, hooks={"encrypted_extensions": lambda _: message(8, b"")})
    assert refused(empty) == MALFORMED
    both = Server13(BROKER, encrypted=[(1, b"\2"), (28, b"\4\0")])
    assert refused(both, rx_bytes=1024) == ILLEGAL


def certificate(*entries: bytes, context: bytes = b"\0") -> Callable[[bytes], bytes]:
    return lambda _: message(11, context + vector(b"".join(entries), 3))


def entry(der: bytes, found: bytes = b"\0\0") -> bytes:
    return vector(der, 3) + found


CERTIFICATES = {
    "no certificate": (certificate(), ("x509.no-certificate", "bad_certificate")),
    "a context": (certificate(entry(BROKER.der), context=b"\1x"), None),
    "an extension": (certificate(entry(BROKER.der, b"\0\4\0\5\0\0")), None),
    "an empty certificate": (certificate(entry(b"")), MALFORMED),
    "a list longer than the message": (
        lambda _: message(11, b"\0\0\xff\xff" + entry(BROKER.der)),
        MALFORMED,
    ),
    "a message longer than the list": (
        lambda _: message(11, b"\0" + vector(entry(BROKER.der), 3) + b"\0"),
        MALFORMED,
    ),
    "an entry cut": (lambda _: message(11, b"\0\0\0\5\0\0\1\x30\0"), MALFORMED),
    "a huge certificate": (
        certificate(entry(bytes(20_000))),
        ("tls.message-too-large", None),
    ),
    "too many certificates": (
        certificate(*[entry(BROKER.der)] * 30),
        ("tls.message-too-large", None),
    ),
    "bytes that are no certificate": (
        certificate(entry(b"\x30\3\2\1\1")),
        ("x509.malformed", "bad_certificate"),
    ),
}


@pytest.mark.parametrize("flaw", CERTIFICATES)
def test_certificate_message(flaw: str) -> None:
    hook, want = CERTIFICATES[flaw]
    code, alert = refused(Server13(BROKER, hooks={"certificate": hook}))
    if want is None:
        assert code in ("tls.malformed", "tls.illegal-parameter", "tls.unknown-extension")
    else:
        assert code == want[0] and alert in (want[1] or alert,)


def leaf(**options: object) -> object:
    return make_leaf(CA, HOST, (HOST,), **options)


CHAINS = {
    "x509.expired": (lambda: leaf(after=-DAY / 2), "certificate_expired"),
    "x509.not-yet-valid": (lambda: leaf(before=DAY), "certificate_expired"),
    "x509.wrong-name": (lambda: make_leaf(CA, "x", ("other.test",)), "bad_certificate"),
    "x509.wrong-usage": (lambda: leaf(usage=CLIENT_AUTH), "unsupported_certificate"),
    "x509.untrusted": (
        lambda: make_leaf(make_ca("another"), HOST, (HOST,)),
        "unknown_ca",
    ),
}


@pytest.mark.parametrize("code", CHAINS)
def test_chain(code: str) -> None:
    make, alert = CHAINS[code]
    assert refused(Server13(make())) == (code, alert)


# Records.


def test_record_with_one_bit_changed_anywhere() -> None:
    for at in (0, 1, 7, 20, 21, 22):
        server = Server13(BROKER)
        engine = opened(server)
        server.send(b"content")
        sent = server.take()
        server.put(flipped(sent, 5 + at))
        assert failure(engine, server) == ("tls.bad-record-mac", "bad_record_mac")


def test_record_twice_or_left_out() -> None:
    for change in (lambda one, two: one + one, lambda one, two: two):
        server = Server13(BROKER)
        engine = opened(server)
        server.send(b"one")
        one = server.take()
        server.send(b"two")
        server.put(change(one, server.take()))
        assert failure(engine, server) == ("tls.bad-record-mac", "bad_record_mac")


def test_record_of_nothing_but_zeros() -> None:
    for size in (0, 1, 100):
        server = Server13(BROKER)
        engine = opened(server)
        server.put(server.send_keys.seal(0, bytes(size)))
        want = UNEXPECTED if size else ("tls.bad-record-mac", "bad_record_mac")
        assert failure(engine, server) == want


@pytest.mark.parametrize("kind", [20, 24, 25, 255])
def test_protected_record_of_another_type(kind: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.put(server.send_keys.seal(kind, b"\1"))
    assert failure(engine, server) == UNEXPECTED


@pytest.mark.parametrize("kind", [CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE])
def test_record_in_clear_after_the_handshake(kind: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.put(record(kind, b"\1\0" if kind == ALERT else b"\1"))
    assert failure(engine, server) == UNEXPECTED


@pytest.mark.parametrize("size", [0, 1, 16])
def test_record_shorter_than_a_tag(size: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.put(record(APPLICATION_DATA, bytes(size)))
    assert failure(engine, server) == ("tls.bad-record-mac", "bad_record_mac")


def test_record_larger_than_agreed() -> None:
    server = Server13(BROKER, encrypted=[(1, b"\1")], fragment=500)
    engine = opened(server, rx_bytes=512)
    server.put(server.send_keys.seal(APPLICATION_DATA, bytes(513)))
    assert failure(engine, server) == ("tls.record-overflow", "record_overflow")
    server = Server13(BROKER)
    engine = opened(server)
    server.put(record(APPLICATION_DATA, bytes(16_384 + 257)))
    assert failure(engine, server) == ("tls.record-overflow", "record_overflow")


def test_flight_in_clear() -> None:
    """The keys changed behind the ServerHello; whoever goes on without is not the server."""
    server = Server13(BROKER)
    server.hooks["change_cipher_spec"] = lambda one: one + record(HANDSHAKE, message(8, b"\0\0"))
    assert refused(server) == UNEXPECTED


def test_message_that_spans_the_change_of_keys() -> None:
    server = Server13(BROKER, hooks={"server_hello": lambda one: one + b"\x08\0"})
    assert refused(server) == UNEXPECTED
    server = Server13(BROKER, hooks={"finished": lambda one: one + b"\4\0\0"})
    assert refused(server) == UNEXPECTED


def test_application_data_in_the_handshake() -> None:
    server = Server13(BROKER)

    def early(one: bytes) -> bytes:
        server.put(server.send_keys.seal(APPLICATION_DATA, b"early"))
        return one

    server.hooks["certificate"] = early
    assert refused(server) == UNEXPECTED


def test_change_cipher_spec_is_tolerated_within_bounds() -> None:
    one = record(CHANGE_CIPHER_SPEC, b"\1")
    opened(Server13(BROKER, hooks={"change_cipher_spec": lambda _: one * 10}))
    seen = refused(Server13(BROKER, hooks={"change_cipher_spec": lambda _: one * 100}))
    assert seen == ("tls.flood", "unexpected_message")
    for content in (b"\2", b"\1\1", b""):
        broken = record(CHANGE_CIPHER_SPEC, content)
        code, _ = refused(Server13(BROKER, hooks={"change_cipher_spec": lambda _, b=broken: b}))
        assert code in ("tls.malformed", "tls.unexpected-message")


def test_empty_records_of_a_handshake() -> None:
    server = Server13(BROKER)

    def empty(one: bytes) -> bytes:
        server.put(server.send_keys.seal(HANDSHAKE, b""))
        return one

    server.hooks["certificate"] = empty
    assert refused(server) == UNEXPECTED


# After the handshake.


def ticket(content: bytes) -> bytes:
    return message(4, content)


LATE = {
    "hello request": (message(0, b""), UNEXPECTED),
    "server hello": (message(2, bytes(40)), UNEXPECTED),
    "certificate request": (
        message(13, b"\1x" + extensions([(13, vector(b"\4\3", 2))])),
        UNEXPECTED,
    ),
    "finished": (message(20, bytes(32)), UNEXPECTED),
    "ticket cut": (ticket(bytes(9)), MALFORMED),
    "ticket empty": (ticket(bytes(4) + bytes(4) + b"\0" + b"\0\0" + b"\0\0"), MALFORMED),
    "ticket with bytes behind": (
        ticket(b"\0\0\0\1" + bytes(4) + b"\0" + b"\0\1x" + b"\0\0" + b"\0"),
        MALFORMED,
    ),
    "ticket without extensions": (
        ticket(b"\0\0\0\1" + bytes(4) + b"\0" + b"\0\1x"),
        MALFORMED,
    ),
    "ticket of 1 MB": (b"\4\x10\0\0", ("tls.message-too-large", None)),
    "key update 2": (message(24, b"\2"), ILLEGAL),
    "key update empty": (message(24, b""), MALFORMED),
    "key update long": (message(24, b"\0\0"), MALFORMED),
    "key update and more": (message(24, b"\0") + message(24, b"\0"), UNEXPECTED),
}


@pytest.mark.parametrize("flaw", LATE)
def test_message_after_the_handshake(flaw: str) -> None:
    content, want = LATE[flaw]
    server = Server13(BROKER)
    engine = opened(server)
    server.send(content, HANDSHAKE)
    code, alert = failure(engine, server)
    assert code == want[0] and alert in (want[1] or alert,)


def test_application_data_within_a_message() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"\4\0\0", HANDSHAKE)
    server.send(b"between")
    assert failure(engine, server) == UNEXPECTED


def test_flood_of_tickets_and_key_updates() -> None:
    for send in (lambda one: one.send_ticket(b"t" * 300), lambda one: one.send_key_update(1)):
        server = Server13(BROKER)
        engine = opened(server)
        for _ in range(50):
            for _ in range(10):
                send(server)
            server.send(b"content between")
            read_all(engine, server)
        for _ in range(30):
            send(server)
        assert failure(engine, server) == ("tls.flood", "unexpected_message")


def test_flood_of_empty_records() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for _ in range(10):
        server.send(b"")
    server.send(b"content")
    assert read_all(engine, server) == b"content"
    for _ in range(30):
        server.send(b"")
    assert failure(engine, server) == ("tls.flood", "unexpected_message")


def test_flood_of_warnings() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for _ in range(30):
        server.send(b"\1\x5a", ALERT)
    assert failure(engine, server)[0] == "tls.flood"


@pytest.mark.parametrize("level", [1, 2])
def test_alert_is_fatal_whatever_its_level(level: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(bytes((level, 40)), ALERT)
    assert failure(engine, server) == ("tls.alert-handshake-failure", "")


def test_alert_instead_of_a_server_hello() -> None:
    server = Server13(BROKER)
    server.hooks["server_hello"] = lambda _: server.put(record(ALERT, b"\2\x46")) or b""
    seen = refused(server)
    assert seen[0] == "tls.alert-protocol-version"


def test_truncation_is_seen() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"the first half")
    assert read_all(engine, server) == b"the first half"
    with pytest.raises(KeyfobError, match=r"tls\.truncated"):
        engine.ended()


def test_data_behind_close_notify_are_not_read() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.close()
    server.send(b"behind")
    assert read_some(engine, server) == b"" and engine.is_closed
    assert not len(engine.room())


def read_some(engine: object, server: Server13) -> bytes:
    pump(engine, server)
    buffer = bytearray(100)
    return bytes(buffer[: engine.read(memoryview(buffer))])


# Resumption.


def test_pre_shared_key_that_the_server_does_not_have() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    thief = Server13(BROKER)
    thief._find_psk = lambda one: bytes(32)
    # They have no secret in common, so not even the alert is understood.
    assert refused(thief, session=engine.session) == ("tls.bad-record-mac", "")


def test_resumption_with_another_identity_or_without_key_exchange() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    for parts, want in (
        ([IS_13, GOOD, (41, b"\0\1")], ILLEGAL),
        ([IS_13, (41, b"\0\0")], ("tls.missing-extension", "missing_extension")),
    ):
        thief = Server13(BROKER, hooks={"server_hello": hello(parts)})
        assert refused(thief, session=engine.session) == want


def test_certificate_in_a_resumed_handshake() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    again = Server13(BROKER, psks=server._psks)
    again.hooks["finished"] = lambda one: again.certificate() + one
    assert refused(again, session=engine.session) == UNEXPECTED


def test_keys_are_not_those_of_before() -> None:
    """A server that goes on under its handshake's keys is not heard."""
    server = Server13(BROKER)
    engine = opened(server)
    server.send_keys = Keys(bytes(32))
    server.send(b"x")
    assert failure(engine, server) == ("tls.bad-record-mac", "bad_record_mac")


def test_only_tls_13_is_asked_of_a_server_of_tls_12() -> None:
    older = hello([], suite=b"\xc0\x2b")
    server = Server13(BROKER, hooks={"server_hello": older})
    seen = refused(server, versions=(TLS13,))
    assert seen == ("tls.wrong-version", "protocol_version")
