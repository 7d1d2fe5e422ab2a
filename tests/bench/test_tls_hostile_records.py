"""Records with a wrong MAC, padding, length, type or version, out of their order, or of no TLS
at all."""

from __future__ import annotations

import pytest
from tls12_server import ECDHE_ECDSA_CBC, ECDHE_ECDSA_GCM, ETM, Server12
from tls12_wire import CbcKeys
from tls13_server import Server13
from tls13_wire import Keys
from tls_hostile import (
    BAD_MAC,
    OVERFLOW,
    PARTS,
    UNEXPECTED,
    WRONG_VERSION,
    flipped,
    opened12,
    refused12,
)
from tls_rig import (
    BROKER,
    failure,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    read_all,
    refused,
)
from tls_wire import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, record

from keyfob.tls.engine import TLS12

# TLS 1.2.


def test_record_with_one_bit_changed_anywhere_of_tls12() -> None:
    for suite, parts in ((ECDHE_ECDSA_GCM, PARTS), (ECDHE_ECDSA_CBC, PARTS)):
        for at in (0, 1, 9, 20, 25, -1):
            server = Server12(BROKER, suite=suite, parts=parts)
            engine = opened12(server)
            server.send(b"content")
            sent = server.take()
            server.put(flipped(sent, at if at < 0 else 5 + at))
            assert failure(engine, server) == BAD_MAC


def test_record_twice_or_left_out_of_tls12() -> None:
    for change in (lambda one, two: one + one, lambda one, two: two):
        server = Server12(BROKER)
        engine = opened12(server)
        server.send(b"one")
        one = server.take()
        server.send(b"two")
        server.put(change(one, server.take()))
        assert failure(engine, server) == BAD_MAC


def test_record_of_another_type_than_was_sealed() -> None:
    server = Server12(BROKER)
    engine = opened12(server)
    server.send(b"content")
    server.put(b"\x16" + server.take()[1:])
    assert failure(engine, server) == BAD_MAC


@pytest.mark.parametrize("parts", [PARTS, (*PARTS, ETM)])
@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 47, 48, 49, 64, 79])
def test_record_too_short_for_its_protection(parts: tuple, size: int) -> None:
    for suite in (ECDHE_ECDSA_CBC, ECDHE_ECDSA_GCM):
        if suite == ECDHE_ECDSA_GCM and ETM in parts:
            continue
        server = Server12(BROKER, suite=suite, parts=parts)
        engine = opened12(server)
        server.put(record(23, bytes(size)))
        assert failure(engine, server) == BAD_MAC


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
    engine = opened12(server)
    assert isinstance(server.send_keys, CbcKeys)
    server.send_keys.spoil = PADDINGS[flaw]
    server.send(b"hello")
    if ETM in parts and flaw in ("of zero",):
        # The MAC covers it: what it takes off is what its sender said.
        assert read_all(engine, server).startswith(b"hello")
    else:
        assert failure(engine, server) == BAD_MAC


def test_padding_may_be_longer_than_a_block() -> None:
    for parts in (PARTS, (*PARTS, ETM)):
        server = Server12(BROKER, suite=ECDHE_ECDSA_CBC, parts=parts)
        engine = opened12(server)
        assert isinstance(server.send_keys, CbcKeys)
        server.send_keys.padding_blocks = 10
        server.send(b"hello")
        assert read_all(engine, server) == b"hello"


def test_record_larger_than_the_buffer() -> None:
    server = Server12(BROKER, fragment=16_000)
    engine = opened12(server, rx_bytes=512)
    server.send(bytes(3000))
    assert failure(engine, server) == OVERFLOW


def test_record_larger_than_was_agreed() -> None:
    server = Server12(BROKER, parts=(*PARTS, (1, b"\1")), fragment=500)
    engine = opened12(server, rx_bytes=512)
    server.fragment = 520
    server.send(bytes(520))
    assert failure(engine, server) == OVERFLOW


def test_record_larger_than_any_may_be() -> None:
    server = Server12(BROKER)
    server.put(b"\x16\3\3\x40\1")
    assert refused12(server) == OVERFLOW


def test_record_of_another_version() -> None:
    server = Server12(BROKER)
    server.hooks["certificate"] = lambda one: (server.put(record(22, one, 0x0301)), b"")[1]
    assert refused12(server) == WRONG_VERSION


