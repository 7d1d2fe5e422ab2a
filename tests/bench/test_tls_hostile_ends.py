"""Alerts, silence, truncation and floods: how a hostile server ends a connection, or never does."""

from __future__ import annotations

import pytest
from tls12_server import Server12
from tls13_server import Server13
from tls_hostile import FLOOD, MALFORMED, UNEXPECTED, opened12, refused12
from tls_rig import (
    BROKER,
    failure,
    give,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    pump,
    read_all,
    refused,
)
from tls_wire import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, record
from tls_wire import ALERTS as NAMES

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13

# Both versions.

VERSIONS = {"1.2": ((TLS12,), Server12), "1.3": ((TLS13, TLS12), Server13)}


@pytest.mark.parametrize("version", VERSIONS)
def test_silence(version: str) -> None:
    engine = make_engine(versions=VERSIONS[version][0])
    with pytest.raises(KeyfobError, match=r"tls\.no-answer"):
        engine.ended()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("at", [1, 4, 5, 6, 90, 300, 700])
def test_truncation_within_the_handshake(at: int, version: str) -> None:
    versions, make_server = VERSIONS[version]
    server = make_server(BROKER)
    engine = make_engine(versions=versions)
    while engine.step():
        pass
    server.receive(bytes(engine.tx()))
    engine.sent(len(engine.tx()))
    assert not give(engine, server.take()[:at])
    with pytest.raises(KeyfobError, match=r"tls\.closed"):
        engine.ended()


@pytest.mark.parametrize("version", VERSIONS)
def test_close_notify_within_the_handshake(version: str) -> None:
    versions, make_server = VERSIONS[version]
    server = make_server(BROKER)
    server.hooks["certificate"] = lambda one: (server.send(b"\1\0", ALERT), one)[1]
    assert refused(server, versions=versions) == ("tls.closed", "")


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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("number", ALERTS)
def test_fatal_alert(number: int, version: str) -> None:
    versions, make_server = VERSIONS[version]
    server = make_server(BROKER)
    server.send(bytes((2, number)), ALERT)
    assert refused(server, versions=versions) == (ALERTS[number], "")
    later = make_server(BROKER)
    engine = opened(later, versions=versions)
    later.send(bytes((2, number)), ALERT)
    assert failure(engine, later) == (ALERTS[number], "")
    assert f"alert {number} from the broker, {NAMES.get(number, 'unknown')}" in engine.error.detail


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("raw", "want"), [(b"", UNEXPECTED), (b"\2", MALFORMED), (b"\2\x28\2\x28", MALFORMED)]
)
def test_alert_malformed(raw: bytes, want: tuple[str, str], version: str) -> None:
    versions, make_server = VERSIONS[version]
    server = make_server(BROKER)
    server.send(raw, ALERT)
    assert refused(server, versions=versions) == want
    later = make_server(BROKER)
    engine = opened(later, versions=versions)
    later.send(raw, ALERT)
    assert failure(engine, later) == want


# TLS 1.2.


def test_floods_end() -> None:
    """Empty records, warnings and HelloRequests: each for a while, none for ever."""
    for content, kind in ((b"", 23), (b"\1\x70", ALERT), (bytes(4), HANDSHAKE)):
        server = Server12(BROKER)
        engine = opened12(server)
        for _ in range(10):
            server.send(content, kind)
        server.send(b"data")
        assert read_all(engine, server) == b"data"
        for _ in range(20):
            server.send(content, kind)
        assert failure(engine, server) == FLOOD
    server = Server12(BROKER)
    server.put(record(ALERT, b"\1\x70") * 20)
    assert refused12(server) == FLOOD
    server = Server12(BROKER)
    server.put(record(HANDSHAKE, bytes(4 * 20)))
    assert refused12(server) == FLOOD


def test_hello_requests_in_the_handshake_are_counted_whatever_is_between_them() -> None:
    """In records of their own, in clear and under the keys, before a Finished that is right."""
    for name in ("certificate", "finished"):
        for count, is_taken in ((10, True), (20, False)):
            server = Server12(BROKER)

            def before(one: bytes, server: Server12 = server, count: int = count) -> bytes:
                for _ in range(count):
                    server.send(bytes(4), HANDSHAKE)
                return one

            server.hooks[name] = before
            if is_taken:
                assert opened12(server).is_open
            else:
                assert refused12(server) == FLOOD


def test_warnings_between_the_bytes_of_a_message_are_counted() -> None:
    server = Server12(BROKER)

    def cut(one: bytes) -> bytes:
        for at in range(len(one)):
            server.send(one[at : at + 1], HANDSHAKE)
            server.send(b"\1\x70", ALERT)
        return b""

    server.hooks["certificate"] = cut
    assert refused12(server) == FLOOD


# TLS 1.3.


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


def test_flood_of_tickets_and_key_updates() -> None:
    for send in (lambda one: one.send_ticket(b"t" * 300), lambda one: one.send_key_update(1)):
        server = Server13(BROKER)
        engine = opened(server)
        for _ in range(12):
            for _ in range(10):
                send(server)
            server.send(b"content between")
            read_all(engine, server)
        for _ in range(30):
            send(server)
        assert failure(engine, server) == FLOOD


def test_flood_of_empty_records() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for _ in range(10):
        server.send(b"")
    server.send(b"content")
    assert read_all(engine, server) == b"content"
    for _ in range(30):
        server.send(b"")
    assert failure(engine, server) == FLOOD


def test_flood_of_warnings() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for _ in range(30):
        server.send(b"\1\x5a", ALERT)
    assert failure(engine, server)[0] == "tls.flood"


def test_change_cipher_specs_between_the_records_of_a_message_are_counted() -> None:
    server = Server13(BROKER)

    def cut(one: bytes) -> bytes:
        for at in range(0, len(one) - 1, 5):
            server.send(one[at : at + 5], HANDSHAKE)
            server.put(record(CHANGE_CIPHER_SPEC, b"\1"))
        return b""

    server.hooks["certificate"] = cut
    assert refused(server) == FLOOD
