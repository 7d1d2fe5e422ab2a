"""A hostile server's ServerHello, HelloRetryRequest and EncryptedExtensions: version, suite,
curve, extensions and downgrade."""

from __future__ import annotations

import time

import pytest
from tls12_server import ETM, EXTENDED, RENEGOTIATION, Server12
from tls13_server import Server13
from tls_hostile import (
    COOKIE,
    DOWNGRADE,
    GOOD,
    ILLEGAL,
    IS_13,
    MALFORMED,
    MISSING,
    NOT_OFFERED,
    NOT_ON_CURVE,
    PARTS,
    TOO_LARGE,
    UNEXPECTED,
    UNKNOWN,
    WRONG_VERSION,
    alpn,
    hello12,
    hello13,
    real_point,
    refused12,
    share,
)
from tls_rig import (
    BROKER,
    HOST,
    no_collector,  # noqa: F401
    opened,
    refused,
)
from tls_wire import RETRY_RANDOM, message, vector

from keyfob.tls.engine import TLS12, TLS13
from keyfob.tls.session import Session

# TLS 1.2.

HELLOS_12 = {
    "version SSL 3.0": (hello12(version=b"\3\0"), WRONG_VERSION),
    "version TLS 1.0": (hello12(version=b"\3\1"), WRONG_VERSION),
    "version TLS 1.1": (hello12(version=b"\3\2"), WRONG_VERSION),
    "version TLS 1.3, not offered": (hello12((*PARTS, (43, b"\3\4"))), UNKNOWN),
    "marked as a downgrade to 1.1": (
        hello12(random=bytes(24) + b"DOWNGRD\0"),
        DOWNGRADE,
    ),
    "suite not offered": (hello12(suite=b"\xc0\x2c"), NOT_OFFERED),
    "suite NULL": (hello12(suite=b"\0\0"), NOT_OFFERED),
    "suite with RSA exchange, not asked for": (hello12(suite=b"\0\x9c"), NOT_OFFERED),
    "suite of PSK": (hello12(suite=b"\0\xa8"), NOT_OFFERED),
    "suite of TLS 1.3": (hello12(suite=b"\x13\1"), NOT_OFFERED),
    "compression": (hello12(compression=b"\1"), NOT_OFFERED),
    "no secure renegotiation": (
        hello12((EXTENDED,)),
        ("tls.no-secure-renegotiation", "handshake_failure"),
    ),
    "no extensions": (hello12(raw=b""), ("tls.no-secure-renegotiation", "handshake_failure")),
    "renegotiated_connection": (
        hello12(((0xFF01, vector(bytes(24), 1)), EXTENDED)),
        ("tls.no-secure-renegotiation", "handshake_failure"),
    ),
    "extension not offered": (hello12((*PARTS, (5, b""))), UNKNOWN),
    "extension twice": (hello12((*PARTS, EXTENDED)), MALFORMED),
    "extensions cut": (hello12(raw=b"\0\5\xff\1\0\1"), MALFORMED),
    "bytes behind the extensions": (hello12(raw=b"\0\5\xff\1\0\1\0\0"), MALFORMED),
    "session id of 33 bytes": (hello12(session_id=bytes(33)), MALFORMED),
    "encrypt-then-MAC with GCM": (hello12((*PARTS, ETM)), ILLEGAL),
    "encrypt-then-MAC with content": (
        hello12((*PARTS, (22, b"x")), suite=b"\xc0\x23"),
        MALFORMED,
    ),
    "extended master secret with content": (hello12((RENEGOTIATION, (23, b"x"))), MALFORMED),
    "session ticket with content": (hello12((*PARTS, (35, b"x"))), MALFORMED),
    "fragment of another size": (hello12((*PARTS, (1, b"\1"))), ILLEGAL),
    "fragment of no size": (hello12((*PARTS, (1, b""))), ILLEGAL),
    "fragment of 200": (hello12((*PARTS, (1, b"\xc8"))), ILLEGAL),
    "both sizes": (hello12((*PARTS, (1, b"\2"), (28, b"\2\0"))), ILLEGAL),
    "record_size_limit too small": (hello12((*PARTS, (28, b"\0\x3f"))), ILLEGAL),
    "record_size_limit cut": (hello12((*PARTS, (28, b"\x3f"))), MALFORMED),
    "no uncompressed points": (hello12((*PARTS, (11, b"\2\1\2"))), ILLEGAL),
    "no point formats": (hello12((*PARTS, (11, b"\0"))), MALFORMED),
    "point formats of no length": (hello12((*PARTS, (11, b""))), MALFORMED),
    "point formats cut": (hello12((*PARTS, (11, b"\5\0"))), MALFORMED),
    "bytes behind the point formats": (hello12((*PARTS, (11, b"\1\0\0"))), MALFORMED),
    "other protocol": (hello12((*PARTS, alpn(b"h2"))), NOT_OFFERED),
    "two protocols": (hello12((*PARTS, alpn(b"mqtt", b"mqtt"))), MALFORMED),
    "no protocol": (hello12((*PARTS, alpn())), MALFORMED),
    "cut": (lambda one: message(2, one[4:30]), MALFORMED),
    "empty": (lambda _: message(2, b""), MALFORMED),
    "left out": (lambda _: b"", UNEXPECTED),
    "twice": (lambda one: one + one, UNEXPECTED),
    "huge": (lambda _: b"\2\xff\xff\xff" + bytes(5000), TOO_LARGE),
}


