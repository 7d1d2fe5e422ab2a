"""TLS 1.2 and 1.3 with mosquitto: client certificate on and off, resumed and not, refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import CLIENT_AUTH, DAY, NOW, Pair, make_ca, make_leaf
from firmware_bench import FIRMWARE, MICROPYTHON, Mosquitto, mutual_tls
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
from tls_tcp import Connection

HERE = Path(__file__).resolve().parent
CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"
CONNACK = b"\x20\2\0\0"
PUBLISH = b"\x30\x0a\0\5topic123"
SUBSCRIBE, SUBACK = b"\x82\x0a\0\1\0\5topic\0", b"\x90\3\0\1\0"
DISCONNECT = b"\xe0\0"
VERSIONS = {"tlsv1.2": TLS12, "tlsv1.3": TLS13}
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("has_client", [False, True])
def test_full_and_resumed(has_client: bool, version: str, tmp_path: Path) -> None:
    lines = mutual_tls(tmp_path, BROKER, CA, f"tls_version {version}")
    if not has_client:
        lines[lines.index("require_certificate true")] = "require_certificate false"
    client = Client(make_leaf(CA, "sensor-01", usage=None)) if has_client else None
    with Mosquitto(tmp_path, lines) as broker:
        session = None
        for turn in range(3):
            engine = make_engine(client=client, session=session, versions=(VERSIONS[version],))
            connection = Connection(engine, broker.port)
            connection.open()
            connection.write(CONNECT)
            connection.expect(CONNACK)
            connection.write(SUBSCRIBE)
            connection.expect(SUBACK)
            connection.write(PUBLISH)
            connection.expect(PUBLISH)
            assert engine.version == VERSIONS[version] and engine.is_resumed == (turn > 0)
            connection.write(DISCONNECT)
            connection.until(lambda engine=engine: engine.is_closed)
            connection.close()
            session = engine.session


@pytest.mark.parametrize("options", ["AllowNoDHEKEX", "AllowNoDHEKEX,-SessionTicket", ""])
def test_resumed_in_a_row_without_a_key_exchange(options: str, tmp_path: Path) -> None:
    """Where the broker does not allow it, each connection is made with a full handshake."""
    lines = mutual_tls(tmp_path, BROKER, CA, "tls_version tlsv1.3")
    client = Client(make_leaf(CA, "sensor-01", usage=None))
    with Mosquitto(tmp_path, lines, openssl_options=options) as broker:
        session, tickets = None, set()
        for turn in range(5):
            engine = make_engine(client=client, session=session, has_psk_ke=True)
            connection = Connection(engine, broker.port)
            connection.open()
            connection.write(CONNECT)
            connection.expect(CONNACK)
            assert engine.version == TLS13 and engine.is_resumed == (turn > 0 and options != "")
            connection.write(DISCONNECT)
            connection.until(lambda engine=engine: engine.is_closed)
            connection.close()
            session = engine.session
            tickets.add(session.ticket)
        assert len(tickets) == 5
        # One that is kept by the broker has a number; another carries the client's certificate.
        assert max(map(len, tickets)) <= 32 if "-" in options else min(map(len, tickets)) > 500


def test_pre_shared_key(tmp_path: Path) -> None:
    """Its key is all that either side has; its identity is the user's name."""
    (tmp_path / "psk").write_text(f"sensor-01:{bytes(range(32)).hex()}\n")
    lines = [f"psk_file {tmp_path}/psk", "psk_hint keyfob", "use_identity_as_username true"]
    with Mosquitto(tmp_path, [*lines, "allow_anonymous true"]) as broker:
        engine = make_engine(psk=(b"sensor-01", bytes(range(32))))
        connection = Connection(engine, broker.port)
        connection.open()
        connection.write(CONNECT)
        connection.expect(CONNACK)
        assert (engine.version, engine.suite) == (TLS12, 0x00A8)
        connection.close()
        for identity, key in ((b"sensor-01", bytes(32)), (b"sensor-02", bytes(range(32)))):
            connection = Connection(make_engine(psk=(identity, key)), broker.port)
            with pytest.raises(KeyfobError) as caught:
                connection.open()
            assert caught.value.code in ("tls.alert", "tls.alert-unknown-psk-identity")
            connection.close()


def test_client_certificates_that_mosquitto_refuses(tmp_path: Path) -> None:
    bad = {
        "tls.alert-unknown-ca": make_leaf(make_ca("another"), "sensor-01", usage=CLIENT_AUTH),
        "tls.alert-certificate-expired": make_leaf(CA, "sensor-01", after=-DAY / 2, usage=None),
        "tls.alert-unsupported-certificate": make_leaf(CA, "sensor-01", (HOST,)),
    }
    with Mosquitto(tmp_path, mutual_tls(tmp_path, BROKER, CA, "tls_version tlsv1.2")) as broker:
        for code, pair in bad.items():
            engine = make_engine(versions=(TLS12,), client=Client(pair))
            connection = Connection(engine, broker.port)
            with pytest.raises(KeyfobError) as caught:
                connection.open()
            assert caught.value.code == code
            connection.close()
        # A key that is not the certificate's.
        other = make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)
        pair = make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)
        pair.key = other.key
        connection = Connection(make_engine(versions=(TLS12,), client=Client(pair)), broker.port)
        with pytest.raises(KeyfobError) as caught:
            connection.open()
        assert caught.value.code == "tls.alert-decrypt-error"
        connection.close()


@contextmanager
def micropython_client(folder: Path, pair: Pair, *words: str) -> Iterator[Path]:
    slot = folder / "id"
    slot.mkdir()
    for name, content in (("ca", CA.der), ("cert", pair.der), ("key", pair.key_der())):
        (slot / f"{name}.der").write_bytes(content)
    (slot / "now").write_text(str(int(NOW.timestamp())))
    yield slot


@pytest.mark.parametrize("version, psk_ke", [("1.2", "0"), ("1.3", "0"), ("1.3", "1")])
def test_the_stream_on_micropython_with_mosquitto(
    version: str, psk_ke: str, tmp_path: Path
) -> None:
    """The glue: asyncio, a socket that does not block, files of an identity."""
    pair = make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)
    lines = mutual_tls(tmp_path, BROKER, CA, f"tls_version tlsv{version}")
    with (
        Mosquitto(tmp_path, lines, openssl_options="AllowNoDHEKEX") as broker,
        micropython_client(tmp_path, pair) as slot,
    ):
        command = [str(MICROPYTHON), str(HERE / "tls_stream_device.py"), str(FIRMWARE)]
        command += [HOST, str(broker.port), str(slot), version, psk_ke]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    suite = "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"
    if version == "1.3":
        suite = "TLS1-3-AES-128-GCM-SHA256"
    first, second, refused = lines
    assert first == {
        "session": {"version": "TLSv" + version, "cipher": suite, "resumed": False},
        "resumed": False,
        "got": "20020000",
        "end": "tls.closed",
        "turns": first["turns"],
    }
    assert second["resumed"] and second["got"] == "20020000"
    # Others had their turn between the primitives of a handshake.
    assert first["turns"] > 8
    assert refused == {"code": "x509.wrong-name"}
