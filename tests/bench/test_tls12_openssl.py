"""TLS 1.2 with OpenSSL's s_server: each suite, key, and setting of sessions and records."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Pair, make_ca, make_leaf
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

ONLY_12 = "-tls1_2"
OFFERED = {"versions": (TLS12,)}
PSK = bytes(range(32))
SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-ECDSA-AES128-SHA256": 0xC023,
    "ECDHE-RSA-AES128-SHA256": 0xC027,
    "AES128-GCM-SHA256": 0x009C,
    "AES128-SHA256": 0x003C,
}


@pytest.fixture(scope="module")
def rsa_broker() -> Pair:
    return make_leaf(CA, HOST, (HOST,), key=rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize("ending", ["ticket", "id", "none"])
@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_full_and_resumed(
    suite: str, ending: str, rsa_broker: Pair, tmp_path: Path
) -> None:
    pair = BROKER if "ECDSA" in suite else rsa_broker
    settings = {"ticket": (), "id": ("-no_ticket",), "none": ("-no_ticket", "-no_cache")}[ending]
    with s_server(tmp_path, pair, ONLY_12, "-cipher", suite, *settings) as server:
        session = None
        for turn in range(3):
            engine = opened(
                server, **OFFERED, session=session, has_rsa_exchange=not suite.startswith("E")
            )
            assert engine.version == TLS12 and engine.suite == SUITES[suite]
            assert engine.is_resumed == (turn > 0 and ending != "none")
            assert bool(engine.session) == (ending != "none")
            session = engine.session


@pytest.mark.parametrize("suite", ["PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"])
def test_pre_shared_key(suite: str, tmp_path: Path) -> None:
    settings = ("-nocert", "-psk", PSK.hex(), "-psk_hint", "hint", "-cipher", suite)
    with s_server(tmp_path, BROKER, ONLY_12, *settings) as server:
        engine = opened(server, **OFFERED, psk=(b"Client_identity", PSK))
        assert engine.suite in (0x00A8, 0x00AE)
        error = refused(server, **OFFERED, psk=(b"Client_identity", bytes(32)))
        assert error.code == "tls.alert" and "bad_record_mac" in error.detail


SETTINGS = {
    "no encrypt-then-MAC": ("-no_etm", "-cipher", "ECDHE-ECDSA-AES128-SHA256"),
    "small records": ("-max_send_frag", "512"),
    "application protocol": ("-alpn", "x-other,mqtt"),
    "SHA-384 in the key exchange": ("-sigalgs", "ECDSA+SHA384"),
    "its own order of suites": ("-serverpref",),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rx_bytes", [512, 4096])
def test_settings(setting: str, rx_bytes: int, tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_12, *SETTINGS[setting]) as server:
        engine = opened(server, **OFFERED, rx_bytes=rx_bytes, alpn=(b"mqtt",))
        assert engine.alpn == (b"mqtt" if "protocol" in setting else None)
        assert engine.rx_limit == rx_bytes  # OpenSSL knows max_fragment_length


@pytest.mark.parametrize("kind", ["rsa-3072", "rsa-4096", "pss"])
def test_other_keys(kind: str, tmp_path: Path) -> None:
    size = 2048 if kind == "pss" else int(kind[4:])
    pair = make_leaf(CA, HOST, (HOST,), key=rsa.generate_private_key(65537, size))
    settings = ("-sigalgs", "RSA-PSS+SHA256") if kind == "pss" else ()
    with s_server(tmp_path, pair, ONLY_12, *settings) as server:
        opened(server, **OFFERED)


def test_chain_of_three_through_a_small_buffer(tmp_path: Path) -> None:
    upper = make_ca("upper", issuer=CA)
    lower = make_ca("lower", issuer=upper)
    pair = make_leaf(lower, HOST, (HOST,), below=(lower, upper))
    with s_server(tmp_path, pair, ONLY_12) as server:
        opened(server, **OFFERED, rx_bytes=512)


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_client_certificate_and_resumption_with_it(kind: str, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    client = Client(make_leaf(CA, "sensor-01", usage=None, key=key))
    verify = ("-Verify", "3", "-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error")
    with s_server(tmp_path, BROKER, ONLY_12, *verify) as server:
        full_and_resumed(server, **OFFERED, client=client, tx_bytes=256)
        assert "CN=sensor-01" in server.said.replace(" ", "")


def test_missing_client_certificate_is_told_by_its_alert(tmp_path: Path) -> None:
    verify = ("-Verify", "3", "-CAfile", str(tmp_path / "ca.pem"), "-verify_return_error")
    with s_server(tmp_path, BROKER, ONLY_12, *verify) as server:
        assert refused(server, **OFFERED).code == "tls.alert-handshake-failure"


def test_renegotiation_is_refused(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER, ONLY_12) as server:
        connection = Connection(make_engine(**OFFERED), server.port)
        connection.open()
        talk(connection, server)
        server.say("R")  # a command of s_server's, which ends the connection when refused
        with pytest.raises((KeyfobError, ConnectionResetError)):
            connection.until(lambda: connection.engine.is_closed)
        server.wait_for("no renegotiation")


def test_server_of_both_versions(tmp_path: Path) -> None:
    with s_server(tmp_path, BROKER) as server:
        assert opened(server, versions=(TLS13, TLS12)).version == TLS13
        # It marks its random for those who can do better; we said that we cannot.
        assert opened(server, **OFFERED).version == TLS12


REFUSALS = {
    "another suite": ((ONLY_12, "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), "handshake-failure"),
    "another curve": ((ONLY_12, "-groups", "P-384"), "handshake-failure"),
    "another version": (("-tls1_3",), "protocol-version"),
    "RSA exchange only": ((ONLY_12, "-cipher", "kRSA"), "handshake-failure"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_server_that_has_nothing_in_common_with_us(
    refusal: str, rsa_broker: Pair, tmp_path: Path
) -> None:
    arguments, alert = REFUSALS[refusal]
    with s_server(tmp_path, rsa_broker if "RSA" in refusal else BROKER, *arguments) as server:
        assert refused(server, **OFFERED).code == "tls.alert-" + alert


def test_key_on_a_curve_that_we_do_not_name(tmp_path: Path) -> None:
    """In TLS 1.2 the groups speak of certificates too (RFC 8422 section 5.1)."""
    pair = make_leaf(CA, HOST, (HOST,), key=ec.generate_private_key(ec.SECP384R1()))
    with s_server(tmp_path, pair, ONLY_12) as server:
        assert refused(server, **OFFERED).code == "tls.alert-handshake-failure"


def test_untrusted_chain_is_refused_and_told(tmp_path: Path) -> None:
    other = make_leaf(make_ca("another"), HOST, (HOST,))
    with s_server(tmp_path, other, ONLY_12) as server:
        assert refused(server, **OFFERED).code == "x509.untrusted"
        server.wait_for("alert unknown ca")
