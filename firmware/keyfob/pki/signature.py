"""Signature algorithms of X.509 and TLS, by TLS's numbers for them, and their check.

RFC 8446 section 4.2.3 (SignatureScheme), RFC 5246 section 7.4.1.4.1, RFC 4055 and
RFC 5758 (their names in certificates). ECDSA goes by the curve of the key, as it does in
certificates and TLS 1.2: whoever speaks TLS 1.3 checks that scheme and curve match.

Slow or rare arithmetic is imported when it is met.
"""

import hashlib

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.der import Reader, oid_text

RSA_PKCS1_SHA256 = const(0x0401)
RSA_PKCS1_SHA384 = const(0x0501)
ECDSA_SHA256 = const(0x0403)
ECDSA_SHA384 = const(0x0503)
RSA_PSS_SHA256 = const(0x0804)
RSA_PSS_SHA384 = const(0x0805)

_NULL = const(0x05)
_SEQUENCE = const(0x30)
_PKCS1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01"
_MD2_MD4_MD5_SHA1 = (2, 3, 4, 5)
_PSS = const(10)
_ECDSA = b"\x2a\x86\x48\xce\x3d\x04"
_WEAK = (
    b"\x2a\x86\x48\xce\x3d\x04\x01",  # ECDSA with SHA-1
    b"\x2b\x0e\x03\x02\x1d",  # RSA with SHA-1, OIW's
    b"\x2b\x0e\x03\x02\x1b",  # DSA with SHA-1, OIW's
    b"\x2a\x86\x48\xce\x38\x04\x03",  # DSA with SHA-1
)


def scheme_of(algorithm: memoryview, who: str) -> int:
    """The SignatureScheme of an AlgorithmIdentifier.

    ``who``: how evidence names the certificate.
    Errors: x509.malformed, x509.unsupported, x509.weak.
    """
    reader = Reader(algorithm)
    reader.enter(_SEQUENCE)
    oid = reader.oid()
    scheme = 0
    is_weak = oid in _WEAK
    if oid[:-1] == _PKCS1:
        last = oid[-1]
        if last == _PSS:
            from keyfob.pki.pss import read_pss

            scheme = read_pss(reader, who)
        elif last == 11 or last == 12:
            scheme = RSA_PKCS1_SHA256 if last == 11 else RSA_PKCS1_SHA384
            if reader.peek() == _NULL:  # either way by RFC 4055 section 5
                outer = reader.enter(_NULL)
                reader.leave(outer)
        else:
            is_weak = last in _MD2_MD4_MD5_SHA1
    elif oid[:-2] == _ECDSA and oid[-2] == 3 and oid[-1] in (2, 3):
        scheme = ECDSA_SHA256 if oid[-1] == 2 else ECDSA_SHA384
    if not scheme:
        raise KeyfobError(
            "x509.weak" if is_weak else "x509.unsupported",
            "%s: signature %s, want SHA-256 or SHA-384 with RSA or ECDSA" % (who, oid_text(oid)),
        )
    reader.finish()
    return scheme


def hash_name_of(scheme: int) -> str:
    """``sha256`` or ``sha384``; "" for a scheme that is not known here."""
    if scheme in (RSA_PKCS1_SHA256, ECDSA_SHA256, RSA_PSS_SHA256):
        return "sha256"
    return "sha384" if scheme in (RSA_PKCS1_SHA384, ECDSA_SHA384, RSA_PSS_SHA384) else ""


def digest_for(scheme: int, data) -> bytes:
    """The digest of ``data`` (any buffer) that ``scheme`` signs; the scheme is a known one."""
    if hash_name_of(scheme) == "sha256":
        return hashlib.sha256(data).digest()
    from keyfob.crypto.sha384 import sha384

    return sha384(data).digest()


def verify_signature(scheme: int, key, digest: bytes, signature) -> bool:
    """Whether ``signature`` (any buffer) is one of ``digest`` under ``key`` by ``scheme``.

    ``key``: as of `keyfob.pki.public_key` or an end-entity: a point of 65 (P-256) or 97
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
        if scheme >= RSA_PSS_SHA256:
            from keyfob.crypto.rsa_pss import verify_pss

            return verify_pss(modulus, exponent, name, digest, bytes(signature))
        from keyfob.crypto.rsa import verify_pkcs1

        return verify_pkcs1(modulus, exponent, name, digest, bytes(signature))
    if not is_ecdsa:
        return False
    try:
        r, s = _read_ecdsa(signature)
    except KeyfobError:
        return False
    if len(key) == 65:
        from keyfob.crypto import p256

        # Its left-most bits, as many as the curve's order has (FIPS 186-5 section 6.4.2).
        return p256.verify(key, digest[:32], r, s)
    from keyfob.crypto import p384

    return p384.verify(key, digest, r, s)


def _read_ecdsa(signature) -> tuple:
    """(r, s) of an Ecdsa-Sig-Value, RFC 3279 section 2.2.3."""
    reader = Reader(signature)
    outer = reader.enter(_SEQUENCE)
    r = reader.integer()
    s = reader.integer()
    reader.leave(outer)
    reader.finish()
    if len(r) > 48 or len(s) > 48:
        reader.fail("signature of %d and %d bytes, want at most 48" % (len(r), len(s)))
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")
