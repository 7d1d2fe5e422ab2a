"""TLS 1.2 with a server that shares no code with the engine: everything that must work."""

from __future__ import annotations

import sys

import pytest
import tls_rig as rig
from certificates import CLIENT_AUTH, Pair, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from tls12_server import (
    ECDHE_ECDSA_CBC,
    ECDHE_ECDSA_GCM,
    ECDHE_RSA_CBC,
    ECDHE_RSA_GCM,
    ETM,
    EXTENDED,
    PSK_CBC,
    PSK_GCM,
    RENEGOTIATION,
    RSA_CBC,
    RSA_GCM,
    Server12,
)
from tls_rig import (
    BROKER,
    CA,
    HOST,
    Client,
    no_collector,  # noqa: F401
    pump,
    read_all,
)
from tls_wire import ALERT, HANDSHAKE, message, vector

import keyfob
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13, Engine

PARTS = (RENEGOTIATION, EXTENDED)
ASKS = vector(b"\1\x40", 1) + vector(b"\4\3\4\1", 2) + vector(b"", 2)
PSK = {"psk": (b"board 7", bytes(range(16)))}


def opened(server: Server12, **options: object) -> Engine:
    return rig.opened(server, **{"versions": (TLS12,), **options})


@pytest.fixture(scope="module")
def rsa_broker() -> Pair:
    return make_leaf(CA, HOST, (HOST,), key=rsa.generate_private_key(65537, 2048))


def check_data(engine: Engine, server: Server12) -> None:
    server.send(b"from the broker " * 100)
    assert read_all(engine, server) == b"from the broker " * 100
    for size in (1, 15, 16, 17, 300):
        server.received = b""
        data = bytes(range(256)) * 2
        assert engine.write(memoryview(data)[:size]) == size
        pump(engine, server)
        assert server.received == data[:size]


@pytest.mark.parametrize("parts", [PARTS, (*PARTS, ETM), (RENEGOTIATION,)])
@pytest.mark.parametrize(
    "suite", [ECDHE_ECDSA_GCM, ECDHE_ECDSA_CBC, ECDHE_RSA_GCM, ECDHE_RSA_CBC, RSA_GCM, RSA_CBC]
)
def test_full_handshake_and_data_both_ways(suite: int, parts: tuple, rsa_broker: Pair) -> None:
    is_cbc = suite in (ECDHE_ECDSA_CBC, ECDHE_RSA_CBC, RSA_CBC)
    if ETM in parts and not is_cbc:
        parts = PARTS
    pair = BROKER if suite in (ECDHE_ECDSA_GCM, ECDHE_ECDSA_CBC) else rsa_broker
    server = Server12(pair, suite=suite, parts=parts)
    engine = opened(server, has_rsa_exchange=suite in (RSA_GCM, RSA_CBC))
    assert (engine.version, engine.suite, engine.is_resumed) == (TLS12, suite, False)
    check_data(engine, server)


@pytest.mark.parametrize("suite", [PSK_GCM, PSK_CBC])
@pytest.mark.parametrize("hint", [b"", message(12, vector(b"hint", 2))])
def test_pre_shared_key(suite: int, hint: bytes) -> None:
    server = Server12(None, suite=suite, psk=PSK["psk"][1])
    server.hooks["hello_done"] = lambda one: hint + one
    engine = opened(server, **PSK)
    assert server.identity == b"board 7" and engine.session is None
    assert server.suites == [PSK_GCM, PSK_CBC]
    check_data(engine, server)


def test_pre_shared_key_is_of_tls_12_and_not_to_be_guessed() -> None:
    server = Server12(None, suite=PSK_GCM, psk=PSK["psk"][1])
    assert opened(server, versions=(TLS13, TLS12), **PSK).version == TLS12
    assert 43 not in server.hello
    with pytest.raises(KeyfobError, match=r"config\.out-of-range"):
        rig.make_engine(psk=(b"board 7", b"too short"))


