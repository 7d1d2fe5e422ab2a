"""TLS 1.2 and 1.3 with Python's `ssl`: client certificate on and off, resumed and not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from certificates import make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
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
from tls_tcp import Connection, python_server

ALLOW_NO_DHE_KEX = 1 << 10  # SSL_OP_ALLOW_NO_DHE_KEX, which Python's ssl has no name for
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("server_key", ["p256", "rsa"])
@pytest.mark.parametrize("client_key", [None, "p256", "rsa"])
def test_full_and_resumed(
    server_key: str,
    client_key: str | None,
    version: str,
    rsa_key: rsa.RSAPrivateKey,
    tmp_path: Path,
) -> None:
    keys = {"rsa": rsa_key, "p256": None}
    pair = make_leaf(CA, HOST, (HOST,), key=keys[server_key])
    client, client_ca = None, None
    if client_key:
        client_ca = make_ca("clients")
        client = Client(make_leaf(client_ca, "sensor-01", usage=None, key=keys[client_key]))
    suite = "TLS_AES_128_GCM_SHA256"
    if version == "TLSv1.2":
        suite = f"ECDHE-{'RSA' if server_key == 'rsa' else 'ECDSA'}-AES128-GCM-SHA256"
    with python_server(tmp_path, pair, client_ca, VERSIONS[version]) as (port, seen):
        session = None
        for turn in range(2):
            engine = make_engine(alpn=(b"mqtt",), client=client, session=session)
            connection = Connection(engine, port)
            connection.open()
            content = b"there and back " * 300
            connection.write(content)
            connection.expect(content)
            connection.close()
            assert seen[turn] == (version, suite, turn > 0)
            assert engine.is_resumed == (turn > 0) and engine.alpn == b"mqtt"
            session = engine.session


@pytest.mark.parametrize("allows", [True, False])
def test_resumed_in_a_row_without_a_key_exchange(allows: bool, tmp_path: Path) -> None:
    options = ALLOW_NO_DHE_KEX if allows else 0
    version = ssl.TLSVersion.TLSv1_3
    with python_server(tmp_path, BROKER, None, version, options) as (port, seen):
        session = None
        for turn in range(4):
            engine = make_engine(session=session, has_psk_ke=True)
            connection = Connection(engine, port)
            connection.open()
            connection.write(b"there and back")
            connection.expect(b"there and back")
            connection.close()
            is_resumed = allows and turn > 0
            assert seen[turn] == ("TLSv1.3", "TLS_AES_128_GCM_SHA256", is_resumed)
            assert engine.is_resumed == is_resumed
            session = engine.session


@pytest.mark.parametrize("version", VERSIONS)
def test_close_notify_of_the_server(version: str, tmp_path: Path) -> None:
    with python_server(tmp_path, BROKER, None, VERSIONS[version]) as (port, _):
        connection = Connection(make_engine(), port)
        connection.open()
        connection.write(b"please close")
        connection.until(lambda: connection.engine.is_closed)
        assert connection.got == b"please close"
        connection.engine.ended()
        connection.close()


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("TLSv1.2", "tls.alert-handshake-failure"),
        ("TLSv1.3", "tls.alert-certificate-required"),
    ],
)
def test_python_that_misses_a_client_certificate(version: str, code: str, tmp_path: Path) -> None:
    with python_server(tmp_path, BROKER, CA, VERSIONS[version]) as (port, _):
        connection = Connection(make_engine(), port)
        with pytest.raises(KeyfobError) as caught:
            connection.expect(b"never")
        assert caught.value.code == code


@pytest.mark.parametrize(("version", "offered"), [("TLSv1.2", TLS13), ("TLSv1.3", TLS12)])
def test_python_of_the_other_version_alone(version: str, offered: int, tmp_path: Path) -> None:
    with python_server(tmp_path, BROKER, None, VERSIONS[version]) as (port, _):
        connection = Connection(make_engine(versions=(offered,)), port)
        with pytest.raises(KeyfobError) as caught:
            connection.open()
        assert caught.value.code == "tls.alert-protocol-version"
