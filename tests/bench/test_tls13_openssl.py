"""TLS 1.3 with OpenSSL's s_server: each setting that makes it speak differently."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pytest
from certificates import make_ca, make_leaf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tls_rig import (
    BROKER,
    CA,
    HOST,
    TLS12,
    TLS13,
    Client,
    KeyfobError,
    make_engine,
    no_collector,  # noqa: F401
)
from tls_tcp import Connection, full_and_resumed, opened, refused, s_server, talk

ONLY_13 = "-tls1_3"
SETTINGS = {
    "plain": (),
    "no middlebox compatibility": ("-no_middlebox",),
    "padding": ("-record_padding", "400"),
    "small records": ("-max_send_frag", "512"),
    "no tickets": ("-num_tickets", "0"),
    "many tickets": ("-num_tickets", "8"),
    "tickets kept by the server": ("-no_ticket",),
    "early data allowed": ("-early_data",),
    "only P-256": ("-groups", "P-256"),
    "any group": ("-groups", "X448:X25519:P-521:P-256"),
    "application protocol": ("-alpn", "x-other,mqtt"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_full_and_resumed(setting: str, tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13, *SETTINGS[setting]) as server:
        session = None
        for turn in range(2):
            engine = opened(server, session=session, rx_bytes=512, alpn=(b"mqtt",))
            assert engine.version == TLS13
            has_tickets = setting != "no tickets"
            assert engine.is_resumed == (turn > 0 and has_tickets)
            assert bool(engine.session) == has_tickets
            assert engine.alpn == (b"mqtt" if "protocol" in setting else None)
            session = engine.session


def test_hello_retry_request_with_a_cookie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenSSL 3.0's own s_client fails here too, unless told -no_middlebox: s_server takes
    # the ChangeCipherSpec before the second ClientHello for an error.
    # It may have been loaded anew since this file was imported.
    client_hello = importlib.import_module("keyfob.tls.client_hello")
    monkeypatch.setattr(client_hello, "_session_id", lambda hs: b"")
    with s_server(tmp_path, BROKER, ONLY_13, "-stateless") as server:
        full_and_resumed(server)


def test_hello_retry_request_for_x25519(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13, "-groups", "X25519") as server:
        full_and_resumed(server, versions=(TLS13,))


def test_resumed_in_a_row_without_a_key_exchange(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13, "-allow_no_dhe_kex") as server:
        session, tickets = None, set()
        for turn in range(5):
            engine = opened(server, session=session, has_psk_ke=True)
            assert engine.is_resumed == (turn > 0)
            session = engine.session
            tickets.add(session.ticket)
        assert len(tickets) == 5
        # The same server and its ticket, where a key exchange is wanted.
        assert opened(server, session=session).is_resumed


@pytest.mark.parametrize("groups", ["X25519:P-256", "P-256"])
def test_without_psk_ke_the_server_asks_for_a_share_and_proves_its_key(
    groups: str, tmp_path: Path
) -> None:
    with s_server(tmp_path, BROKER, ONLY_13, "-groups", groups) as server:
        session = opened(server).session
        for _ in range(3):
            engine = opened(server, session=session, has_psk_ke=True)
            assert not engine.is_resumed
            session = engine.session or session
    other = make_leaf(make_ca("another"), HOST, (HOST,))
    with s_server(tmp_path, other, ONLY_13) as server:
        assert refused(server, session=session, has_psk_ke=True).code == "x509.untrusted"


def test_psk_ke_with_a_server_of_tls_12(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13) as server:
        session = opened(server).session
    with s_server(tmp_path, BROKER, "-tls1_2") as server:
        engine = opened(server, session=session, has_psk_ke=True)
        assert (engine.version, engine.is_resumed) == (TLS12, False)


KEYS = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("kind", KEYS)
def test_other_keys(kind: str, tmp_path: Path) -> None:
    with s_server(tmp_path, make_leaf(CA, HOST, (HOST,), key=KEYS[kind]()), ONLY_13) as server:
        full_and_resumed(server)


@pytest.mark.parametrize("scheme", ["RSA-PSS+SHA384", "RSA-PSS+SHA256"])
def test_either_hash_in_the_proof_of_an_rsa_key(scheme: str, tmp_path: Path) -> None:
    pair = make_leaf(CA, HOST, (HOST,), key=KEYS["rsa-2048"]())
    with s_server(tmp_path, pair, ONLY_13, "-sigalgs", scheme) as server:
        opened(server)


def test_chain_of_three_in_records_of_512_bytes(tmp_path: Path) -> None:
    upper = make_ca("upper", issuer=CA)
    lower = make_ca("lower", issuer=upper)
    pair = make_leaf(lower, HOST, (HOST,), below=(lower, upper))
    with s_server(tmp_path, pair, ONLY_13) as server:
        opened(server, rx_bytes=512)


@pytest.mark.parametrize("kind", ["p256", "p256 in PKCS#8", "rsa"])
def test_client_certificate_and_resumption_with_it(kind: str, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    pair = make_leaf(CA, "sensor-01", usage=None, key=key)
    client = Client(pair)
    if "PKCS" in kind:
        form = serialization.PrivateFormat.PKCS8
        encoding, bare = serialization.Encoding.DER, serialization.NoEncryption()
        pair.key_der = lambda: pair.key.private_bytes(encoding, form, bare)
    verify = ("-Verify", "3", "-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error")
    with s_server(tmp_path, BROKER, ONLY_13, *verify) as server:
        full_and_resumed(server, client=client)
        assert "CN=sensor-01" in server.said.replace(" ", "")


def test_missing_client_certificate_is_told_by_its_alert(tmp_path: Path) -> None:
    verify = ("-Verify", "3", "-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error")
    with s_server(tmp_path, BROKER, ONLY_13, *verify) as server:
        connection = Connection(make_engine(), server.port)
        with pytest.raises(KeyfobError) as caught:
            connection.expect(b"never")  # the refusal comes behind our Finished
        assert caught.value.code == "tls.alert-certificate-required"
        connection.close()


def test_key_updates_on_the_servers_wish(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13) as server:
        connection = Connection(make_engine(), server.port)
        connection.open()
        for command in ("k", "K", "K", "k", "K"):
            server.say(command)
            time.sleep(0.1)  # a command is one only at the beginning of what s_server reads
            talk(connection, server, lines=1)
            engine = connection.engine
            assert engine.rx_keys.sequence == 1  # one record under the new key
            assert engine.owes_update == (command == "K")
        connection.close()


def test_connection_cut_without_close_notify(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_13) as server:
        connection = Connection(make_engine(), server.port)
        connection.open()
        server.say("q")
        with pytest.raises(KeyfobError) as caught:
            connection.until(lambda: connection.engine.is_closed)
        assert caught.value.code == "tls.truncated"
        connection.close()


REFUSALS = {
    "another suite": (("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"), "handshake-failure"),
    "another group": (("-tls1_3", "-groups", "P-384"), "handshake-failure"),
    "another version": (("-tls1_2",), "protocol-version"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_server_that_has_nothing_in_common_with_us(refusal: str, tmp_path: Path) -> None:
    arguments, alert = REFUSALS[refusal]
    with s_server(tmp_path, BROKER, *arguments) as server:
        assert refused(server, versions=(TLS13,)).code == "tls.alert-" + alert


def test_untrusted_chain_is_refused_and_told(tmp_path: Path) -> None:
    other = make_leaf(make_ca("another"), HOST, (HOST,))
    with s_server(tmp_path, other, ONLY_13) as server:
        assert refused(server).code == "x509.untrusted"
        server.wait_for("alert unknown ca")


def test_external_psk_is_offered_to_tls_12_alone(tmp_path: Path) -> None:
    """Its cipher suites are not TLS 1.3's, which the server prefers."""
    with s_server(tmp_path, BROKER, "-psk", "00" * 16, "-psk_identity", "sensor-01") as server:
        engine = opened(server, psk=(b"sensor-01", bytes(16)))
        assert (engine.version, engine.suite) == (TLS12, 0x00A8)