@pytest.mark.parametrize("flaw", HELLOS_12)
def test_server_hello_of_tls12(flaw: str) -> None:
    hook, want = HELLOS_12[flaw]
    assert refused12(Server12(BROKER, hooks={"server_hello": hook}), alpn=(b"mqtt",)) == want


def test_downgrade_from_13_is_seen() -> None:
    marked = hello12(random=bytes(24) + b"DOWNGRD\1")
    server = Server12(BROKER, hooks={"server_hello": marked})
    want = DOWNGRADE
    assert refused12(server, versions=(TLS13, TLS12)) == want


@pytest.mark.parametrize("kind", [13, 41, 45, 51])
def test_extension_that_no_server_hello_of_tls12_has(kind: int) -> None:
    """supported_groups is none of it either, but some servers send it."""
    now_s = int(time.time())
    session = Session(TLS13, 0x1301, HOST, bytes(32), b"t", b"", now_s, 60, now_s + 60)
    server = Server12(BROKER, hooks={"server_hello": hello12((*PARTS, (kind, b"")))})
    assert refused(server, session=session) == ILLEGAL
    opened(Server12(BROKER, parts=(*PARTS, (10, vector(b"\0\x17", 2)))))


def test_older_version_than_the_board_allows() -> None:
    assert refused12(Server12(BROKER), versions=(TLS13,)) in (NOT_OFFERED, WRONG_VERSION)


# TLS 1.3.

HELLOS_13 = {
    "no key share": ([IS_13], {}, MISSING),
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
    "version TLS 1.4": ([(43, b"\3\5"), GOOD], {}, ILLEGAL),
    "version TLS 1.2 as extension": (
        [(43, b"\3\3"), GOOD],
        {},
        ILLEGAL,
    ),
    "legacy version 1.3": (
        [IS_13, GOOD],
        {"version": b"\3\4"},
        ILLEGAL,
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
        DOWNGRADE,
    ),
    "downgrade to 1.1 marked": (
        [],
        {"random": bytes(24) + b"DOWNGRD\0", "suite": b"\xc0\x2b"},
        DOWNGRADE,
    ),
}


@pytest.mark.parametrize("flaw", HELLOS_13)
def test_server_hello_of_tls13(flaw: str) -> None:
    parts, options, want = HELLOS_13[flaw]
    assert refused(Server13(BROKER, hooks={"server_hello": hello13(parts, **options)})) == want


def test_only_tls_13_is_asked_of_a_server_of_tls_12() -> None:
    older = hello13([], suite=b"\xc0\x2b")
    server = Server13(BROKER, hooks={"server_hello": older})
    seen = refused(server, versions=(TLS13,))
    assert seen == WRONG_VERSION


RETRIES = {
    "that changes nothing": ([], ILLEGAL),
    "for a group not offered": ([(51, b"\0\x1d")], ILLEGAL),
    "for the group that was sent": ([(51, b"\0\x17")], ILLEGAL),
    "with an empty cookie": ([(44, b"\0\0")], MALFORMED),
    "with bytes behind the cookie": ([(44, COOKIE[1] + b"x")], MALFORMED),
    "with a pre-shared key": ([COOKIE, (41, b"\0\0")], UNKNOWN),
    "with another extension": ([COOKIE, (28, b"\2\0")], ILLEGAL),
}


@pytest.mark.parametrize("flaw", RETRIES)
def test_hello_retry_request(flaw: str) -> None:
    parts, want = RETRIES[flaw]
    assert refused(Server13(BROKER, retry=parts)) == want


@pytest.mark.parametrize("group", [b"\0\x17", b"\0\x18", b"\x11\xec"])
def test_hello_retry_request_for_another_group_where_there_are_two(group: bytes) -> None:
    assert refused(Server13(BROKER, retry=[(51, group)]), versions=(TLS13,)) == ILLEGAL


@pytest.mark.parametrize(
    "point",
    [bytes(32), b"\1" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f", b"x", real_point()],
    ids=["zero", "one", "prime", "short", "of-p256"],
)
def test_point_of_x25519_that_leads_to_zero_or_is_none(point: bytes) -> None:
    hooks = {"server_hello": hello13([IS_13, share(0x1D, point)])}
    server = Server13(BROKER, retry=[(51, b"\0\x1d")], hooks=hooks)
    assert refused(server, versions=(TLS13,)) == ILLEGAL


def test_group_of_the_server_hello_is_not_that_of_the_hello_retry_request() -> None:
    hooks = {"server_hello": hello13([IS_13, GOOD])}
    server = Server13(BROKER, retry=[(51, b"\0\x1d")], hooks=hooks)
    assert refused(server, versions=(TLS13,)) == ILLEGAL


def test_second_hello_retry_request() -> None:
    again = hello13([IS_13, COOKIE], random=RETRY_RANDOM)
    assert refused(Server13(BROKER, retry=[COOKIE], hooks={"server_hello": again})) == UNEXPECTED


def test_tls_12_behind_a_hello_retry_request() -> None:
    older = hello13([], suite=b"\xc0\x2b")
    seen = refused(Server13(BROKER, retry=[COOKIE], hooks={"server_hello": older}))
    assert seen == ILLEGAL


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
