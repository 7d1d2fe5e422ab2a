"""A private key encrypted: EncryptedPrivateKeyInfo (RFC 5958) with PBES2 (RFC 8018).

The library's own `BestAvailableEncryption` hashes the passphrase 2048 times, which a
graphics card tries millions of times a second; here it is PBKDF2-HMAC-SHA256 with
`ROUNDS`, then AES-256-CBC, which every tool reads. Reading is the library's: `keys`.
Neither the passphrase's length nor its quality is judged.
"""

from __future__ import annotations

import base64
import os

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

# About a tenth of a second: once a command for us, once a guess for others.
ROUNDS = 600_000

_KEY_BYTES = 32
_SALT_BYTES = 16
_BLOCK_BYTES = 16

_SEQUENCE, _INTEGER, _OCTET_STRING = 0x30, 0x02, 0x04
_NULL = b"\x05\x00"
# Object identifiers, tag and length included: RFC 8018 appendix A and C.
_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209")
_AES256_CBC = bytes.fromhex("060960864801650304012a")


def encrypted_pem(private_key_info: bytes, passphrase: bytes) -> bytes:
    """``ENCRYPTED PRIVATE KEY`` of a key in unencrypted PKCS#8 DER."""
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    derived = PBKDF2HMAC(hashes.SHA256(), _KEY_BYTES, salt, ROUNDS).derive(passphrase)
    padder = padding.PKCS7(_BLOCK_BYTES * 8).padder()
    padded = padder.update(private_key_info) + padder.finalize()
    cipher = Cipher(algorithms.AES(derived), modes.CBC(vector)).encryptor()
    encrypted = cipher.update(padded) + cipher.finalize()
    rounds = _tlv(_INTEGER, ROUNDS.to_bytes(ROUNDS.bit_length() // 8 + 1, "big"))
    function = _sequence(
        _PBKDF2,
        _sequence(_tlv(_OCTET_STRING, salt), rounds, _sequence(_HMAC_SHA256, _NULL)),
    )
    scheme = _sequence(_AES256_CBC, _tlv(_OCTET_STRING, vector))
    algorithm = _sequence(_PBES2, _sequence(function, scheme))
    der = _sequence(algorithm, _tlv(_OCTET_STRING, encrypted))
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    label = b"ENCRYPTED PRIVATE KEY-----"
    return b"\n".join([b"-----BEGIN " + label, *lines, b"-----END " + label, b""])


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _tlv(tag: int, content: bytes) -> bytes:
    """Tag, length in the shortest form (X.690 section 10.1), content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
