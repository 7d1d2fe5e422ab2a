"""TLS 1.3 with a server that shares no code with the engine: everything that must work."""

from __future__ import annotations

import hashlib
import hmac
import sys

import pytest
from certificates import DAY, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from tls12_server import Server12
from tls13_server import Server13
from tls13_wire import expand_label, extract
from tls_rig import (
    BROKER,
    CA,
    HOST,
    Client,
    make_engine,
    no_collector,  # noqa: F401
    opened,
    pump,
    read_all,
    refused,
)
from tls_server import ECDSA_P256, PSS_SHA256
from tls_wire import ALERT, HANDSHAKE, Reader, extensions, message, vector

from keyfob.tls.engine import TLS12, TLS13
from keyfob.tls.session import Session

COOKIE = [(44, vector(b"cookie of the server's", 2))]
ASKS = b"\0" + vector(bytes.fromhex("000d0006000404030804"), 2)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_full_handshake_and_data_both_ways() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    assert (engine.version, engine.suite, engine.is_resumed) == (TLS13, 0x1301, False)
    server.send(b"from the broker " * 100)
    assert read_all(engine, server) == b"from the broker " * 100
    assert engine.write(memoryview(b"from the board")) == 14
    pump(engine, server)
    assert server.received == b"from the board"


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_bytes_may_come_in_pieces_of_any_size(chunk: int) -> None:
    server = Server13(BROKER)
    engine = make_engine()
    pump(engine, server, chunk=chunk)
    assert engine.is_open and server.is_open


@pytest.mark.parametrize("fragment", [1, 3, 50, 511])
def test_messages_may_be_cut_into_records_of_any_size(fragment: int) -> None:
    opened(Server13(BROKER, fragment=fragment))


def test_padding_of_records_is_taken_off() -> None:
    server = Server13(BROKER, padding_bytes=100, fragment=400)
    engine = opened(server)
    server.send(b"padded")
    assert read_all(engine, server) == b"padded"


def test_server_may_send_no_change_cipher_spec() -> None:
    opened(Server13(BROKER, hooks={"change_cipher_spec": lambda _: b""}))


def test_client_sends_one_change_cipher_spec_for_middleboxes() -> None:
    for options in ({}, {"retry": COOKIE}):
        server = Server13(BROKER, **options)
        opened(server)
        assert server.change_cipher_specs == 1


def test_rsa_certificate_with_pss(rsa_key: rsa.RSAPrivateKey) -> None:
    opened(Server13(make_leaf(CA, HOST, (HOST,), key=rsa_key)))


def test_chain_with_intermediate_longer_than_the_record_buffer() -> None:
    intermediate = make_ca("intermediate", issuer=CA)
    chain = make_leaf(intermediate, HOST, (HOST,), below=(intermediate,))
    server = Server13(chain, fragment=400)
    opened(server, rx_bytes=512)


def test_hello_retry_request_with_cookie() -> None:
    opened(Server13(BROKER, retry=COOKIE))


def test_hello_retry_request_and_client_certificate() -> None:
    server = Server13(BROKER, retry=COOKIE, asks=ASKS)
    engine = opened(server, client=Client(make_leaf(CA, "sensor-01", usage=None)))
    assert server.client_chain
    server.send_ticket(b"ticket")
    read_all(engine, server)
    again = Server13(BROKER, psks=server.psks)
    assert opened(again, session=engine.session).is_resumed


@pytest.mark.parametrize("cookie", [[], COOKIE])
def test_hello_retry_request_for_x25519(cookie: list) -> None:
    server = Server13(BROKER, retry=[(51, b"\0\x1d"), *cookie])
    opened(server, versions=(TLS13,))
    assert server.hello[10] == vector(b"\0\x17\0\x1d", 2)
    assert server.hello[51][2:4] == b"\0\x1d"


def test_ticket_is_resumed_without_certificate() -> None:
    server = Server13(BROKER)
    psks = {}
    engine = opened(server)
    server.psks = psks
    server.send_ticket(b"ticket", nonce=b"nonce")
    server.send(b"x")
    assert read_all(engine, server) == b"x"
    session = engine.session
    assert (session.version, session.host, session.ticket) == (TLS13, HOST, b"ticket")
    for retry in (None, COOKIE):
        again = Server13(BROKER, psks=psks, retry=retry)
        engine = opened(again, session=session)
        assert engine.is_resumed and again.was_resumed
        again.send(b"resumed")
        assert read_all(engine, again) == b"resumed"
    again.send_ticket(b"another")
    read_all(engine, again)
    assert engine.session.ticket == b"another"
    assert engine.session.valid_until_s == session.valid_until_s <= session.made_s + 86_400