def test_rsa_exchange_is_offered_only_when_asked_for() -> None:
    server = Server12(BROKER)
    opened(server)
    assert server.suites == [ECDHE_ECDSA_GCM, ECDHE_RSA_GCM, ECDHE_ECDSA_CBC, ECDHE_RSA_CBC]


def test_both_versions_may_be_offered_and_the_server_chooses_the_older() -> None:
    server = Server12(BROKER)
    engine = opened(server, versions=(TLS13, TLS12))
    assert engine.version == TLS12 and server.hello[43] == b"\4\3\4\3\3"


@pytest.mark.parametrize("scheme", [0x0403, 0x0503])
def test_key_exchange_signed_with_either_hash(scheme: int) -> None:
    server = Server12(BROKER)
    server.hooks["key_exchange"] = lambda _: server.key_exchange(scheme=scheme)
    opened(server)


def test_key_exchange_signed_with_pss(rsa_broker: Pair) -> None:
    server = Server12(rsa_broker, suite=ECDHE_RSA_GCM)
    server.hooks["key_exchange"] = lambda _: server.key_exchange(scheme=0x0804)
    opened(server)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_bytes_may_come_in_pieces_of_any_size(chunk: int) -> None:
    server = Server12(BROKER, ticket=b"ticket")
    engine = rig.make_engine(versions=(TLS12,))
    pump(engine, server, chunk=chunk)
    assert engine.is_open and server.is_open


@pytest.mark.parametrize("fragment", [1, 3, 50, 16_000])
def test_messages_may_be_cut_into_records_of_any_size(fragment: int) -> None:
    opened(Server12(BROKER, fragment=fragment, ticket=b"ticket"))


def test_messages_may_share_a_record() -> None:
    server = Server12(BROKER, fragment=16_000)
    held: list[bytes] = []

    def send(content: bytes, kind: int = 23) -> None:
        if kind == HANDSHAKE and not server.send_keys:
            held.append(content)
            if content[0] == 14:
                Server12.send(server, b"".join(held), kind)
        else:
            Server12.send(server, content, kind)

    server.send = send  # type: ignore[method-assign]
    engine = opened(server)
    assert len(held) == 4
    server.fragment = 1000
    check_data(engine, server)


def test_chain_may_be_larger_than_the_record_buffer() -> None:
    first = make_ca("first", issuer=CA)
    second = make_ca("second", issuer=first)
    pair = make_leaf(second, HOST, (HOST,), below=(second, first))
    server = Server12(pair, fragment=16_000)
    assert len(server.certificate()) > 512 + 64
    engine = opened(server, rx_bytes=512, tx_bytes=64)
    server.fragment = 500
    check_data_small(engine, server)


def check_data_small(engine: Engine, server: Server12) -> None:
    server.send(b"x" * 1200)
    assert read_all(engine, server) == b"x" * 1200
    assert engine.write(memoryview(bytes(100))) == 64


@pytest.mark.parametrize("kind", ["p256", "rsa"])
@pytest.mark.parametrize("schemes", [b"\4\3\4\1", b"\4\3\x08\4"])
def test_client_certificate(kind: str, schemes: bytes) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    middle = make_ca("devices", issuer=CA)
    pair = make_leaf(middle, "board", usage=CLIENT_AUTH, key=key, below=(middle,))
    names = vector(vector(bytes(300), 2) * 40, 2)  # more than the head that is kept
    asks = vector(b"\1\x40", 1) + vector(schemes, 2) + names
    server = Server12(BROKER, asks=asks)
    opened(server, client=Client(pair), tx_bytes=256)
    assert server.client_chain == [pair.der, middle.der]
    rsa_scheme = 0x0401 if schemes[2] == 4 else 0x0804
    assert server.client_scheme == (rsa_scheme if kind == "rsa" else 0x0403)


def test_client_without_certificate_says_so() -> None:
    server = Server12(BROKER, asks=ASKS)
    opened(server)
    assert server.client_chain == []


def test_secure_element_may_hold_the_key() -> None:
    pair = make_leaf(CA, "board", usage=CLIENT_AUTH)
    seen = []

    class Element:
        kind = "p256"

        def sign(self, scheme: int, digest: bytes) -> bytes:
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import ec, utils

            seen.append((scheme, len(digest)))
            return pair.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    opened(Server12(BROKER, asks=ASKS), client=Client(pair, Element()))
    assert seen == [(0x0403, 32)]


