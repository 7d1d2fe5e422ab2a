"""keyfob.crypto against `cryptography` and CPython's `hmac`, with generated inputs."""

from __future__ import annotations

import hashlib
import hmac as reference_hmac
import random

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfob.crypto import hkdf, hmac, p256, p384, x25519
from keyfob.crypto.gcm import Gcm
from keyfob.crypto.rsa import verify_pkcs1
from keyfob.crypto.rsa_pss import verify_pss
from keyfob.crypto.sha384 import sha384

COUNTS = [pytest.param(40), pytest.param(2000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_hmac_and_hkdf(count: int) -> None:
    chance = random.Random(f"hmac {count}")
    for _ in range(count):
        key, data = (chance.randbytes(chance.randrange(200)) for _ in range(2))
        assert hmac.hmac_sha256(key, data) == reference_hmac.digest(key, data, "sha256")
        size = chance.randrange(1, 300)
        derived = HKDF(hashes.SHA256(), size, key, data).derive(data + key)
        assert hkdf.hkdf_expand(hkdf.hkdf_extract(key, data + key), data, size) == derived


@pytest.mark.parametrize("count", COUNTS)
def test_sha384(count: int) -> None:
    chance = random.Random(f"sha384 {count}")
    for _ in range(count):
        data = chance.randbytes(chance.randrange(600))
        made, at = sha384(), 0
        while at < len(data):
            size = chance.randrange(1, 200)
            made.update(data[at : at + size])
            at += size
        assert made.digest() == hashlib.sha384(data).digest()


@pytest.mark.parametrize("count", COUNTS)
def test_gcm(count: int) -> None:
    chance = random.Random(f"gcm {count}")
    for _ in range(count):
        key, nonce = chance.randbytes(16), chance.randbytes(12)
        aad, text = chance.randbytes(chance.randrange(40)), chance.randbytes(chance.randrange(600))
        sealed = AESGCM(key).encrypt(nonce, text, aad)
        buffer = bytearray(b"#" * 5 + text)
        assert Gcm(key).seal(buffer, 5, len(buffer), nonce, aad) == sealed[-16:]
        assert buffer[5:] == sealed[:-16]
        assert Gcm(key).open(buffer, 5, len(buffer), nonce, aad, sealed[-16:])
        assert buffer == b"#" * 5 + text
        bad = bytearray(sealed)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(nonce, bytes(bad), aad)
        assert not Gcm(key).open(bad, 0, len(text), nonce, aad, bad[-16:])


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize("count", COUNTS)
def test_p256_signatures(count: int) -> None:
    chance = random.Random(f"p256 {count}")
    for _ in range(count):
        scalar = chance.randrange(1, P256_ORDER)
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        point, digest = _point(key.public_key()), chance.randbytes(32)
        r, s = utils.decode_dss_signature(key.sign(digest, PREHASHED))
        assert p256.verify(point, digest, r, s)
        flipped = bytearray(r.to_bytes(32, "big") + s.to_bytes(32, "big") + digest)
        flipped[chance.randrange(96)] ^= 1 << chance.randrange(8)
        r, s = (int.from_bytes(flipped[at : at + 32], "big") for at in (0, 32))
        assert not p256.verify(point, flipped[64:], r, s)
        made = utils.encode_dss_signature(*p256.sign(scalar.to_bytes(32, "big"), digest))
        key.public_key().verify(made, digest, PREHASHED)


@pytest.mark.parametrize("count", COUNTS)
def test_p256_keys_and_shared_secrets(count: int) -> None:
    chance = random.Random(f"ecdh {count}")
    for index in range(count):
        # Long runs of equal bits are where windows and carries go wrong.
        scalar = chance.randrange(1, P256_ORDER)
        if index % 4 == 0:
            scalar = (1 << chance.randrange(256)) + chance.choice((-1, 0, 1)) or 1
            scalar = scalar if index % 8 or scalar < 2 else P256_ORDER - scalar
            scalar %= P256_ORDER
        mine = ec.derive_private_key(scalar, ec.SECP256R1())
        peer = ec.generate_private_key(ec.SECP256R1()).public_key()
        secret = scalar.to_bytes(32, "big")
        assert p256.public_key(secret) == _point(mine.public_key())
        assert p256.shared_secret(secret, _point(peer)) == mine.exchange(ec.ECDH(), peer)


@pytest.mark.parametrize("count", COUNTS)
def test_p384_signatures(count: int) -> None:
    chance = random.Random(f"p384 {count}")
    for index in range(count // 4):
        # A few keys of small scalars, whose multiples meet those of the base point.
        scalar = index + 1 if index < 5 else chance.getrandbits(383) + 1
        key = ec.derive_private_key(scalar, ec.SECP384R1())
        name, algorithm = chance.choice((("sha256", hashes.SHA256()), ("sha384", hashes.SHA384())))
        digest = hashlib.new(name, chance.randbytes(20)).digest()
        made = key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))
        r, s = utils.decode_dss_signature(made)
        point = _point(key.public_key())
        assert p384.verify(point, digest, r, s)
        flipped = bytearray(r.to_bytes(48, "big") + s.to_bytes(48, "big") + digest)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        r, s = (int.from_bytes(flipped[at : at + 48], "big") for at in (0, 48))
        assert not p384.verify(point, flipped[96:], r, s)


@pytest.mark.parametrize("count", COUNTS)
def test_x25519(count: int) -> None:
    for _ in range(count):
        mine, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
        secret = mine.private_bytes_raw()
        assert x25519.public_key(secret) == mine.public_key().public_bytes_raw()
        shared = x25519.shared_secret(secret, peer.public_bytes_raw())
        assert shared == mine.exchange(peer)


@pytest.mark.parametrize("count", COUNTS)
def test_x25519_of_any_coordinate(count: int) -> None:
    """On the curve or on its twist, about the prime and at the ends of the range."""
    chance = random.Random(f"x25519 {count}")
    prime = (1 << 255) - 19
    for _ in range(count):
        near = chance.choice((0, prime, 1 << 255, (1 << 256) - 20)) + chance.randrange(20)
        u = chance.choice((chance.getrandbits(256), near)).to_bytes(32, "little")
        mine = X25519PrivateKey.generate()
        try:
            want = mine.exchange(X25519PublicKey.from_public_bytes(u))
        except ValueError:  # the product is zero
            want = None
        assert x25519.shared_secret(mine.private_bytes_raw(), u) == want


@pytest.fixture(scope="module")
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 3072, 4096)]


@pytest.mark.parametrize("count", COUNTS)
def test_rsa_signatures(count: int, rsa_keys: list[rsa.RSAPrivateKey]) -> None:
    chance = random.Random(f"rsa {count}")
    for _ in range(count):
        key = chance.choice(rsa_keys)
        numbers = key.public_key().public_numbers()
        modulus = numbers.n.to_bytes(key.key_size // 8, "big")
        name, hash_ = chance.choice((("sha256", hashes.SHA256()), ("sha384", hashes.SHA384())))
        pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
        form, verify = chance.choice(((padding.PKCS1v15(), verify_pkcs1), (pss, verify_pss)))
        digest = hashlib.new(name, chance.randbytes(20)).digest()
        signature = key.sign(digest, form, utils.Prehashed(hash_))
        assert verify(modulus, numbers.e, name, digest, signature)
        flipped = bytearray(signature + digest)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        signature, digest = bytes(flipped[: len(modulus)]), bytes(flipped[len(modulus) :])
        assert not verify(modulus, numbers.e, name, digest, signature)
