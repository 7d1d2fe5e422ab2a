"""keyfob.crypto and keyfob.pki.signature by project Wycheproof's vectors: what known attacks,
lazy readers and corner cases of the arithmetic get wrong (``tests/vectors/README.md``)."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from keyfob.crypto import hkdf, hmac, p256, x25519
from keyfob.crypto.gcm import Gcm
from keyfob.pki.signature import verify_signature

FILE = Path(__file__).resolve().parent.parent / "vectors" / "wycheproof.txt.gz"
HASHES = {"sha256": 4, "sha384": 5}
# The second byte of a SignatureScheme of TLS whose first is its hash; of PSS it says both.
SCHEMES = {"pkcs1": lambda name: HASHES[name] << 8 | 1, "pss": lambda name: 0x0800 | HASHES[name]}
# An RSA signature whose DigestInfo lacks the NULL: RFC 8017 lets a verifier take it or not.
MISSING_NULL = 6


def vectors(kind: str) -> list[tuple[str, str, list[str]]]:
    """(name, result, fields) of each of ``kind``."""
    vectors = []
    with gzip.open(FILE, "rt", encoding="ascii") as file:
        for line in file:
            found, name, result, *fields = line.split()
            if found == kind:
                vectors.append((name, result, ["" if f == "-" else f for f in fields]))
    assert len(vectors) > 50
    return vectors


def octets(fields: list[str]) -> list[bytes]:
    return [bytes.fromhex(field) for field in fields]


def test_ecdsa_signatures_are_judged_as_wycheproof_says() -> None:
    wrong = []
    for name, result, (hash_name, *fields) in vectors("ecdsa"):
        point, message, signature = octets(fields)
        digest = hashlib.new(hash_name, message).digest()
        scheme = HASHES[hash_name] << 8 | 3
        if verify_signature(scheme, point, digest, signature) != (result == "valid"):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("kind", ["pkcs1", "pss"])
def test_rsa_signatures_are_judged_as_wycheproof_says(kind: str) -> None:
    wrong, loose = [], []
    for name, result, (hash_name, *fields) in vectors(kind):
        modulus, exponent, message, signature = octets(fields)
        digest = hashlib.new(hash_name, message).digest()
        key = (modulus, int.from_bytes(exponent, "big"))
        is_taken = verify_signature(SCHEMES[kind](hash_name), key, digest, signature)
        if result == "acceptable":
            loose.append(is_taken)
        elif is_taken != (result == "valid"):
            wrong.append(name)
    assert wrong == []
    assert loose == ([False] * MISSING_NULL if kind == "pkcs1" else [])


def test_x25519_agrees_and_refuses_a_secret_of_zeros() -> None:
    for name, _, fields in vectors("x25519"):
        secret, point, shared = octets(fields)
        if shared:
            assert x25519.shared_secret(secret, point) == shared, name
        else:
            assert x25519.shared_secret(secret, point) is None, name


def test_ecdh_agrees_and_refuses_points_off_the_curve() -> None:
    for name, result, fields in vectors("ecdh"):
        secret, point, shared = octets(fields)
        if result == "valid":
            assert p256.shared_secret(secret, point) == shared, name
        else:
            assert p256.shared_secret(secret, point) is None, name


def test_gcm_opens_what_is_whole_and_nothing_else() -> None:
    for name, result, fields in vectors("gcm"):
        key, nonce, aad, message, sealed, tag = octets(fields)
        buffer = bytearray(b"xx" + sealed + b"yy")
        is_whole = Gcm(key).open(buffer, 2, len(buffer) - 2, nonce, aad, tag)
        assert is_whole == (result == "valid"), name
        if is_whole:
            assert bytes(buffer) == b"xx" + message + b"yy", name
            buffer = bytearray(message)
            assert Gcm(key).seal(buffer, 0, len(buffer), nonce, aad) == tag, name
            assert bytes(buffer) == sealed, name


def test_hmac_and_hkdf_agree() -> None:
    for name, result, fields in vectors("hmac"):
        key, message, tag = octets(fields)
        made = hmac.hmac_sha256(key, message)[: len(tag)]
        assert (made == tag) == (result == "valid"), name
    for name, _, fields in vectors("hkdf"):
        secret, salt, info, wanted = octets(fields)
        key = hkdf.hkdf_extract(salt, secret)
        assert hkdf.hkdf_expand(key, info, len(wanted)) == wanted, name
