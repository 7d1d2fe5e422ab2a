"""keyfob.pki.private_key: keys that `cryptography` made sign what it verifies."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import x509_loaded  # noqa: F401
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below
from x509_cases import CA
from x509_forge import HOST, NOW_S, Key, Recipe, decode, encode, key

from keyfob.errors import KeyfobError
from keyfob.pki import path, private_key, signature

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
FORMS = (
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.PrivateFormat.PKCS8,
)
SCHEMES = {"p256": (0x0403,), "rsa": (0x0401, 0x0501, 0x0804, 0x0805)}
PLAIN = serialization.NoEncryption()


def der_of(made: Key, form: serialization.PrivateFormat = FORMS[1], how=PLAIN) -> bytes:
    return made.private_bytes(serialization.Encoding.DER, form, how)


def check(made: Key, scheme: int, digest: bytes, signature: bytes) -> None:
    """Raises `InvalidSignature`."""
    name = hashes.SHA256() if scheme in (0x0403, 0x0401, 0x0804) else hashes.SHA384()
    public, how = made.public_key(), utils.Prehashed(name)
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, digest, ec.ECDSA(how))
        return
    pss = padding.PSS(padding.MGF1(name), name.digest_size)
    public.verify(signature, digest, pss if scheme >> 8 == 8 else padding.PKCS1v15(), how)


def digest_by(scheme: int, data: bytes) -> bytes:
    is_sha256 = scheme in (0x0403, 0x0401, 0x0804)
    return (hashlib.sha256 if is_sha256 else hashlib.sha384)(data).digest()


@pytest.mark.parametrize("form", FORMS, ids=["traditional", "pkcs8"])
@pytest.mark.parametrize("kind", ["p256", "rsa2048", "rsa3072"])
def test_a_key_signs_by_each_of_its_schemes(kind: str, form: serialization.PrivateFormat) -> None:
    made = key(kind)
    loaded = private_key.load(der_of(made, form))
    assert loaded.kind == kind[: len(loaded.kind)]
    for scheme in SCHEMES[loaded.kind]:
        digest = digest_by(scheme, b"message")
        signed = loaded.sign(scheme, digest)
        check(made, scheme, digest, signed)
        with pytest.raises(InvalidSignature):
            check(made, scheme, digest[::-1], signed)


def test_signatures_of_all_lengths_are_der() -> None:
    made = key("p256")
    loaded = private_key.load(der_of(made))
    sizes = set()
    for number in range(60):
        digest = digest_by(0x0403, bytes([number]))
        signed = loaded.sign(0x0403, digest)
        check(made, 0x0403, digest, signed)
        sizes.add(len(signed))
    assert len(sizes) > 1


PROGRAM = """
import binascii, sys
sys.path.insert(0, sys.argv[1])
from keyfob.pki import path, private_key, signature
with open(sys.argv[2], "rb") as file:
    key = private_key.load(file.read())
for word in sys.argv[3:]:
    scheme, digest = word.split(":")
    print(binascii.hexlify(key.sign(int(scheme), binascii.unhexlify(digest))).decode())
"""


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
@pytest.mark.parametrize("bits", [64, 32])
def test_micropython_signs_too(
    bits: int,
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    made = key(kind)
    (tmp_path / "key.der").write_bytes(der_of(made, FORMS[0]))
    (tmp_path / "sign.py").write_text(PROGRAM, "utf-8")
    schemes = SCHEMES[kind[: 4 if kind == "p256" else 3]]
    words = [f"{scheme}:{digest_by(scheme, b'x').hex()}" for scheme in schemes]
    start = [str(Path(sys.executable).with_name("micropython"))]
    if bits == 32:
        start = request.getfixturevalue("micropython32")
    files = [tmp_path / "sign.py", FIRMWARE, tmp_path / "key.der"]
    command = [*start, *map(os.fspath, files), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for scheme, line in zip(schemes, done.stdout.split(), strict=True):
        check(made, scheme, digest_by(scheme, b"x"), bytes.fromhex(line))


def wrong_rsa() -> bytes:
    """An RSA key whose d mod (p - 1) is not that."""
    nodes = decode(der_of(key("rsa2048"), FORMS[0]))
    exponent = nodes[0][1][6]
    exponent[1] = exponent[1][:-1] + bytes([exponent[1][-1] ^ 2])
    return encode(nodes)


def trivial_rsa(p: int, q: int) -> bytes:
    """A key of which one prime is none."""
    numbers = (0, p * q, 65_537, 5, p, q, 5 % max(p - 1, 1), 5 % max(q - 1, 1), 1)
    nodes = [[2, n.to_bytes(n.bit_length() // 8 + 1, "big")] for n in numbers]
    return encode([[0x30, nodes]])


def with_null(der: bytes, content: bytes) -> bytes:
    """PKCS#8 whose algorithm's parameters, a NULL, have a content."""
    nodes = decode(der)
    nodes[0][1][1][1][1][1] = content
    return encode(nodes)


def test_a_null_in_a_certificates_key_has_no_content() -> None:
    def edit(tbs: list) -> None:
        tbs[1][6][1][0][1][1][1] = b"\xde\xad"

    leaf = Recipe(number=2, kind="rsa2048", edit=edit).sign(CA)
    with pytest.raises(KeyfobError, match=r"x509\.malformed"):
        path.verify([leaf.der], [CA.der], HOST, NOW_S)


def test_keys_of_other_kinds_are_refused_without_showing_them() -> None:
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    password = serialization.BestAvailableEncryption(b"secret")
    assert isinstance(key("rsa2048"), rsa.RSAPrivateKey)
    for der in (
        der_of(key("p384")),
        der_of(key("p384"), FORMS[0]),
        der_of(key("p521")),
        der_of(key("ed25519")),
        der_of(key("rsa1024")),
        der_of(key("p256"), FORMS[1], password),
        key("p256").public_key().public_bytes(serialization.Encoding.DER, public),
        CA.der,
        wrong_rsa(),
        trivial_rsa(1, (1 << 2047) + 1),
        trivial_rsa((1 << 2047) + 1, 1),
        with_null(der_of(key("rsa2048"), FORMS[1]), b"\xde\xad"),
        b"-----BEGIN PRIVATE KEY-----",
    ):
        with pytest.raises(KeyfobError) as caught:
            private_key.load(der)
        assert caught.value.code == "tls.bad-key"
        assert "offset" in caught.value.detail and len(caught.value.detail) < 120


@pytest.mark.parametrize("count", [3000, pytest.param(300_000, marks=pytest.mark.slow)])
def test_encoded_signatures_are_read_as_cryptography_does(count: int) -> None:
    numbers = random.Random(count)
    read = 0
    for _ in range(count):
        pair = [numbers.getrandbits(numbers.choice((1, 8, 255, 256, 383, 384))) for _ in "rs"]
        der = bytearray(utils.encode_dss_signature(*pair))
        for _ in range(numbers.choice((0, 1, 1, 2))):
            at = numbers.randrange(min(len(der), 6) if numbers.random() < 0.7 else len(der))
            der[at] = numbers.choice((0, 1, 2, 0x20, 0x21, 0x30, 0x7F, 0x80, 0x81, 0xFF))
        try:
            seen = utils.decode_dss_signature(bytes(der))
        except ValueError:
            seen = None
        mine = signature._read_ecdsa(bytes(der))
        assert (tuple(mine) if mine else None) == seen, der.hex()
        read += bool(mine)
    assert count / 10 < read < count
