"""Signatures of certificates and of TLS, by TLS's numbers for their algorithms.

RFC 8446 section 4.2.3 (SignatureScheme), RFC 5246 section 7.4.1.4.1. ECDSA goes by the
curve of the key, as it does in certificates and TLS 1.2: whoever speaks TLS 1.3 checks
that scheme and curve match.

Slow or rare arithmetic is imported when it is met.
"""

import hashlib

from micropython import const

_RSA_PKCS1_SHA256 = const(0x0401)
_RSA_PKCS1_SHA384 = const(0x0501)
_ECDSA_SHA256 = const(0x0403)
_ECDSA_SHA384 = const(0x0503)
_RSA_PSS_SHA256 = const(0x0804)
_RSA_PSS_SHA384 = const(0x0805)

_INTEGER = const(0x02)
_SEQUENCE = const(0x30)


def hash_name_of(scheme: int) -> str:
    """``sha256`` or ``sha384``; "" for a scheme that is not known here."""
    if scheme in (_RSA_PKCS1_SHA256, _ECDSA_SHA256, _RSA_PSS_SHA256):
        return "sha256"
    return "sha384" if scheme in (_RSA_PKCS1_SHA384, _ECDSA_SHA384, _RSA_PSS_SHA384) else ""


def digest_for(scheme: int, data) -> bytes:
    """The digest of ``data`` (any buffer) that ``scheme`` signs; the scheme is a known one."""
    if hash_name_of(scheme) == "sha256":
        return hashlib.sha256(data).digest()
    from keyfob.crypto.sha384 import sha384

    made = sha384()
    made.update(data)
    return made.digest()


def verify_signature(scheme: int, key, digest: bytes, signature) -> bool:
    """Whether ``signature`` (any buffer) is one of ``digest`` under ``key`` by ``scheme``.

    ``key``: as of `keyfob.pki.algorithms`: a point of 65 (P-256) or 97
    bytes (P-384), or (modulus, exponent). False for everything that is wrong with any
    of them; raises nothing.
    """
    name = hash_name_of(scheme)
    if len(digest) != (32 if name == "sha256" else 48) or not name:
        return False
    is_ecdsa = scheme & 0xFF == 3
    if isinstance(key, tuple):
        if is_ecdsa:
            return False
        modulus, exponent = key
        if scheme >= _RSA_PSS_SHA256:
            from keyfob.crypto.rsa_pss import verify_pss

            return verify_pss(modulus, exponent, name, digest, signature)
        from keyfob.crypto.rsa import verify_pkcs1

        return verify_pkcs1(modulus, exponent, name, digest, signature)
    if not is_ecdsa:
        return False
    numbers = _read_ecdsa(signature)
    if not numbers:
        return False
    r, s = numbers
    if len(key) == 65:
        from keyfob.crypto import p256_curve

        return p256_curve.verify(key, digest, r, s)
    from keyfob.crypto import p384

    return p384.verify(key, digest, r, s)


def _read_ecdsa(signature):
    """(r, s) of an Ecdsa-Sig-Value, RFC 3279 section 2.2.3; None where it is not DER.

    Read here, not by `keyfob.pki.der`: with the arithmetic there is no heap left for that.
    No such signature is as long as 128 bytes, so that all lengths are of one byte.
    """
    numbers = []
    end = len(signature)
    if end < 8 or signature[0] != _SEQUENCE or signature[1] != end - 2 or end > 129:
        return None
    at = 2
    for _ in range(2):
        start = at + 2
        if start >= end or signature[at] != _INTEGER:
            return None
        at = start + signature[at + 1]
        if not start < at <= end or signature[start] >= 0x80:
            return None  # empty, beyond the end, or negative
        if at - start > 1 and not signature[start] and signature[start + 1] < 0x80:
            return None  # a zero more than it needs
        numbers.append(int.from_bytes(signature[start:at], "big"))
    return numbers if at == end else None