@pytest.mark.parametrize("how", ["ticket", "id"])
@pytest.mark.parametrize("suite", [ECDHE_ECDSA_GCM, ECDHE_ECDSA_CBC])
def test_session_is_resumed(how: str, suite: int) -> None:
    sessions: dict = {}
    given = {"ticket": b"t" * 200} if how == "ticket" else {"session_id": b"s" * 32}
    first = Server12(BROKER, suite=suite, sessions=sessions, **given)
    session = opened(first).session
    assert session and session.host == HOST and bool(session.ticket) == (how == "ticket")
    for _ in range(2):
        again = Server12(None, suite=suite, sessions=sessions)
        engine = opened(again, session=session, tx_bytes=300)
        assert engine.is_resumed and again.was_resumed
        check_data(engine, again)
        session = engine.session
        assert session


@pytest.mark.parametrize("how", ["ticket", "id"])
def test_resumption_needs_no_public_key_work(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: dict = {}
    given = {"ticket": b"t" * 200} if how == "ticket" else {"session_id": b"s" * 32}
    session = opened(Server12(BROKER, sessions=sessions, **given)).session
    # What another test left loaded would not be imported again.
    parts = ("keyfob.tls.", "keyfob.pki.", "keyfob.crypto.")
    keyfob.drop(*[name[7:] for name in sys.modules if name.startswith(parts)], always=True)
    for name in ("crypto.weierstrass", "crypto.p256", "crypto.rsa", "pki.path", "pki.der"):
        monkeypatch.setitem(sys.modules, "keyfob." + name, None)  # not to be imported
    engine = opened(Server12(None, sessions=sessions), session=session)
    assert engine.is_resumed
    with pytest.raises(ImportError):
        opened(Server12(BROKER))


def test_new_ticket_takes_the_place_of_the_old_one() -> None:
    sessions: dict = {}
    session = opened(Server12(BROKER, sessions=sessions, ticket=b"one")).session
    engine = opened(Server12(None, sessions=sessions, ticket=b"two"), session=session)
    assert engine.is_resumed and engine.session and engine.session.ticket == b"two"


def test_session_that_the_server_forgot_leads_to_a_full_handshake() -> None:
    session = opened(Server12(BROKER, ticket=b"one")).session
    engine = opened(Server12(BROKER, ticket=b"two"), session=session)
    assert not engine.is_resumed and engine.session and engine.session.ticket == b"two"


def test_sessions_resumed_over_and_over_end_with_the_day_of_their_handshake() -> None:
    """Each has a new ticket; the chain was judged once."""
    sessions: dict = {}
    session = opened(Server12(BROKER, sessions=sessions, ticket=b"0")).session
    assert session and session.valid_until_s <= session.made_s + 86_400
    until_s = session.valid_until_s
    for number in range(3):
        server = Server12(BROKER, sessions=sessions, ticket=b"%d" % (number + 1))
        engine = opened(server, session=session)
        assert engine.is_resumed and engine.session.ticket == b"%d" % (number + 1)
        session = engine.session
        assert session.valid_until_s == until_s
    assert not session.is_good(HOST, until_s + 1)


def test_session_is_not_offered_to_another_host_or_too_late() -> None:
    session = opened(Server12(BROKER, ticket=b"one")).session
    assert session
    made_s = session.made_s
    assert session.is_good(HOST, made_s) and not session.is_good("other", made_s)
    assert not session.is_good(HOST, made_s + 7200) and not session.is_good(HOST, made_s - 1)
    session.life_s = 90_000_000
    assert not session.is_good(HOST, session.valid_until_s + 1)
    session.host = "other.test"
    server = Server12(BROKER)
    opened(server, session=session)
    assert server.hello[35] == b""


def test_session_without_extended_master_secret_is_not_kept() -> None:
    assert opened(Server12(BROKER, parts=(RENEGOTIATION,), ticket=b"one")).session is None


def test_ticket_that_is_too_large_is_not_kept() -> None:
    engine = opened(Server12(BROKER, ticket=bytes(3000)))
    assert engine.session is None


def test_fragment_length_is_agreed() -> None:
    for part, limit in (((1, b"\1"), 512), ((28, b"\0\x80"), 128)):
        server = Server12(BROKER, parts=(*PARTS, part), fragment=500)
        engine = opened(server, rx_bytes=512)
        assert server.hello[1] == b"\1" and server.hello[28] == b"\2\0"
        assert engine.write(memoryview(bytes(700))) == min(limit, 512)


def test_protocol_is_agreed() -> None:
    parts = (*PARTS, (16, vector(vector(b"mqtt", 1), 2)))
    server = Server12(BROKER, parts=parts)
    engine = opened(server, alpn=(b"x-amzn-mqtt-ca", b"mqtt"))
    assert engine.alpn == b"mqtt"
    assert server.hello[16] == vector(vector(b"x-amzn-mqtt-ca", 1) + vector(b"mqtt", 1), 2)


def test_server_name_is_sent_for_a_name_only() -> None:
    server = Server12(BROKER)
    opened(server)
    assert server.hello[0] == vector(b"\0" + vector(HOST.encode(), 2), 2)
    for address in ("127.0.0.1", "::1"):
        pair = make_leaf(CA, "x", (address,))
        server = Server12(pair)
        engine = Engine(address, [CA.der], rig.make_engine()._handshake.now_s, versions=(TLS12,))
        pump(engine, server)
        assert engine.is_open and 0 not in server.hello


def test_server_name_has_no_dot_at_its_end() -> None:
    server = Server12(BROKER)
    now_s = rig.make_engine()._handshake.now_s
    engine = Engine(HOST + ".", [CA.der], now_s, versions=(TLS12,))
    pump(engine, server)
    assert engine.is_open and server.hello[0] == vector(b"\0" + vector(HOST.encode(), 2), 2)


def test_hello_requests_are_refused_without_harm() -> None:
    server = Server12(BROKER)
    engine = opened(server)
    server.send(bytes(4), HANDSHAKE)
    server.send(b"still here")
    assert read_all(engine, server) == b"still here"
    assert server.alert == (1, "no_renegotiation")
    during = Server12(BROKER)
    during.hooks["certificate"] = lambda one: one
    during.hooks["server_hello"] = lambda one: (during.put(b"\x16\3\3\0\4" + bytes(4)), one)[1]
    opened(during)


def test_warnings_do_not_end_a_connection() -> None:
    server = Server12(BROKER)
    server.put(b"\x15\3\3\0\2\1\x70")  # unrecognized_name, as servers without SNI say it
    engine = opened(server)
    server.send(b"\1\x70", ALERT)
    server.send(b"data")
    assert read_all(engine, server) == b"data"


def test_close_notify_both_ways() -> None:
    server = Server12(BROKER)
    engine = opened(server)
    server.send(b"last")
    server.close()
    assert read_all(engine, server) == b"last" and engine.is_closed
    engine.ended()
    with pytest.raises(KeyfobError, match=r"tls\.closed"):
        engine.write(memoryview(b"x"))
    engine.close()
    pump(engine, server)
    assert server.alert == (1, "close_notify")
    engine.close()
    assert not len(engine.tx())


def test_end_without_close_notify_is_truncation() -> None:
    server = Server12(BROKER)
    engine = opened(server)
    with pytest.raises(KeyfobError, match=r"tls\.truncated"):
        engine.ended()
    with pytest.raises(KeyfobError, match=r"tls\.truncated"):
        engine.read(memoryview(bytearray(1)))


def test_pin_of_a_key_on_the_path() -> None:
    import hashlib

    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = x509.load_der_x509_certificate(CA.der).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pin = hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()
    opened(Server12(BROKER), pins=(pin,))
    code, alert = rig.refused(Server12(BROKER), versions=(TLS12,), pins=(bytes(32),))
    assert (code, alert) == ("x509.not-pinned", "bad_certificate")
