"""Padding that is wrong in one place, by whoever has the key: RSA's, and CBC's."""

from __future__ import annotations

import hashlib
import hmac
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keyfob.crypto.cbc import Cbc
from keyfob.crypto.rsa import encode_pkcs1, verify_pkcs1
from keyfob.crypto.rsa_encrypt import encrypt_pkcs1
from keyfob.crypto.rsa_pss import encode, verify_pss
from keyfob.crypto.rsa_sign import sign_pkcs1, sign_pss

DIGEST = hashlib.sha256(b"sample").digest()
HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
INFO = bytes.fromhex("3031300d060960864801650304020105000420")
COUNTS = [pytest.param(12), pytest.param(600, marks=pytest.mark.slow)]
BITS = [pytest.param(15), pytest.param(60, marks=pytest.mark.slow)]


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


@pytest.mark.parametrize("count", BITS)
def test_every_bit_of_the_pkcs1_encoding_counts(count: int, key: Key) -> None:
    good = int.from_bytes(padded(INFO + DIGEST), "big")
    for bit in random.Random("bits").sample(range(2040), count):
        signature = key.raise_(good ^ 1 << bit)
        assert not verify_pkcs1(key.modulus, 65537, "sha256", DIGEST, signature), bit


@pytest.mark.parametrize("count", BITS)
def test_every_bit_of_the_pss_encoding_counts(count: int, key: Key) -> None:
    good = encode(2048, "sha256", DIGEST, b"s" * 32)
    assert verify_pss(key.modulus, 65537, "sha256", DIGEST, key.raise_(good))
    # The trailer's, the hash's, the masked salt's and padding's.
    chosen = [*range(8), *random.Random("pss").sample(range(8, 2046), count)]
    for bit in chosen:
        signature = key.raise_(good ^ 1 << bit)
        assert not verify_pss(key.modulus, 65537, "sha256", DIGEST, signature), bit
    # The bit above those of the encoding, which is not masked.
    if good | 1 << 2047 < key.number:
        assert not verify_pss(key.modulus, 65537, "sha256", DIGEST, key.raise_(good | 1 << 2047))


# Below, at and above whole bytes; the longer ones take their time to be made.
ALIGNED = (2048, 2049, 2055, 2057)


@pytest.mark.parametrize(
    "bits", [*ALIGNED, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (2056, 3072, 4096))]
)
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


@pytest.mark.parametrize("bits", (2048, 2057, 3072))
def test_rsa_signatures_are_verified_by_another_implementation(bits: int) -> None:
    key = Key(bits)
    numbers = key.private.private_numbers()
    mine = (key.number, 65537, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    for name, algorithm in HASHES.items():
        digest = hashlib.new(name, b"sample").digest()
        expected = key.private.sign(b"sample", padding.PKCS1v15(), algorithm)
        assert sign_pkcs1(mine, name, digest) == expected
        scheme = padding.PSS(padding.MGF1(algorithm), len(digest))
        signature = sign_pss(mine, name, digest)
        key.private.public_key().verify(signature, b"sample", scheme, algorithm)


HEAD = bytes(7) + b"\x09\x17\x03\x03"
CBC_KEY, MAC_KEY = b"k" * 16, b"m" * 32


def encrypted(text: bytes, iv: bytes) -> bytes:
    context = Cipher(algorithms.AES(CBC_KEY), modes.CBC(iv)).encryptor()
    return iv + context.update(text) + context.finalize()


def mac_of(data: bytes) -> bytes:
    return hmac.digest(MAC_KEY, HEAD + len(data).to_bytes(2, "big") + data, "sha256")


def fragment(text: bytes, behind: bytes, iv: bytes, is_mac_last: bool) -> bytes:
    """``behind``: the padding with its length byte, as wrong as it may be."""
    if is_mac_last:
        sealed = encrypted(text + behind, iv)
        return sealed + mac_of(sealed)
    return encrypted(text + mac_of(text) + behind, iv)


def opened(data: bytes, is_mac_last: bool) -> bytes | None:
    buffer = bytearray(data)
    place = Cbc(CBC_KEY, MAC_KEY, is_mac_last).open(buffer, 0, len(buffer), HEAD)
    return bytes(buffer[place[0] : place[1]]) if place else None


@pytest.mark.parametrize("is_mac_last", (False, True))
@pytest.mark.parametrize("count", COUNTS)
def test_cbc_paddings_of_every_length(count: int, is_mac_last: bool) -> None:
    chance = random.Random(f"cbc {count} {is_mac_last}")
    for _ in range(count):
        text, iv = chance.randbytes(chance.randrange(400)), chance.randbytes(16)
        least = 15 - len(text) % 16
        for size in range(least, 256, 16):
            good = bytes((size,)) * (size + 1)
            assert opened(fragment(text, good, iv, is_mac_last), is_mac_last) == text
            bad = bytearray(good)
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            if len(set(bad[-bad[-1] - 1 :])) > 1 or is_mac_last is False:
                assert opened(fragment(text, bytes(bad), iv, is_mac_last), is_mac_last) is None
        # A length that says more than there is.
        whole = bytes((255,)) * (16 - len(text) % 16)
        if len(text) + 32 < 240:
            assert opened(fragment(text, whole, iv, is_mac_last), is_mac_last) is None


@pytest.mark.parametrize("is_mac_last", (False, True))
def test_cbc_fragments_are_opened_by_another_implementation(is_mac_last: bool) -> None:
    for size in range(0, 300, 13):
        text = random.Random(size).randbytes(size)
        buffer = bytearray(16) + text + bytes(48)
        end = Cbc(CBC_KEY, MAC_KEY, is_mac_last).seal(buffer, 0, 16 + size, HEAD)
        sealed = bytes(buffer[: end - 32]) if is_mac_last else bytes(buffer[:end])
        context = Cipher(algorithms.AES(CBC_KEY), modes.CBC(sealed[:16])).decryptor()
        plain = context.update(sealed[16:]) + context.finalize()
        assert plain[-plain[-1] - 1 :] == plain[-1:] * (plain[-1] + 1)
        plain = plain[: -plain[-1] - 1]
        mac = bytes(buffer[end - 32 : end]) if is_mac_last else plain[-32:]
        assert mac == mac_of(sealed if is_mac_last else text)
        assert plain == (text if is_mac_last else text + mac)


def test_cbc_hashes_as_many_blocks_whatever_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting:
        """SHA-256 that counts the blocks of 64 bytes it has to compress."""

        def __init__(self, data: bytes = b"") -> None:
            self._inner, self._size = hashlib.sha256(data), len(data)

        def update(self, data: bytes) -> None:
            self._inner.update(data)
            self._size += len(data)

        def digest(self) -> bytes:
            seen.append((self._size + 9 + 63) // 64)
            return self._inner.digest()

    class Stub:
        sha256 = Counting

    monkeypatch.setattr("keyfob.crypto.cbc.hashlib", Stub)
    monkeypatch.setattr("keyfob.crypto.hmac.hashlib", Stub)
    for room in (16, 64, 256, 1024):
        counts = set()
        for size in range(15, min(room, 256), 16):
            text = bytes(room - size - 1)
            assert (
                opened(fragment(text, bytes((size,)) * (size + 1), bytes(16), False), False) == text
            )
            counts.add(sum(seen))
            seen.clear()
            bad = fragment(text, b"\x77" + bytes((size,)) * size, bytes(16), False)
            assert opened(bad, False) is None
            counts.add(sum(seen))
            seen.clear()
        assert len(counts) == 1, counts
