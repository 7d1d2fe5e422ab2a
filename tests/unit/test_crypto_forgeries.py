"""RSA padding that is wrong in one place, raised to a private key made here."""

from __future__ import annotations

import hashlib
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keyfob.crypto.rsa import encode_pkcs1, verify_pkcs1
from keyfob.crypto.rsa_encrypt import encrypt_pkcs1
from keyfob.crypto.rsa_pss import encode, verify_pss

DIGEST = hashlib.sha256(b"sample").digest()
HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
INFO = bytes.fromhex("3031300d060960864801650304020105000420")
COUNTS = [pytest.param(12), pytest.param(600, marks=pytest.mark.slow)]


class Key:
    """A private key that signs whatever number it is given."""

    def __init__(self, bits: int, exponent: int = 65537) -> None:
        self.private = rsa.generate_private_key(exponent, bits)
        numbers = self.private.private_numbers()
        self.bits, self.size = bits, (bits + 7) // 8
        self.number, self.exponent = numbers.public_numbers.n, exponent
        self.modulus = self.number.to_bytes(self.size, "big")
        self._secret = numbers.d

    def raise_(self, block: bytes | int) -> bytes:
        number = block if isinstance(block, int) else int.from_bytes(block, "big")
        return pow(number, self._secret, self.number).to_bytes(self.size, "big")


@pytest.fixture(scope="module")
def key() -> Key:
    return Key(2048)


def padded(info: bytes, size: int = 256) -> bytes:
    return b"\x00\x01" + b"\xff" * (size - 3 - len(info)) + b"\x00" + info


# What it is -> the encoded message of 256 bytes.
BLOCKS = {
    "no NULL": padded(bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + DIGEST),
    "no NULL, lengths as with it": padded(INFO[:15] + INFO[17:] + DIGEST),
    "no DigestInfo": padded(DIGEST),
    "OID of SHA-384": padded(INFO[:14] + b"\x02" + INFO[15:] + DIGEST),
    "OID of SHA-512/256": padded(INFO[:14] + b"\x06" + INFO[15:] + DIGEST),
    "long form of a length": padded(b"\x30\x81" + INFO[1:] + DIGEST),
    "indefinite length": padded(b"\x30\x80" + INFO[2:] + DIGEST + b"\0\0"),
    "garbage behind": b"\x00\x01" + b"\xff" * 8 + b"\x00" + INFO + DIGEST + b"\x5a" * 194,
    "zeros behind": b"\x00\x01" + b"\xff" * 8 + b"\x00" + INFO + DIGEST + bytes(194),
    "garbage in the parameters": padded(
        b"\x30\x35\x30\x11" + INFO[4:15] + b"\x05\x04abcd" + INFO[17:] + DIGEST
    ),
    "block type 0": b"\x00\x00" + padded(INFO + DIGEST)[2:],
    "block type 2": b"\x00\x02" + padded(INFO + DIGEST)[2:],
    "first byte 1": b"\x01\x01" + padded(INFO + DIGEST)[2:],
    "padding of zeros": b"\x00\x01" + bytes(203) + INFO + DIGEST,
    "one padding byte less than FF": padded(INFO + DIGEST).replace(b"\xff\xff", b"\xff\xfe", 1),
    "no zero before the DigestInfo": b"\x00\x01" + b"\xff" * 203 + INFO + DIGEST,
    "padding of a byte": b"\x00\x01\xff\x00" + INFO + DIGEST + b"\xff" * 201,
    "no padding": b"\x00\x01\x00" + INFO + DIGEST + bytes(202),
    "hash cut by a byte": padded(INFO[:-1] + b"\x1f" + DIGEST[:-1]),
    "hash longer by a byte": padded(INFO[:-1] + b"\x21" + DIGEST + b"\0"),
    "NULL for a tag": padded(b"\x05" + INFO[1:] + DIGEST),
}


@pytest.mark.parametrize("what", BLOCKS)
def test_pkcs1_padding_is_refused(what: str, key: Key) -> None:
    block = BLOCKS[what]
    assert len(block) == 256
    if int.from_bytes(block, "big") < key.number:
        assert not verify_pkcs1(key.modulus, 65537, "sha256", DIGEST, key.raise_(block))


def test_pkcs1_padding_that_is_right_is_good(key: Key) -> None:
    good = padded(INFO + DIGEST)
    assert encode_pkcs1("sha256", DIGEST, 256) == good
    assert verify_pkcs1(key.modulus, 65537, "sha256", DIGEST, key.raise_(good))


def test_every_bit_of_the_pkcs1_encoding_counts(key: Key) -> None:
    good = int.from_bytes(padded(INFO + DIGEST), "big")
    for bit in random.Random("bits").sample(range(2040), 60):
        signature = key.raise_(good ^ 1 << bit)
        assert not verify_pkcs1(key.modulus, 65537, "sha256", DIGEST, signature), bit


def test_every_bit_of_the_pss_encoding_counts(key: Key) -> None:
    good = encode(2048, "sha256", DIGEST, b"s" * 32)
    assert verify_pss(key.modulus, 65537, "sha256", DIGEST, key.raise_(good))
    # The trailer's, the hash's, the masked salt's and padding's.
    chosen = [*range(8), *random.Random("pss").sample(range(8, 2046), 60)]
    for bit in chosen:
        signature = key.raise_(good ^ 1 << bit)
        assert not verify_pss(key.modulus, 65537, "sha256", DIGEST, signature), bit
    # The bit above those of the encoding, which is not masked.
    if good | 1 << 2047 < key.number:
        assert not verify_pss(key.modulus, 65537, "sha256", DIGEST, key.raise_(good | 1 << 2047))


@pytest.mark.parametrize("bits", (2048, 2049, 2055, 2056, 2057, 3072, 4096))
@pytest.mark.parametrize("name", HASHES)
def test_moduli_of_every_alignment(bits: int, name: str) -> None:
    key = Key(bits, 3 if bits % 8 else 65537)
    digest = hashlib.new(name, b"sample").digest()
    algorithm = HASHES[name]
    signature = key.private.sign(b"sample", padding.PKCS1v15(), algorithm)
    assert verify_pkcs1(key.modulus, key.exponent, name, digest, signature)
    for salt in (0, 20, len(digest), (bits + 6) // 8 - len(digest) - 2):
        scheme = padding.PSS(padding.MGF1(algorithm), salt)
        signature = key.private.sign(b"sample", scheme, algorithm)
        assert verify_pss(key.modulus, key.exponent, name, digest, signature, salt)
        for other in {-1, 0, 20, len(digest), salt - 1, salt + 1} - {salt}:
            taken = verify_pss(key.modulus, key.exponent, name, digest, signature, other)
            assert taken == (other < 0 and salt == len(digest)), (salt, other)
        made = key.raise_(encode(bits, name, digest, b"s" * salt))
        key.private.public_key().verify(made, b"sample", scheme, algorithm)


@pytest.mark.parametrize("count", COUNTS)
def test_what_was_encrypted_is_decrypted_by_another_implementation(count: int, key: Key) -> None:
    chance = random.Random(f"encrypt {count}")
    for _ in range(count):
        message = chance.randbytes(chance.choice((0, 1, 48, 245)))
        sealed = encrypt_pkcs1(key.modulus, 65537, message)
        assert key.private.decrypt(sealed, padding.PKCS1v15()) == message
