"""A hostile server's proofs: signature and curve point of its key exchange, CertificateVerify,
and Finished."""

from __future__ import annotations

import pytest
from certificates import Pair, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from tls12_server import ECDHE_RSA_GCM, Server12
from tls13_server import CLIENT_CONTEXT, Server13
from tls_hostile import (
    BAD_FINISHED,
    BAD_SIGNATURE,
    ILLEGAL,
    MALFORMED,
    NOT_OFFERED,
    NOT_ON_CURVE,
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
    no_collector,  # noqa: F401
    opened,
    refused,
)
from tls_server import PSS_SHA256
from tls_wire import message

# TLS 1.2.

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
    assert refused12(server) == want


@pytest.fixture(scope="module")
def rsa_broker() -> Pair:
    return leaf(key=rsa.generate_private_key(65537, 2048))


def test_key_exchange_of_an_rsa_key(rsa_broker: Pair) -> None:
    for change in (flipped, lambda one: flipped(one, -200)):
        server = Server12(rsa_broker, suite=ECDHE_RSA_GCM, hooks={"key_exchange": change})
        assert refused12(server) == BAD_SIGNATURE


FINISHED_12 = {
    "one bit": flipped,
    "zeros": lambda _: message(20, bytes(12)),
    "short": lambda one: message(20, one[4:-1]),
    "long": lambda one: message(20, one[4:] + b"\0"),
    "empty": lambda _: message(20, b""),
}


@pytest.mark.parametrize("flaw", FINISHED_12)
def test_finished_of_tls12(flaw: str) -> None:
    assert refused12(Server12(BROKER, hooks={"finished": FINISHED_12[flaw]})) == BAD_FINISHED


# TLS 1.3.


def test_signature_of_another_handshake() -> None:
    kept = []

    def keep(one: bytes) -> bytes:
        kept.append(one)
        return kept[0]

    opened(Server13(BROKER, hooks={"certificate_verify": keep}))
    seen = refused(Server13(BROKER, hooks={"certificate_verify": keep}))
    assert seen == BAD_SIGNATURE


def test_signature_with_one_bit_changed() -> None:
    for at in (-1, -40):
        server = Server13(BROKER, hooks={"certificate_verify": lambda one, at=at: flipped(one, at)})
        assert refused(server) == BAD_SIGNATURE


def test_signature_by_another_key() -> None:
    other = make_leaf(CA, HOST, (HOST,))
    server = Server13(BROKER)
    server.hooks["certificate_verify"] = lambda _: other_signs()

    def other_signs() -> bytes:
        server.pair = other
        return server.certificate_verify()

    assert refused(server) == BAD_SIGNATURE


def test_signature_made_for_a_client() -> None:
    server = Server13(BROKER)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(CLIENT_CONTEXT)
    assert refused(server) == BAD_SIGNATURE


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
    assert refused(server) == BAD_SIGNATURE
    server = Server13(pair)
    server.hooks["certificate_verify"] = lambda _: server.certificate_verify(scheme=PSS_SHA256 + 1)
    assert refused(server) == BAD_SIGNATURE


FINISHED_13 = {
    "one bit": lambda one: flipped(one),
    "zeros": lambda one: message(20, bytes(32)),
    "short": lambda one: message(20, one[4:-1]),
    "long": lambda one: message(20, one[4:] + b"\0"),
    "empty": lambda one: message(20, b""),
}


@pytest.mark.parametrize("flaw", FINISHED_13)
def test_finished_of_tls13(flaw: str) -> None:
    seen = refused(Server13(BROKER, hooks={"finished": FINISHED_13[flaw]}))
    assert seen == BAD_FINISHED
