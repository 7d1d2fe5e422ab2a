"""keyfob.crypto against `cryptography` and CPython's `hmac`, with generated inputs."""

from __future__ import annotations

import hmac as reference_hmac
import random

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfob.crypto import hmac
from keyfob.crypto.gcm import Gcm

COUNTS = [pytest.param(40), pytest.param(2000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_hmac_and_hkdf(count: int) -> None:
    chance = random.Random(f"hmac {count}")
    for _ in range(count):
        key, data = (chance.randbytes(chance.randrange(200)) for _ in range(2))
        assert hmac.hmac_sha256(key, data) == reference_hmac.digest(key, data, "sha256")
        size = chance.randrange(1, 300)
        derived = HKDF(hashes.SHA256(), size, key, data).derive(data + key)
        assert hmac.hkdf_expand(hmac.hkdf_extract(key, data + key), data, size) == derived


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
