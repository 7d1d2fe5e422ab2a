"""TLS 1.2 with Python's `ssl`, mosquitto, and MicroPython's own mbedTLS as the server."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import CLIENT_AUTH, DAY, NOW, Pair, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from firmware_bench import FIRMWARE, MICROPYTHON, Mosquitto, mutual_tls
from tls13_rig import BROKER, CA, HOST, TLS12, Client, KeyfobError, make_engine
from tls13_tcp import Connection, free_port, write_pair

HERE = Path(__file__).resolve().parent
CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"
CONNACK = b"\x20\2\0\0"
PUBLISH = b"\x30\x0a\0\5topic123"
SUBSCRIBE, SUBACK = b"\x82\x0a\0\1\0\5topic\0", b"\x90\3\0\1\0"
DISCONNECT = b"\xe0\0"


@contextmanager
def python_server(folder: Path, pair: Pair, client_ca: Pair | None) -> Iterator[tuple[int, list]]:
    """Echoes on every connection; (port, what it saw of each)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*write_pair(folder, pair))
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.der)
    seen: list = []

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as sock:
                    seen.append((sock.version(), sock.cipher()[0], sock.session_reused))
                    while part := sock.recv(1000):
                        sock.sendall(part)
            except OSError as error:
                seen.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


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
            engine = make_engine(versions=(TLS12,), client=client, session=session)
            connection = Connection(engine, port)
            connection.open()
            content = b"there and back " * 300
            connection.write(content)
            connection.expect(content)
            connection.close()
            kind = "RSA" if server_key == "rsa" else "ECDSA"
            assert seen[turn] == ("TLSv1.2", f"ECDHE-{kind}-AES128-GCM-SHA256", turn > 0)
            assert engine.is_resumed == (turn > 0)
            session = engine.session


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("has_client", [False, True])
def test_mosquitto(has_client: bool, tmp_path: Path) -> None:
    lines = mutual_tls(tmp_path, BROKER, CA, "tls_version tlsv1.2")
    if not has_client:
        lines[lines.index("require_certificate true")] = "require_certificate false"
    client = Client(make_leaf(CA, "sensor-01", usage=None)) if has_client else None
    with Mosquitto(tmp_path, lines) as broker:
        session = None
        for turn in range(3):
            engine = make_engine(versions=(TLS12,), client=client, session=session)
            connection = Connection(engine, broker.port)
            connection.open()
            connection.write(CONNECT)
            connection.expect(CONNACK)
            connection.write(SUBSCRIBE)
            connection.expect(SUBACK)
            connection.write(PUBLISH)
            connection.expect(PUBLISH)
            assert engine.version == TLS12 and engine.is_resumed == (turn > 0)
            connection.write(DISCONNECT)
            connection.until(lambda engine=engine: engine.is_closed)
            connection.close()
            session = engine.session


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
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


MBEDTLS_SERVER = """
import socket, sys, tls
context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
def read(name):
    with open(sys.argv[2] + "/" + name, "rb") as file:
        return file.read()
context.load_cert_chain(read("cert.der"), read("key.der"))
if len(sys.argv) > 3:
    context.set_ciphers([sys.argv[3]])
if len(sys.argv) > 4:
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(read("ca.der"))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(socket.getaddrinfo("127.0.0.1", int(sys.argv[1]))[0][-1])
listener.listen(1)
print("listening")
while True:
    raw = listener.accept()[0]
    try:
        sock = context.wrap_socket(raw, server_side=True)
        print(sock.cipher()[0])
        while True:
            line = sock.readline()
            if not line:
                break
            sock.write(line)
    except (OSError, ValueError) as error:
        print("failed", error)
    raw.close()
"""


@contextmanager
def mbedtls_server(folder: Path, pair: Pair, *words: str) -> Iterator[tuple[int, Path]]:
    """MicroPython's own TLS on the server's side, echoing lines; (port, its console)."""
    port = free_port()
    (folder / "cert.der").write_bytes(pair.der)
    (folder / "key.der").write_bytes(pair.key_der())
    (folder / "ca.der").write_bytes(CA.der)
    (folder / "server.py").write_text(MBEDTLS_SERVER)
    log = folder / "console"
    command = [str(MICROPYTHON), str(folder / "server.py"), str(port), str(folder), *words]
    with log.open("wb") as console:
        process = subprocess.Popen(command, stdout=console, stderr=console)
    try:
        end = time.monotonic() + 10
        while "listening" not in log.read_text():
            assert time.monotonic() < end and process.poll() is None, log.read_text()
            time.sleep(0.02)
        yield port, log
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("suite", "kind"),
    [
        ("TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "p256"),
        ("TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256", "rsa"),
        ("TLS-ECDHE-ECDSA-WITH-AES-128-CBC-SHA256", "p256"),
        ("TLS-ECDHE-RSA-WITH-AES-128-CBC-SHA256", "rsa"),
        ("TLS-RSA-WITH-AES-128-GCM-SHA256", "rsa"),
        ("TLS-RSA-WITH-AES-128-CBC-SHA256", "rsa"),
    ],
)
@pytest.mark.parametrize("has_client", [False, True])
def test_mbedtls(suite: str, kind: str, has_client: bool, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    pair = make_leaf(CA, HOST, (HOST,), key=key)
    client = Client(make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)) if has_client else None
    words = (suite, "client") if has_client else (suite,)
    with mbedtls_server(tmp_path, pair, *words) as (port, log):
        for rx_bytes in (512, 4096):
            engine = make_engine(
                versions=(TLS12,), client=client, rx_bytes=rx_bytes, has_rsa_exchange=True
            )
            connection = Connection(engine, port)
            connection.open()
            line = b"there and back " * 30 + b"\n"
            connection.write(line)
            connection.expect(line)
            connection.close()
        assert "failed" not in log.read_text()


@contextmanager
def micropython_client(folder: Path, pair: Pair, *words: str) -> Iterator[Path]:
    slot = folder / "id"
    slot.mkdir()
    for name, content in (("ca", CA.der), ("cert", pair.der), ("key", pair.key_der())):
        (slot / f"{name}.der").write_bytes(content)
    (slot / "now").write_text(str(int(NOW.timestamp())))
    yield slot


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_the_stream_on_micropython_with_mosquitto(tmp_path: Path) -> None:
    """The glue: asyncio, a socket that does not block, files of an identity."""
    pair = make_leaf(CA, "sensor-01", usage=CLIENT_AUTH)
    with (
        Mosquitto(tmp_path, mutual_tls(tmp_path, BROKER, CA, "tls_version tlsv1.2")) as broker,
        micropython_client(tmp_path, pair) as slot,
    ):
        command = [str(MICROPYTHON), str(HERE / "tls_stream_device.py"), str(FIRMWARE)]
        command += [HOST, str(broker.port), str(slot)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    suite = "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"
    first, second, refused = lines
    assert first == {
        "session": ["TLSv1.2", suite],
        "resumed": False,
        "got": "20020000",
        "end": "tls.closed",
        "turns": first["turns"],
    }
    assert second["resumed"] and second["got"] == "20020000"
    # Others had their turn between the primitives of a handshake.
    assert first["turns"] > 8
    assert refused == {"code": "x509.wrong-name"}
