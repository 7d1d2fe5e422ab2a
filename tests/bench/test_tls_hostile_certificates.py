"""A hostile server's Certificate and CertificateRequest: chains that are wrong, empty or too
large, and keys of another kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from certificates import CLIENT_AUTH, DAY, Pair, as_version_1, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls12_server import ECDHE_ECDSA_GCM, ECDHE_RSA_GCM, RSA_GCM, Server12
from tls13_server import Server13
from tls_hostile import (
    ILLEGAL,
    MALFORMED,
    MISSING,
    NO_CERTIFICATE,
    TOO_LARGE,
    UNEXPECTED,
    flipped,
    leaf,
    refused12,
)
from tls_rig import (
    BROKER,
    CA,
    HOST,
    Client,
    failure,
    make_engine,
    no_collector,  # noqa: F401
    refused,
)
from tls_wire import extensions, message, vector

from keyfob.tls.engine import TLS12, Engine

# Both versions.


def too_long() -> Pair:
    upper = make_ca("upper", issuer=CA, path_length=0)
    lower = make_ca("lower", issuer=upper)
    return make_leaf(lower, HOST, (HOST,), below=(lower, upper))


def forged() -> Pair:
    pair = leaf()
    return Pair(flipped(pair.der), pair.key)


CHAINS: dict[str, tuple[Callable[[], Pair], str]] = {
    "x509.expired": (lambda: leaf(after=-DAY / 2), "certificate_expired"),
    "x509.not-yet-valid": (lambda: leaf(before=DAY), "certificate_expired"),
    "x509.wrong-name": (lambda: make_leaf(CA, "x", ("other.test",)), "bad_certificate"),
    "x509.no-san": (lambda: make_leaf(CA, HOST), "bad_certificate"),
    "x509.wrong-usage": (lambda: leaf(usage=CLIENT_AUTH), "unsupported_certificate"),
    "x509.untrusted": (lambda: make_leaf(make_ca("another"), HOST, (HOST,)), "unknown_ca"),
    "x509.bad-signature": (forged, "bad_certificate"),
    "x509.not-v3": (lambda: as_version_1(leaf(), CA), "unsupported_certificate"),
    "x509.end-entity-is-ca": (lambda: make_ca("a CA", issuer=CA), "bad_certificate"),
    "x509.path-length": (too_long, "bad_certificate"),
    "x509.weak": (lambda: leaf(key=WEAK), "bad_certificate"),
    "x509.unsupported": (lambda: leaf(key=P521), "bad_certificate"),
}
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505
P521 = ec.generate_private_key(ec.SECP521R1())


@pytest.mark.parametrize("code", CHAINS)
def test_chain(code: str) -> None:
    make, alert = CHAINS[code]
    assert refused12(Server12(make())) == (code, alert)
    assert refused(Server13(make())) == (code, alert)


# TLS 1.2.


def certificate12(*ders: bytes) -> Callable[[bytes], bytes]:
    return lambda _: message(11, vector(b"".join(vector(der, 3) for der in ders), 3))


CERTIFICATES_12 = {
    "no certificate": (certificate12(), NO_CERTIFICATE),
    "an empty certificate": (certificate12(b""), MALFORMED),
    "a list longer than the message": (lambda _: message(11, b"\0\xff\xff" + bytes(9)), MALFORMED),
    "a message longer than the list": (
        lambda one: message(11, one[4:] + b"\0"),
        MALFORMED,
    ),
    "an entry cut": (lambda _: message(11, b"\0\0\5\0\0\3\x30\0"), MALFORMED),
    "a length cut": (lambda _: message(11, vector(b"\0\0", 3)), MALFORMED),
    "nothing": (lambda _: message(11, b""), MALFORMED),
    "a huge certificate": (certificate12(bytes(5000)), TOO_LARGE),
    "too many certificates": (certificate12(*[BROKER.der] * 9), TOO_LARGE),
    "too many bytes": (certificate12(*[bytes(4000)] * 4), TOO_LARGE),
    "no DER": (certificate12(b"\x30\3\2\1\1"), ("x509.malformed", "bad_certificate")),
    "left out": (lambda _: b"", UNEXPECTED),
    "twice": (lambda one: one + one, UNEXPECTED),
}


@pytest.mark.parametrize("flaw", CERTIFICATES_12)
def test_certificate_message_of_tls12(flaw: str) -> None:
    hook, want = CERTIFICATES_12[flaw]
    assert refused12(Server12(BROKER, hooks={"certificate": hook})) == want


def test_no_anchors_at_all() -> None:
    server = Server12(BROKER)
    engine = Engine(HOST, [], make_engine()._handshake.now_s, versions=(TLS12,))
    assert failure(engine, server) == ("x509.untrusted", "unknown_ca")


@pytest.fixture(scope="module")
def rsa_broker() -> Pair:
    return leaf(key=rsa.generate_private_key(65537, 2048))


def test_key_that_does_not_belong_to_the_suite(rsa_broker: Pair) -> None:
    assert refused12(Server12(rsa_broker, suite=ECDHE_ECDSA_GCM)) == ILLEGAL
    server = Server12(BROKER, suite=ECDHE_RSA_GCM)
    assert refused12(server) == ILLEGAL
    assert refused12(Server12(BROKER, suite=RSA_GCM), has_rsa_exchange=True)[0] in (
        "x509.wrong-usage",
        "tls.illegal-parameter",
    )


REQUESTS_12 = {
    "cut": (b"\1", MALFORMED),
    "empty": (b"", MALFORMED),
    "schemes cut": (b"\1\x40\0\x09\4\3", MALFORMED),
    "no types": (vector(b"", 1) + vector(b"\4\3", 2) + vector(b"", 2), MALFORMED),
    "no schemes": (vector(b"\1\x40", 1) + vector(b"", 2) + vector(b"", 2), MALFORMED),
    "names cut": (vector(b"\1\x40", 1) + vector(b"\4\3", 2) + b"\0\5\0", MALFORMED),
    "bytes behind the names": (
        vector(b"\1\x40", 1) + vector(b"\4\3", 2) + vector(b"", 2) + b"\0",
        MALFORMED,
    ),
    "no scheme in common": (
        vector(b"\1\x40", 1) + vector(b"\2\1\6\3", 2) + vector(b"", 2),
        ("tls.no-common-scheme", "handshake_failure"),
    ),
    "schemes of an odd length": (
        vector(b"\1\x40", 1) + vector(b"\4\3\6", 2) + vector(b"", 2),
        MALFORMED,
    ),
    "a name longer than the names": (
        vector(b"\1\x40", 1) + vector(b"\4\3", 2) + vector(b"\0\3\x30\0", 2),
        MALFORMED,
    ),
    "the length of a name cut": (
        vector(b"\1\x40", 1) + vector(b"\4\3", 2) + vector(b"\0\2\x30\0\0", 2),
        MALFORMED,
    ),
    "an empty name": (
        vector(b"\1\x40", 1) + vector(b"\4\3", 2) + vector(b"\0\0", 2),
        MALFORMED,
    ),
}


@pytest.mark.parametrize("flaw", REQUESTS_12)
def test_certificate_request_of_tls12(flaw: str) -> None:
    body, want = REQUESTS_12[flaw]
    client = Client(make_leaf(CA, "board", usage=CLIENT_AUTH))
    assert refused12(Server12(BROKER, asks=body), client=client) == want


# TLS 1.3.


def certificate13(*entries: bytes, context: bytes = b"\0") -> Callable[[bytes], bytes]:
    return lambda _: message(11, context + vector(b"".join(entries), 3))


def entry(der: bytes, found: bytes = b"\0\0") -> bytes:
    return vector(der, 3) + found


CERTIFICATES_13 = {
    "no certificate": (certificate13(), NO_CERTIFICATE),
    "a context": (certificate13(entry(BROKER.der), context=b"\1x"), None),
    "an extension": (certificate13(entry(BROKER.der, b"\0\4\0\5\0\0")), None),
    "an empty certificate": (certificate13(entry(b"")), MALFORMED),
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
        certificate13(entry(bytes(20_000))),
        ("tls.message-too-large", None),
    ),
    "too many certificates": (
        certificate13(*[entry(BROKER.der)] * 30),
        ("tls.message-too-large", None),
    ),
    "bytes that are no certificate": (
        certificate13(entry(b"\x30\3\2\1\1")),
        ("x509.malformed", "bad_certificate"),
    ),
}


@pytest.mark.parametrize("flaw", CERTIFICATES_13)
def test_certificate_message_of_tls13(flaw: str) -> None:
    hook, want = CERTIFICATES_13[flaw]
    code, alert = refused(Server13(BROKER, hooks={"certificate": hook}))
    if want is None:
        assert code in ("tls.malformed", "tls.illegal-parameter", "tls.unknown-extension")
    else:
        assert code == want[0] and alert in (want[1] or alert,)


REQUESTS_13 = {
    "no schemes": (b"\0" + extensions([]), MISSING),
    "empty schemes": (b"\0" + extensions([(13, b"\0\0")]), MALFORMED),
    "schemes of an odd length": (b"\0" + extensions([(13, vector(b"\4\3\6", 2))]), MALFORMED),
    "a context": (vector(b"x", 1) + extensions([(13, vector(b"\4\3", 2))]), ILLEGAL),
    "cut": (b"\0\0\x09\0\x0d", MALFORMED),
    "empty": (b"", MALFORMED),
}


@pytest.mark.parametrize("flaw", REQUESTS_13)
def test_certificate_request_of_tls13(flaw: str) -> None:
    body, want = REQUESTS_13[flaw]
    assert refused(Server13(BROKER, asks=body)) == want


def test_certificate_request_after_the_certificate() -> None:
    request = message(13, b"\0" + extensions([(13, vector(b"\4\3", 2))]))
    server = Server13(BROKER, hooks={"certificate_verify": lambda one: request + one})
    assert refused(server) == UNEXPECTED
