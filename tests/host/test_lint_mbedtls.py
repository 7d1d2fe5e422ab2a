"""What the linter says with ``--board`` of a kind with mbedTLS, beside MicroPython's mbedTLS.

A server shows a certificate to a MicroPython that verifies it; its clock is this machine's.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lint_rig import errors, findings, identity
from x509_forge import CLIENT_AUTH, DAY, HOST, Pair, Recipe, authority

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DATES = {"start": NOW - 2 * DAY, "end": NOW + 20 * DAY}
MICROPYTHON = Path(sys.executable).with_name("micropython")
PROGRAM = """
import socket, sys, tls
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_REQUIRED
with open(sys.argv[1], "rb") as file:
    context.load_verify_locations(file.read())
sock = socket.socket()
sock.connect(socket.getaddrinfo("127.0.0.1", int(sys.argv[2]))[0][-1])
context.wrap_socket(sock, server_hostname=sys.argv[3]).write(b"verified")
"""
CA = authority(start=NOW - 2 * DAY).sign()
CA_RSA = authority("RSA", kind="rsa2048", start=NOW - 2 * DAY).sign()
CA_P521 = authority("P-521", kind="p521", start=NOW - 2 * DAY).sign()
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def recipe(**how: object) -> Recipe:
    return Recipe(**{"name": HOST, "number": 2, **DATES, **how})  # type: ignore[arg-type]


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="no MicroPython for this platform")
@pytest.mark.parametrize(
    ("leaf", "ca", "code"),
    [
        (recipe(), CA, ""),
        (recipe(kind="p384"), CA, ""),
        (recipe(kind="p521"), CA, ""),
        (recipe(), CA_P521, ""),
        (recipe(hash=hashes.SHA512()), CA, ""),
        (recipe(kind="rsa4104"), CA, ""),
        (recipe(kind="ed25519"), CA, "lint.key-for-boards"),
        (recipe(kind="rsa1024"), CA, "lint.key-weak"),
        (recipe(hash=hashes.SHA256(), pss=PSS), CA_RSA, "lint.signature-for-boards"),
        (recipe(hash=hashes.SHA1()), CA, "lint.signature-weak"),  # noqa: S303
        (recipe(purposes=[CLIENT_AUTH]), CA, "lint.wrong-purpose"),
        (recipe(end=NOW - DAY), CA, "lint.expired"),
        (recipe(), authority(number=9, start=NOW - 2 * DAY).sign(), "lint.same-name-issuer"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_mbedtls_refuses_what_is_an_error_and_nothing_else(
    leaf: Recipe, ca: Pair, code: str, tmp_path: Path
) -> None:
    signer = CA if code == "lint.same-name-issuer" else ca
    made = leaf.sign(signer)
    folder = identity(tmp_path / "broker" / "x", [made], [ca], made.key)
    found = errors(findings(folder, board="virtual-esp32", at=NOW))
    assert set(found) == ({code} if code else set())  # a weak key is told in both its files
    assert verifies(folder, ca) == (not code)


def test_pss_is_a_warning_where_no_kind_of_board_is_named(tmp_path: Path) -> None:
    made = recipe(hash=hashes.SHA256(), pss=PSS).sign(CA_RSA)
    folder = identity(tmp_path / "broker" / "x", [made], [CA_RSA], made.key)
    (told,) = findings(folder, at=NOW)
    assert (told.code, told.severity) == ("lint.signature-pss", "warning")
    assert findings(folder, board="virtual-esp8266", at=NOW) == []


def verifies(folder: Path, ca: Pair) -> bool:
    """Whether MicroPython comes through a handshake with the identity's server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that weak ones are shown at all
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve() -> None:
            try:
                plain, _ = listener.accept()
                with plain, context.wrap_socket(plain, server_side=True) as sock:
                    received.append(sock.recv(100))
            except OSError as error:  # the client's alert, or its end
                received.append(str(error).encode())

        server = threading.Thread(target=serve)
        server.start()
        (folder / "anchor.der").write_bytes(ca.der)
        (folder / "client.py").write_text(PROGRAM)
        words = [MICROPYTHON, folder / "client.py", folder / "anchor.der"]
        port = str(listener.getsockname()[1])
        subprocess.run([*words, port, HOST], check=False, capture_output=True, timeout=60)
        server.join()
    return received == [b"verified"]
