"""HKDF with SHA-256, RFC 5869. TLS 1.3 has its own form of it in `keyfob.tls.keys13`."""

from keyfob.crypto.hmac import hmac_sha256


def hkdf_extract(salt, secret) -> bytes:
    """RFC 5869 section 2.2; an empty ``salt`` is the 32 zeros it says."""
    return hmac_sha256(salt, secret)


def hkdf_expand(key, info, size: int) -> bytes:
    """RFC 5869 section 2.3; ``size`` is at most 8160 (255 times 32)."""
    block = out = b""
    count = 0
    while len(out) < size:
        count += 1
        block = hmac_sha256(key, block, info, bytes((count,)))
        out += block
    return out[:size]
