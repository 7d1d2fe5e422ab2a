"""Sessions and pre-shared keys that a server does not have, or takes up with something changed."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from tls12_server import ECDHE_ECDSA_GCM, PSK_GCM, RENEGOTIATION, Server12
from tls13_server import Server13
from tls_hostile import (
    BAD_MAC,
    GOOD,
    ILLEGAL,
    IS_13,
    MALFORMED,
    MISSING,
    NOT_OFFERED,
    PARTS,
    UNEXPECTED,
    UNKNOWN,
    hello12,
    hello13,
    opened12,
    refused12,
)
from tls_rig import (
    BROKER,
    failure,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    pump,
    read_all,
    refused,
)
from tls_server import TlsServer
from tls_wire import ALERT, APPLICATION_DATA, HANDSHAKE, record

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13, Engine
from keyfob.tls.session import Session

# TLS 1.2.


def test_session_that_was_not_offered() -> None:
    server = Server12(BROKER)
    engine = make_engine(versions=(TLS13, TLS12))
    server.hooks["server_hello"] = lambda _: hello12(session_id=engine._handshake.session_id)(b"")
    assert failure(engine, server) == ILLEGAL


def test_session_resumed_with_something_changed() -> None:
    for parts, suite in (((RENEGOTIATION,), 0xC02B), (PARTS, 0xC023)):
        session = opened12(Server12(BROKER, ticket=b"one")).session
        sessions = {b"one": (session.secret, suite)}
        assert refused12(Server12(None, sessions=sessions, parts=parts), session=session) == ILLEGAL


def test_session_resumed_without_its_secret() -> None:
    session = opened12(Server12(BROKER, ticket=b"one")).session
    sessions = {b"one": (bytes(48), ECDHE_ECDSA_GCM)}
    assert refused12(Server12(None, sessions=sessions), session=session)[0] == BAD_MAC[0]


def test_resumption_that_goes_on_with_a_certificate() -> None:
    session = opened12(Server12(BROKER, ticket=b"one")).session
    server = Server12(BROKER, sessions={b"one": (session.secret, ECDHE_ECDSA_GCM)})
    server.hooks["change_cipher_spec"] = lambda one: record(HANDSHAKE, server.certificate())
    assert refused12(server, session=session) == UNEXPECTED


def test_pre_shared_key_that_differs() -> None:
    server = Server12(None, suite=PSK_GCM, psk=bytes(16))
    engine = make_engine(versions=(TLS12,), psk=(b"board", b"k" * 16))
    with pytest.raises(InvalidTag):  # the server's, on our Finished
        pump(engine, server)
    assert not engine.is_open


def test_pre_shared_key_does_not_take_a_certificate() -> None:
    server = Server12(BROKER, suite=PSK_GCM, psk=bytes(16))
    server.hooks["hello_done"] = lambda one: server.certificate() + one
    assert refused12(server, psk=(b"board", bytes(16))) == UNEXPECTED


def test_pre_shared_key_is_not_given_up_for_a_certificate() -> None:
    assert refused12(Server12(BROKER), psk=(b"board", bytes(16))) == NOT_OFFERED


# Both.


def open_with_session(version: int) -> tuple[Engine, TlsServer]:
    if version == TLS12:
        server = Server12(BROKER, ticket=b"one")
        return opened12(server), server
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    return engine, server


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_session_does_not_outlive_a_fatal_alert(version: int) -> None:
    """RFC 5246 section 7.2.2, RFC 8446 section 6.2; one that is cut off may be resumed."""
    engine, server = open_with_session(version)
    assert engine.session
    server.send(b"\2\x50", ALERT)
    assert failure(engine, server)[0] == "tls.alert"
    assert engine.session is None
    engine, server = open_with_session(version)
    server.put(record(APPLICATION_DATA, bytes(40)))
    assert failure(engine, server) == BAD_MAC
    assert engine.session is None
    engine, server = open_with_session(version)
    with pytest.raises(KeyfobError, match=r"tls\.truncated"):
        engine.ended()
    assert engine.session
    engine, server = open_with_session(version)
    server.close()
    assert read_all(engine, server) == b"" and engine.is_closed
    assert engine.session


# TLS 1.3.


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
        ([IS_13, (41, b"\0\0")], MISSING),
    ):
        thief = Server13(BROKER, hooks={"server_hello": hello13(parts)})
        assert refused(thief, session=engine.session) == want


P256_RETRY = [(51, b"\0\x17")]


def session_for_psk_ke() -> tuple[Session, dict[bytes, bytes]]:
    """A session, and the PSK that its server has for it."""
    server = Server13(BROKER)
    engine = opened(server, has_psk_ke=True)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    return engine.session, server.psks


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        ([IS_13, GOOD, (41, b"\0\0")], ILLEGAL),  # a share although psk_ke
        ([IS_13, (41, b"\0\1")], ILLEGAL),  # another identity
        ([IS_13, GOOD, (41, b"\0\1")], ILLEGAL),
        ([IS_13, (41, b"\0")], ILLEGAL),
        ([IS_13], MISSING),  # neither a key nor a share
        ([IS_13, GOOD], ILLEGAL),  # of a group of which no share was sent
    ],
)
def test_answers_to_an_offer_without_a_key_share(parts: list, want: tuple[str, str]) -> None:
    session, _ = session_for_psk_ke()
    server = Server13(BROKER, hooks={"server_hello": hello13(parts)})
    server._share = lambda: (b"", b"")
    assert refused(server, session=session, has_psk_ke=True) == want


def test_key_share_beside_psk_ke_is_refused_behind_a_hello_retry_request_too() -> None:
    session, psks = session_for_psk_ke()
    hooks = {"server_hello": hello13([IS_13, GOOD, (41, b"\0\0")])}
    server = Server13(BROKER, psks=psks, retry=P256_RETRY, hooks=hooks)
    assert refused(server, session=session, has_psk_ke=True) == ILLEGAL


def test_no_key_share_where_psk_ke_was_asked_for_and_nothing_is_resumed() -> None:
    for parts, want in (([IS_13], MISSING), ([IS_13, (41, b"\0\0")], UNKNOWN)):
        server = Server13(BROKER, hooks={"server_hello": hello13(parts)})
        assert refused(server, has_psk_ke=True) == want


@pytest.mark.parametrize(
    "retry", [[], [(51, b"\0\x18")], [(51, b"\0\0")], [(51, b"\0\x1d")], [(51, b"\0\x17\0")]]
)
def test_hello_retry_requests_for_what_was_not_offered(retry: list) -> None:
    session, _ = session_for_psk_ke()
    server = Server13(BROKER, retry=retry)
    want = MALFORMED if retry and len(retry[0][1]) > 2 else ILLEGAL
    assert refused(server, session=session, has_psk_ke=True) == want


def test_psk_ke_without_the_secret() -> None:
    session, _ = session_for_psk_ke()
    thief = Server13(BROKER, psks={b"ticket": bytes(32)}, allows_psk_ke=True)
    thief._find_psk = lambda one: bytes(32)
    assert refused(thief, session=session, has_psk_ke=True) == ("tls.bad-record-mac", "")


def test_certificate_in_a_resumed_handshake() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    again = Server13(BROKER, psks=server.psks)
    again.hooks["finished"] = lambda one: again.certificate() + one
    assert refused(again, session=engine.session) == UNEXPECTED
