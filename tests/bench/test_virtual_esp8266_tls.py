"""TLS as the ESP8266's port has it: it encrypts, and verifies nobody."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from esp8266_rig import booted_esp8266, reset, run
from virtual_rig import mpremote

from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

FIRMWARE = Path(__file__).parents[2] / "firmware"


@pytest.fixture
def board(bench_home: Home) -> VirtualBoard:
    return booted_esp8266(bench_home)


def test_nothing_lets_a_program_believe_that_the_port_verifies(board: VirtualBoard) -> None:
    code = (
        "import tls, ssl\n"
        "for m in (tls, ssl):\n"
        " c = m.SSLContext(m.PROTOCOL_TLS_CLIENT)\n"
        " print([n for n in dir(m) if 'CERT' in n], c.verify_mode)\n"
        " c.verify_mode = 2\n print(c.verify_mode)\n"
        " for n in ('verify_callback', 'check_hostname'):\n"
        "  print(hasattr(c, n))\n"
        "  try: tls.SSLContext(0).verify_callback = print\n"
        "  except AttributeError: print('refused')\n"
        " try: c.load_verify_locations(cadata=b'0')\n"
        " except AttributeError: print('no anchors')\n"
    )
    each = ["['CERT_NONE'] 0", "0", "False", "refused", "False", "refused", "no anchors"]
    assert run(board, code).splitlines() == each * 2


def test_keyfobs_firmware_refuses_the_ports_tls(board: VirtualBoard, tmp_path: Path) -> None:
    mpremote(board, "romfs", "deploy", firmware_folder(tmp_path))
    reset(board)
    code = (
        "import tls\nfrom keyfob.errors import KeyfobError\nfrom keyfob.tls import context\n"
        "c = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)\nc.verify_mode = 2\n"
        "try: context.check_verifies(c)\nexcept KeyfobError as e: print(e.code, e.detail)\n"
    )
    assert run(board, code) == "tls.cannot-verify verify_mode reads 0, want None\n"


def firmware_folder(tmp_path: Path) -> Path:
    """Keyfob's package alone, as `mpremote romfs` takes it."""
    folder = tmp_path / "rom"
    for source in (FIRMWARE / "keyfob").rglob("*.py"):
        target = folder / source.relative_to(FIRMWARE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("suite", "answer"),
    [("AES128-SHA256", "hello"), ("ECDHE-RSA-AES128-GCM-SHA256", "(-256, 'CONN_LOST')")],
)
def test_a_handshake_takes_rsa_key_exchange_and_any_certificate(
    board: VirtualBoard, tmp_path: Path, suite: str, answer: str
) -> None:
    certificate, key = self_signed(tmp_path, "another.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suite}:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve_hello, args=(server, context), daemon=True).start()
        code = (
            "import network, socket, ssl, time\n"
            "s = network.WLAN(0); s.active(True); s.connect('keyfob-bench', "
            "'keyfob-bench-password')\n"
            "while not s.isconnected(): time.sleep_ms(10)\n"
            f"a = socket.getaddrinfo('broker.keyfob.test', {server.getsockname()[1]})[0][-1]\n"
            "c = socket.socket(); c.connect(a)\n"
            "try: print(ssl.wrap_socket(c).read(5).decode())\n"
            "except OSError as e: print(e.args)\n"
        )
        assert run(board, code) == f"{answer}\n"


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """An RSA certificate that nobody vouches for, and its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=9))
    signed = builder.not_valid_after(now - datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


def serve_hello(server: socket.socket, context: ssl.SSLContext) -> None:
    raw, _ = server.accept()
    try:
        with context.wrap_socket(raw, server_side=True) as stream:
            stream.sendall(b"hello")
            stream.recv(1)
    except OSError:
        raw.close()