def test_record_of_no_type() -> None:
    for kind in (0, 19, 24, 0x80, 255):
        server = Server12(BROKER)
        engine = make_engine(versions=(TLS12,))
        while engine.step():
            pass
        server.receive(bytes(engine.tx()))
        engine.sent(len(engine.tx()))
        flight = server.take()
        hello_size = 5 + int.from_bytes(flight[3:5], "big")
        server.put(flight[:hello_size] + bytes([kind]) + flight[hello_size + 1 :])
        assert failure(engine, server) == UNEXPECTED


@pytest.mark.parametrize("raw", [b"HTTP/1.1 400 Bad Request\r\n", b"\x20\2\0\0\0", b"\x16\2\0\0\5"])
def test_no_tls_at_all(raw: bytes) -> None:
    server = Server12(BROKER)
    server.put(raw)
    assert refused12(server) == ("tls.not-tls", "")


# TLS 1.3.


def test_record_with_one_bit_changed_anywhere_of_tls13() -> None:
    for at in (0, 1, 7, 20, 21, 22):
        server = Server13(BROKER)
        engine = opened(server)
        server.send(b"content")
        sent = server.take()
        server.put(flipped(sent, 5 + at))
        assert failure(engine, server) == BAD_MAC


def test_record_twice_or_left_out_of_tls13() -> None:
    for change in (lambda one, two: one + one, lambda one, two: two):
        server = Server13(BROKER)
        engine = opened(server)
        server.send(b"one")
        one = server.take()
        server.send(b"two")
        server.put(change(one, server.take()))
        assert failure(engine, server) == BAD_MAC


def test_record_of_nothing_but_zeros() -> None:
    for size in (0, 1, 100):
        server = Server13(BROKER)
        engine = opened(server)
        server.put(server.send_keys.seal(0, bytes(size)))
        want = UNEXPECTED if size else BAD_MAC
        assert failure(engine, server) == want


@pytest.mark.parametrize("kind", [20, 24, 25, 255])
def test_protected_record_of_another_type(kind: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.put(server.send_keys.seal(kind, b"\1"))
    assert failure(engine, server) == UNEXPECTED


@pytest.mark.parametrize("kind", [20, 24, 255])
@pytest.mark.parametrize("name", ["encrypted_extensions", "certificate", "finished"])
def test_protected_record_of_another_type_in_the_handshake(name: str, kind: int) -> None:
    """Neither is a ChangeCipherSpec let go by, nor is a message taken from such a record."""
    server = Server13(BROKER)

    def disguised(one: bytes) -> bytes:
        server.put(server.send_keys.seal(kind, b"\1" if kind == CHANGE_CIPHER_SPEC else one))
        return one if kind == CHANGE_CIPHER_SPEC else b""

    server.hooks[name] = disguised
    assert refused(server) == UNEXPECTED


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
    assert failure(engine, server) == BAD_MAC


def test_record_larger_than_agreed() -> None:
    server = Server13(BROKER, encrypted=[(1, b"\1")], fragment=500)
    engine = opened(server, rx_bytes=512)
    server.put(server.send_keys.seal(APPLICATION_DATA, bytes(513)))
    assert failure(engine, server) == OVERFLOW
    server = Server13(BROKER)
    engine = opened(server)
    server.put(record(APPLICATION_DATA, bytes(16_384 + 257)))
    assert failure(engine, server) == OVERFLOW


def test_padding_counts_where_a_limit_was_agreed() -> None:
    """Content, type and padding together: RFC 8449 section 4."""
    for content, padding, is_good in ((10, 501, True), (511, 0, True), (10, 502, False)):
        server = Server13(BROKER, encrypted=[(28, b"\2\0")], fragment=500)
        engine = opened(server, rx_bytes=512)
        server.put(server.send_keys.seal(APPLICATION_DATA, bytes(content), padding))
        if is_good:
            assert read_all(engine, server) == bytes(content)
        else:
            assert failure(engine, server) == OVERFLOW
    server = Server13(BROKER, encrypted=[(28, b"\2\0")], fragment=500)
    engine = opened(server, rx_bytes=512)
    server.put(server.send_keys.seal(APPLICATION_DATA, bytes(512)))
    assert failure(engine, server) == OVERFLOW


def test_empty_records_of_a_handshake() -> None:
    server = Server13(BROKER)

    def empty(one: bytes) -> bytes:
        server.put(server.send_keys.seal(HANDSHAKE, b""))
        return one

    server.hooks["certificate"] = empty
    assert refused(server) == UNEXPECTED


def test_keys_are_not_those_of_before() -> None:
    """A server that goes on under its handshake's keys is not heard."""
    server = Server13(BROKER)
    engine = opened(server)
    server.send_keys = Keys(bytes(32))
    server.send(b"x")
    assert failure(engine, server) == BAD_MAC
