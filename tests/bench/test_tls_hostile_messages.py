"""Handshake messages left out, twice, too many, out of their order, in clear, or behind the
handshake; ChangeCipherSpec too."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tls12_server import RSA_GCM, Server12
from tls13_server import Server13
from tls_hostile import COOKIE, FLOOD, ILLEGAL, MALFORMED, UNEXPECTED, leaf, opened12, refused12
from tls_rig import (
    BROKER,
    failure,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    pump,
    refused,
)
from tls_wire import (
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    extensions,
    message,
    record,
    vector,
)

from keyfob.errors import KeyfobError


def third_of(names: tuple[str, ...], kinds: list[int]) -> list:
    """Each name and each kind every day, each of the one with each of the other in the long run."""
    return [
        pytest.param(name, kind, marks=() if (row + column) % 3 == 0 else pytest.mark.slow)
        for row, name in enumerate(names)
        for column, kind in enumerate(kinds)
    ]


# TLS 1.2.

ASKS = vector(b"\1\x40", 1) + vector(b"\4\3\4\1", 2) + vector(b"", 2)

MESSAGES_12 = ("server_hello", "certificate", "key_exchange", "certificate_request", "hello_done")


@pytest.mark.parametrize(
    ("name", "kind"),
    third_of((*MESSAGES_12, "ticket", "finished"), [1, 2, 3, 5, 8, 15, 16, 21, 22, 24, 67, 254]),
)
def test_message_of_another_kind_before_of_tls12(name: str, kind: int) -> None:
    if kind == 2 and name == "server_hello":
        kind = 12
    extra = message(kind, b"\0")
    server = Server12(BROKER, asks=ASKS, ticket=b"t", hooks={name: lambda one: extra + one})
    assert refused12(server) == UNEXPECTED


@pytest.mark.parametrize("name", MESSAGES_12)
def test_change_cipher_spec_too_early(name: str) -> None:
    """CVE-2014-0224: keys made of nothing."""
    server = Server12(BROKER, asks=ASKS)
    server.hooks[name] = lambda one: (server.send(b"\1", CHANGE_CIPHER_SPEC), one)[1]
    assert refused12(server) == UNEXPECTED


def test_change_cipher_spec_within_a_message() -> None:
    server = Server12(BROKER)

    def cut(one: bytes) -> bytes:
        server.send(one[:9], HANDSHAKE)
        server.send(b"\1", CHANGE_CIPHER_SPEC)
        return one[9:]

    server.hooks["certificate"] = cut
    assert refused12(server) == UNEXPECTED


def test_change_cipher_spec_left_out_or_wrong() -> None:
    for raw in (record(20, b"\2"), record(20, b"\1\1"), record(20, b"")):
        server = Server12(BROKER, hooks={"change_cipher_spec": lambda _, raw=raw: raw})
        assert refused12(server) == UNEXPECTED
    server = Server12(BROKER, hooks={"change_cipher_spec": lambda _: b""})
    assert refused12(server)[0] in ("tls.unexpected-message", "tls.message-too-large")


def test_change_cipher_spec_twice() -> None:
    server = Server12(BROKER, hooks={"change_cipher_spec": lambda one: one + one})
    assert refused12(server)[0] == "tls.bad-record-mac"


def test_ticket_that_was_not_promised() -> None:
    ticket = message(4, bytes(4) + vector(b"t", 2))
    server = Server12(BROKER)
    server.hooks["change_cipher_spec"] = lambda one: record(HANDSHAKE, ticket) + one
    assert refused12(server) == UNEXPECTED


def test_ticket_promised_but_not_given() -> None:
    server = Server12(BROKER, ticket=b"t", hooks={"ticket": lambda _: b""})
    assert refused12(server) == UNEXPECTED


@pytest.mark.parametrize("body", [b"", bytes(5), bytes(4) + b"\0\5x", bytes(6) + b"x"])
def test_ticket_malformed(body: bytes) -> None:
    server = Server12(BROKER, ticket=b"t", hooks={"ticket": lambda _: message(4, body)})
    assert refused12(server) == MALFORMED


def test_finished_in_clear() -> None:
    server = Server12(BROKER)
    server.hooks["change_cipher_spec"] = lambda _: b""

    def clear(one: bytes) -> bytes:
        server.put(record(HANDSHAKE, one))
        return b""

    server.hooks["finished"] = clear
    assert refused12(server) == UNEXPECTED


def test_data_before_finished() -> None:
    server = Server12(BROKER)
    server.hooks["finished"] = lambda one: (server.send(b"data"), one)[1]
    assert refused12(server) == UNEXPECTED
    server = Server12(BROKER)
    server.hooks["certificate"] = lambda one: (server.send(b"data"), one)[1]
    assert refused12(server) == UNEXPECTED


def test_message_behind_finished_in_its_record() -> None:
    server = Server12(BROKER, hooks={"finished": lambda one: one + message(0, b"")})
    assert refused12(server) == UNEXPECTED


@pytest.mark.parametrize("kind", [1, 2, 4, 11, 12, 14, 20, 24])
def test_handshake_message_after_the_handshake(kind: int) -> None:
    server = Server12(BROKER)
    engine = opened12(server)
    server.send(message(kind, b""), HANDSHAKE)
    assert failure(engine, server) == UNEXPECTED


def test_change_cipher_spec_after_the_handshake() -> None:
    server = Server12(BROKER)
    engine = opened12(server)
    server.send(b"\1", CHANGE_CIPHER_SPEC)
    assert failure(engine, server) == UNEXPECTED


def test_rsa_exchange_takes_no_key_exchange_of_the_servers() -> None:
    pair = leaf(key=rsa.generate_private_key(65537, 2048))
    server = Server12(pair, suite=RSA_GCM)
    server.hooks["hello_done"] = lambda one: server.key_exchange() + one
    assert refused12(server, has_rsa_exchange=True) == UNEXPECTED


# TLS 1.3.

MESSAGES_13 = ("encrypted_extensions", "certificate", "certificate_verify", "finished")


@pytest.mark.parametrize("name", MESSAGES_13)
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


@pytest.mark.parametrize("name", MESSAGES_13[:3])
def test_message_twice(name: str) -> None:
    assert refused(Server13(BROKER, hooks={name: lambda one: one + one})) == UNEXPECTED


@pytest.mark.parametrize(
    ("name", "kind"), third_of(MESSAGES_13, [0, 1, 2, 4, 5, 12, 14, 16, 22, 24, 67, 254])
)
def test_message_of_another_kind_before_of_tls13(name: str, kind: int) -> None:
    extra = message(kind, b"\0")
    assert refused(Server13(BROKER, hooks={name: lambda one: extra + one})) == UNEXPECTED


def test_message_with_bytes_behind_its_end() -> None:
    for name in ("encrypted_extensions", "certificate_verify"):
        server = Server13(BROKER, hooks={name: lambda one: message(one[0], one[4:] + b"\0")})
        assert refused(server) == MALFORMED


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


def test_record_that_goes_on_behind_a_hello_retry_request() -> None:
    for rest in (b"\2", b"\2\0\0"):
        hooks = {"retry": lambda one, rest=rest: one + rest}
        assert refused(Server13(BROKER, retry=[COOKIE], hooks=hooks)) == UNEXPECTED


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
    assert seen == FLOOD
    for content in (b"\2", b"\1\1", b""):
        broken = record(CHANGE_CIPHER_SPEC, content)
        server = Server13(BROKER, hooks={"change_cipher_spec": lambda _, b=broken: b})
        assert refused(server) == UNEXPECTED


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
    "ticket with an extension twice": (
        ticket(b"\0\0\0\1" + bytes(4) + b"\0" + b"\0\1x" + extensions([(42, bytes(4))] * 2)),
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
