"""TLS 1.2 with MicroPython's own mbedTLS on the server's side, which has neither TLS 1.3 nor
sessions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import CLIENT_AUTH, Pair, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from firmware_bench import MICROPYTHON
from tls_rig import (
    CA,
    HOST,
    TLS12,
    Client,
    make_engine,
    no_collector,  # noqa: F401
)
from tls_tcp import Connection

from keyfob_host.listeners import free_port

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
