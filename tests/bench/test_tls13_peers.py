"""TLS 1.3 with Python's `ssl` and mosquitto, client certificate on and off, resumed and not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from certificates import make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from firmware_bench import Mosquitto, mutual_tls
from tls13_rig import (
    BROKER,
    CA,
    HOST,
    TLS13,
    Client,
    KeyfobError,
    make_engine,
    no_collector,  # noqa: F401
)
from tls13_tcp import Connection, python_server

CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"
CONNACK = b"\x20\2\0\0"
SUBSCRIBE, SUBACK = b"\x82\x0a\0\1\0\5topic\0", b"\x90\3\0\1\0"
DISCONNECT = b"\xe0\0"
PUBLISH = b"\x30\x0a\0\5topic123"


@pytest.mark.parametrize("server_key", ["p256", "rsa"])
@pytest.mark.parametrize("client_key", [None, "p256", "rsa"])
def test_python(server_key: str, client_key: str | None, tmp_path: Path) -> None:
    keys = {"rsa": rsa.generate_private_key(65537, 2048), "p256": None}
    pair = make_leaf(CA, HOST, (HOST,), key=keys[server_key])
    client, client_ca = None, None
    if client_key:
        client_ca = make_ca("clients")
        client = Client(make_leaf(client_ca, "sensor-01", usage=None, key=keys[client_key]))
    with python_server(tmp_path, pair, client_ca) as (port, seen):
        session = None
        for turn in range(2):
            engine = make_engine(alpn=(b"mqtt",), client=client, session=session)
            connection = Connection(engine, port)
            connection.open()
            content = b"there and back " * 300
            connection.write(content)
            connection.expect(content)
            connection.close()
            version, suite, is_reused, _ = seen[turn]
            assert (version, suite) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
            assert is_reused == engine.is_resumed == (turn > 0)
            assert engine.alpn == b"mqtt"
            session = engine.session


def test_close_notify_of_the_server(tmp_path: Path) -> None:
    with python_server(tmp_path, BROKER, None) as (port, _):
        connection = Connection(make_engine(), port)
        connection.open()
        connection.write(b"please close")
        connection.until(lambda: connection.engine.is_closed)
        assert connection.got == b"please close"
        connection.engine.ended()
        connection.close()


def test_python_that_misses_a_client_certificate(tmp_path: Path) -> None:
    with python_server(tmp_path, BROKER, CA) as (port, _):
        connection = Connection(make_engine(), port)
        with pytest.raises(KeyfobError) as caught:
            connection.expect(b"never")
        assert caught.value.code == "tls.alert-certificate-required"


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("has_client", [False, True])
def test_mosquitto(has_client: bool, tmp_path: Path) -> None:
    lines = mutual_tls(tmp_path, BROKER, CA, "tls_version tlsv1.3")
    if not has_client:
        lines[lines.index("require_certificate true")] = "require_certificate false"
    client = Client(make_leaf(CA, "sensor-01", usage=None)) if has_client else None
    with Mosquitto(tmp_path, lines) as broker:
        session = None
        for turn in range(2):
            engine = make_engine(client=client, session=session)
            connection = Connection(engine, broker.port)
            connection.open()
            connection.write(CONNECT)
            connection.expect(CONNACK)
            connection.write(SUBSCRIBE)
            connection.expect(SUBACK)
            connection.write(PUBLISH)
            connection.expect(PUBLISH)
            assert engine.version == TLS13 and engine.is_resumed == (turn > 0)
            connection.write(DISCONNECT)
            connection.close()
            session = engine.session