def test_ticket_unknown_to_the_server_leads_to_a_full_handshake() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    other = Server13(BROKER)
    engine = opened(other, session=engine.session)
    assert 41 in other.hello and not engine.is_resumed


P256_SHARE = [(51, b"\0\x17")]
NO_SHARE = vector(b"", 2)


def session_of(server: Server13) -> Session:
    """One to resume, with tickets for either mode."""
    engine = opened(server, has_psk_ke=True)
    assert server.hello[45] == vector(b"\0\1", 1) and server.hello[51] != NO_SHARE
    server.send_ticket(b"ticket")
    read_all(engine, server)
    return engine.session


@pytest.mark.parametrize("retry", [None, COOKIE])
@pytest.mark.parametrize("versions", [(TLS13, TLS12), (TLS13,)])
def test_resumption_without_a_key_exchange(
    versions: tuple, retry: list | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Server13(BROKER)
    session, psks = session_of(first), first.psks
    monkeypatch.setitem(sys.modules, "keyfob.crypto.p256", None)  # cannot be imported
    for turn in range(4):
        server = Server13(BROKER, psks=psks, allows_psk_ke=True, retry=retry)
        engine = opened(server, session=session, has_psk_ke=True, versions=versions)
        assert server.hello[45] == vector(b"\0", 1) and server.hello[51] == NO_SHARE
        assert engine.is_resumed and server.was_resumed
        server.send(b"resumed")
        assert read_all(engine, server) == b"resumed"
        server.send_ticket(b"ticket %d" % turn)
        read_all(engine, server)
        session = engine.session
        assert session.ticket == b"ticket %d" % turn


@pytest.mark.parametrize("retry", [P256_SHARE, P256_SHARE + COOKIE, [(51, b"\0\x1d")]])
def test_server_that_wants_a_key_exchange_gets_a_full_handshake(retry: list) -> None:
    first = Server13(BROKER)
    session = session_of(first)
    versions = (TLS13,) if retry[0][1] == b"\0\x1d" else (TLS13, TLS12)
    options = {"session": session, "has_psk_ke": True, "versions": versions}
    server = Server13(BROKER, psks=first.psks, retry=retry)
    engine = opened(server, **options)
    assert server.hello[45] == vector(b"\0", 1) and server.hello[51][2:4] == retry[0][1]
    assert 41 in server.hello and not engine.is_resumed and not server.was_resumed
    server.send_ticket(b"another")
    read_all(engine, server)
    assert engine.session.ticket == b"another"
    # One that wants both, a share and no exchange, may have its way.
    server = Server13(BROKER, psks=first.psks, retry=retry, allows_psk_ke=True)
    assert opened(server, **options).is_resumed
    # The chain is judged as it is without a session.
    other = make_leaf(make_ca("another"), HOST, (HOST,))
    assert refused(Server13(other, retry=retry), **options) == ("x509.untrusted", "unknown_ca")
    other = make_leaf(CA, "other.keyfob.test", ("other.keyfob.test",))
    code = refused(Server13(other, retry=retry), **options)[0]
    assert code == "x509.wrong-name"
    other = Server13(BROKER, retry=retry)
    other.hooks["certificate_verify"] = lambda _: other.certificate_verify(b" " * 64)
    assert refused(other, **options) == ("tls.bad-signature", "decrypt_error")


def test_tls_12_server_does_not_miss_the_key_share() -> None:
    session = session_of(Server13(BROKER))
    server = Server12(BROKER)
    engine = opened(server, session=session, has_psk_ke=True)
    assert (engine.version, engine.is_resumed) == (TLS12, False)
    assert server.hello[51] == NO_SHARE


@pytest.mark.parametrize("has_session", [False, True])
def test_client_hello_without_psk_ke_is_as_it_always_was(
    has_session: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server13(BROKER)
    session = session_of(server)
    hello = []
    monkeypatch.setattr(Server13, "_on_client_hello", lambda _, one: hello.append(one))
    engine = make_engine(session=session if has_session else None, rx_bytes=512)
    pump(engine, Server13(BROKER))
    handshake = engine._handshake
    parts = [
        (1, b"\1"),
        (28, b"\2\0"),
        (0, vector(b"\0" + vector(HOST.encode(), 2), 2)),
        (10, vector(b"\0\x17", 2)),
        (13, vector(bytes.fromhex("040308040401050308050501"), 2)),
        (11, b"\1\0"),
        (0xFF01, b"\0"),
        (23, b""),
        (22, b""),
        (35, b""),
        (43, vector(b"\3\4\3\3", 1)),
        (51, vector(b"\0\x17" + vector(handshake.public, 2), 2)),
        (45, vector(b"\1", 1)),
    ]
    if has_session:
        age_ms = (handshake.now_s - session.made_s) * 1000 + session.extra & 0xFFFFFFFF
        offered = vector(vector(session.ticket, 2) + age_ms.to_bytes(4, "big"), 2)
        parts.append((41, offered + vector(vector(bytes(32), 1), 2)))
    body = b"\3\3" + handshake.random + vector(handshake.session_id, 1)
    body += vector(bytes.fromhex("1301c02bc02fc023c027"), 2) + vector(b"\0", 1)
    want = message(1, body + extensions(parts))
    if has_session:
        key = expand_label(extract(b"", session.secret), "res binder", hashlib.sha256().digest())
        digest = hashlib.sha256(want[:-35]).digest()
        want = want[:-32] + hmac.digest(expand_label(key, "finished"), digest, "sha256")
    assert hello == [want]


def test_session_is_offered_only_to_its_host_and_in_its_time() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket", lifetime_s=10)
    read_all(engine, server)
    session = engine.session
    assert session.is_good(HOST, session.made_s + 9)
    assert not session.is_good(HOST, session.made_s + 10)
    assert not session.is_good("other.keyfob.test", session.made_s)
    short = make_leaf(CA, HOST, (HOST,), after=DAY / 24)
    server = Server13(short)
    engine = opened(server)
    server.send_ticket(b"ticket")
    read_all(engine, server)
    assert not engine.session.is_good(HOST, engine.session.made_s + 3601)


def test_ticket_of_lifetime_zero_is_discarded() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send_ticket(b"ticket", lifetime_s=0)
    read_all(engine, server)
    assert engine.session is None


def test_ticket_too_large_to_keep_is_let_go_by() -> None:
    server = Server13(BROKER, fragment=500)
    engine = opened(server)
    server.send_ticket(bytes(3000))
    server.send(b"behind")
    assert read_all(engine, server) == b"behind"
    assert engine.session is None and not engine.late_message


def test_two_tickets_in_one_record_and_one_in_many() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    ticket = vector(b"one", 2) + b"\0\0"
    one = message(4, (60).to_bytes(4, "big") + bytes(4) + b"\0" + ticket)
    server.send(one + one.replace(b"one", b"two"), HANDSHAKE)
    read_all(engine, server)
    assert engine.session.ticket == b"two"
    for at in range(len(one)):
        server.send(one[at : at + 1], HANDSHAKE)
    read_all(engine, server)
    assert engine.session.ticket == b"one"


@pytest.mark.parametrize("asked", [0, 1])
def test_key_update(asked: int) -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for turn in range(3):
        server.send_key_update(asked)
        server.send(b"under the next key")
        assert read_all(engine, server) == b"under the next key"
        assert engine.write(memoryview(b"mine")) == 4
        pump(engine, server)
        assert len(server.posts) == asked * (turn + 1)
    assert server.posts == [message(24, b"\0")] * 3 * asked
    assert server.received == b"mine" * 3


def test_several_requests_are_answered_by_one_key_update() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    for _ in range(3):
        server.send_key_update(1)
    read_all(engine, server)
    engine.write(memoryview(b"mine"))
    pump(engine, server)
    assert len(server.posts) == 1 and server.received == b"mine"


def test_our_key_changes_before_it_was_used_too_often() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    engine.tx_keys.sequence = server.receive_keys.sequence = (1 << 23) - 1
    for turn in range(3):
        assert engine.write(memoryview(b"x")) == 1
        pump(engine, server)
        assert len(server.posts) == min(turn, 1)
    assert server.received == b"xxx"


@pytest.mark.parametrize("kind", ["p256", "rsa", "none"])
def test_client_certificate(kind: str, rsa_key: rsa.RSAPrivateKey) -> None:
    server = Server13(BROKER, asks=ASKS)
    key = rsa_key if kind == "rsa" else None
    pair = make_leaf(CA, "sensor-01", usage=None, key=key)
    opened(server, client=None if kind == "none" else Client(pair))
    assert server.client_chain == ([] if kind == "none" else [pair.der])


def test_client_key_may_be_elsewhere() -> None:
    class Element:
        """A key that never leaves its chip, as far as the engine can tell."""

        kind = "p256"

        def __init__(self) -> None:
            self.seen: list[tuple[int, bytes]] = []

        def sign(self, scheme: int, digest: bytes) -> bytes:
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import ec, utils

            self.seen.append((scheme, digest))
            return pair.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    pair = make_leaf(CA, "sensor-01", usage=None)
    element = Element()
    opened(Server13(BROKER, asks=ASKS), client=Client(pair, element))
    assert [(scheme, len(digest)) for scheme, digest in element.seen] == [(ECDSA_P256, 32)]


def test_certificate_request_with_more_names_of_cas_than_fit() -> None:
    names = vector(bytes(30_000), 2)
    schemes = b"\0\x0d" + vector(vector(ECDSA_P256.to_bytes(2, "big"), 2), 2)
    request = b"\0" + vector(schemes + b"\0\x2f" + vector(names, 2), 2)
    server = Server13(BROKER, asks=request, fragment=1000)
    opened(server, client=Client(make_leaf(CA, "sensor-01", usage=None)))
    assert server.client_chain


def test_client_hello_names_what_we_can() -> None:
    server = Server13(BROKER)
    opened(server, alpn=(b"mqtt", b"x-other"), rx_bytes=512)
    hello = server.hello
    assert hello[0] == vector(b"\0" + vector(HOST.encode(), 2), 2)
    assert hello[16] == vector(vector(b"mqtt", 1) + vector(b"x-other", 1), 2)
    assert hello[43] == vector(TLS13.to_bytes(2, "big") + TLS12.to_bytes(2, "big"), 1)
    assert hello[45] == vector(b"\1", 1)
    assert hello[10] == vector(b"\0\x17", 2)
    assert int.from_bytes(hello[28], "big") <= 513 and hello[1] == b"\1"
    schemes = Reader(hello[13]).vector(2)
    for scheme in (ECDSA_P256, PSS_SHA256):
        assert scheme.to_bytes(2, "big") in [schemes[i : i + 2] for i in range(0, len(schemes), 2)]


def test_only_tls_13_may_be_offered() -> None:
    server = Server13(BROKER)
    opened(server, versions=(TLS13,))
    assert server.hello[43] == vector(TLS13.to_bytes(2, "big"), 1)


def test_application_protocol_and_record_sizes_are_agreed() -> None:
    agreed = [(16, vector(vector(b"mqtt", 1), 2)), (28, (100).to_bytes(2, "big"))]
    server = Server13(BROKER, encrypted=agreed)
    engine = opened(server, alpn=(b"mqtt",))
    assert engine.alpn == b"mqtt"
    # RFC 8449 section 4: TLS 1.3 counts the content's type too.
    assert engine.write(memoryview(bytes(200))) == 99
    server = Server13(BROKER, encrypted=[(1, b"\2"), (0, b""), (10, vector(b"\0\x17", 2))])
    engine = opened(server, rx_bytes=1024, tx_bytes=2048)
    assert engine.write(memoryview(bytes(2000))) == 1024


def test_close_notify_both_ways() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"last")
    server.close()
    assert read_all(engine, server) == b"last"
    assert engine.is_closed
    engine.ended()
    engine.close()
    pump(engine, server)
    assert server.alert == (1, "close_notify")


def test_user_canceled_is_no_failure() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"\1\x5a", ALERT)
    server.send(b"still here")
    assert read_all(engine, server) == b"still here"


def test_the_server_proves_its_key_over_our_very_hello() -> None:
    digests = []

    def see(one: bytes) -> bytes:
        digests.append(hashlib.sha256(one).digest())
        return one

    for _ in range(2):
        opened(Server13(BROKER, hooks={"certificate_verify": see}))
    assert digests[0] != digests[1]
