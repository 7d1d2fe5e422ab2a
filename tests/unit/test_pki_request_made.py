"""keyfob.pki.request and keys made on the board, judged by OpenSSL and by `cryptography`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import x509_loaded  # noqa: F401
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.name import _ASN1Type
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below

from keyfob.crypto import p256_make
from keyfob.pki import private_key, request
from keyfob.pki.private_key_ec import own_key
from keyfob_host.pki.request import read_request

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
VECTORS = Path(__file__).resolve().parents[1] / "vectors"
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-"


def openssl(*arguments: str, given: bytes) -> str:
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return (done.stdout + done.stderr).decode()


def check(der: bytes, made: bytes, subject: str) -> None:
    """``der`` is a key, and ``made`` a good request for it in the name of ``subject``."""
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert der.endswith(public)
    csr = x509.load_der_x509_csr(made)
    assert csr.is_signature_valid and csr.public_key() == key.public_key()
    assert csr.public_bytes(Encoding.DER) == made
    (name,) = csr.subject
    assert (name.oid, name.value) == (x509.NameOID.COMMON_NAME, subject)
    assert name._type == _ASN1Type.UTF8String
    assert not list(csr.attributes) and not list(csr.extensions)


def by_openssl(der: bytes, made: bytes, subject: str) -> None:
    said = openssl("req", "-inform", "DER", "-verify", "-noout", "-subject", given=made)
    assert "verify OK" in said and f"CN = {subject}" in said
    said = openssl("ec", "-inform", "DER", "-check", "-noout", given=der)
    assert "EC Key valid" in said


def ids(count: int) -> list[str]:
    numbers = random.Random(count)
    sizes = [numbers.choice((1, 12, 33, 34, 63, 64, numbers.randint(1, 64))) for _ in range(count)]
    return ["".join(numbers.choice(ALPHABET) for _ in range(size)) for size in sizes]


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_drawn_keys_and_their_requests_are_good(count: int) -> None:
    keys = set()
    for number, subject in enumerate(ids(count)):
        der = p256_make.make()
        made = request.make(own_key(der), subject)
        check(der, made, subject)
        if count > 20 or number < 5:
            by_openssl(der, made, subject)
        keys.add(der[7:39])
    assert len(keys) == count


def test_every_length_of_a_subject_makes_a_good_request() -> None:
    der = p256_make.make()
    for size in range(1, 65):
        made = request.make(own_key(der), "x" * size)
        check(der, made, "x" * size)


def test_request_has_the_shape_of_one_made_by_a_secure_element() -> None:
    other = x509.load_pem_x509_csr((VECTORS / "ecc508-csr.pem").read_bytes())
    theirs = other.public_bytes(Encoding.DER)
    ours = request.make(own_key(p256_make.make()), "mymkr")
    # Two levels down: tags and sizes of everything but the signature, which varies.
    assert ours[3:5] == theirs[3:5]
    public = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    at = theirs.index(public)
    as_theirs = ours[3:at].replace(b"\x0c\x05mymkr", b"\x13\x05mymkr")
    assert as_theirs == theirs[3:at]
    behind = slice(at + 65, at + 65 + 14)
    assert ours[behind] == theirs[behind]


def test_host_takes_the_request() -> None:
    der = p256_make.make()
    found = read_request(request.make(own_key(der), "240ac42a9751"))
    assert (found.name, found.key_type, found.not_taken_over) == ("240ac42a9751", "p256", ())


def test_key_read_from_its_file_makes_the_same_request() -> None:
    der = p256_make.make()
    made = request.make(private_key.load(der), "sensor-01")
    check(der, made, "sensor-01")


PROGRAM = """
import binascii, sys
sys.path.insert(0, sys.argv[1])
from keyfob.crypto import p256_make
from keyfob.pki import request
from keyfob.pki.private_key_ec import own_key
for subject in sys.argv[2:]:
    der = p256_make.make()
    for part in (der, request.make(own_key(der), subject)):
        print(binascii.hexlify(part).decode())
"""


@pytest.mark.parametrize("count", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bits", [64, 32])
def test_micropython_makes_good_ones_too(
    bits: int, count: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "make.py").write_text(PROGRAM, "utf-8")
    start = [str(Path(sys.executable).with_name("micropython"))]
    if bits == 32:
        start = request.getfixturevalue("micropython32")
    subjects = ids(count)
    command = [*start, os.fspath(tmp_path / "make.py"), os.fspath(FIRMWARE), *subjects]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [bytes.fromhex(line) for line in done.stdout.split()]
    assert len(lines) == 2 * count
    for at, subject in enumerate(subjects):
        check(lines[2 * at], lines[2 * at + 1], subject)
        by_openssl(lines[2 * at], lines[2 * at + 1], subject)
