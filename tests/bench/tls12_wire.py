"""Records and the PRF of TLS 1.2 for a test's server, made with `cryptography`."""

from __future__ import annotations

import hmac
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tls_wire import record


def prf(secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    chain = label + seed
    out = b""
    while len(out) < size:
        chain = hmac.digest(secret, chain, "sha256")
        out += hmac.digest(secret, chain + label + seed, "sha256")
    return out[:size]


class GcmKeys:
    """One direction: RFC 5288. The nonce's explicit part is what the sender likes."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self.sequence = 0
        self._aead, self._salt = AESGCM(key), salt

    def _aad(self, kind: int, size: int) -> bytes:
        self.sequence += 1
        head = (self.sequence - 1).to_bytes(8, "big") + bytes((kind, 3, 3))
        return head + size.to_bytes(2, "big")

    def seal(self, kind: int, content: bytes) -> bytes:
        explicit = os.urandom(8)
        aad = self._aad(kind, len(content))
        sealed = self._aead.encrypt(self._salt + explicit, content, aad)
        return record(kind, explicit + sealed)

    def open(self, one: bytes) -> tuple[int, bytes]:
        aad = self._aad(one[0], len(one) - 29)
        return one[0], self._aead.decrypt(self._salt + one[5:13], one[13:], aad)


class CbcKeys:
    """One direction: RFC 5246 section 6.2.3.2, or RFC 7366 with ``is_mac_last``.
    ``padding``: more blocks of it than needed; ``spoil`` changes the plaintext before it
    is encrypted."""

    def __init__(self, key: bytes, mac_key: bytes, is_mac_last: bool) -> None:
        self.sequence = 0
        self.padding_blocks = 0
        self.spoil = bytes
        self._key, self._mac_key, self._is_mac_last = key, mac_key, is_mac_last

    def _mac(self, kind: int, content: bytes) -> bytes:
        self.sequence += 1
        head = (self.sequence - 1).to_bytes(8, "big") + bytes((kind, 3, 3))
        text = head + len(content).to_bytes(2, "big") + content
        return hmac.digest(self._mac_key, text, "sha256")

    def seal(self, kind: int, content: bytes) -> bytes:
        iv = os.urandom(16)
        text = content if self._is_mac_last else content + self._mac(kind, content)
        count = 15 - len(text) % 16 + 16 * self.padding_blocks
        text = self.spoil(text + bytes([count]) * (count + 1))
        cipher = Cipher(algorithms.AES(self._key), modes.CBC(iv)).encryptor()
        sealed = iv + cipher.update(text) + cipher.finalize()
        return record(kind, sealed + (self._mac(kind, sealed) if self._is_mac_last else b""))

    def open(self, one: bytes) -> tuple[int, bytes]:
        sealed = one[5:]
        if self._is_mac_last:
            sealed, mac = sealed[:-32], sealed[-32:]
            assert mac == self._mac(one[0], sealed), "the client's MAC"
        cipher = Cipher(algorithms.AES(self._key), modes.CBC(sealed[:16])).decryptor()
        text = cipher.update(sealed[16:]) + cipher.finalize()
        count = text[-1] + 1
        assert text[-count:] == bytes([count - 1]) * count, "the client's padding"
        text = text[:-count]
        if not self._is_mac_last:
            text, mac = text[:-32], text[-32:]
            assert mac == self._mac(one[0], text), "the client's MAC"
        return one[0], text
