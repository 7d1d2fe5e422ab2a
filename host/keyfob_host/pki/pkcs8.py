"""A private key encrypted: EncryptedPrivateKeyInfo (RFC 5958) with PBES2 (RFC 8018).

The library's own `BestAvailableEncryption` hashes the passphrase 2048 times, which a
graphics card tries millions of times a second; here it is PBKDF2-HMAC-SHA256 with
`ROUNDS`, then AES-256-CBC, which every tool reads. Reading is the library's: `keys`.
Neither the passphrase's length nor its quality is judged.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from keyfob_host.pki import der

# About a tenth of a second: once a command for us, once a guess for others.
ROUNDS = 600_000

_KEY_BYTES = 32
_SALT_BYTES = 16
_BLOCK_BYTES = 16

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
    parameters = der.sequence(
        der.tlv(der.OCTET_STRING, salt), der.integer(ROUNDS), der.sequence(_HMAC_SHA256, der.NULL)
    )
    function = der.sequence(_PBKDF2, parameters)
    scheme = der.sequence(_AES256_CBC, der.tlv(der.OCTET_STRING, vector))
    algorithm = der.sequence(_PBES2, der.sequence(function, scheme))
    info = der.sequence(algorithm, der.tlv(der.OCTET_STRING, encrypted))
    return der.pem("ENCRYPTED PRIVATE KEY", info)
