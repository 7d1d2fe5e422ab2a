"""A certificate request: PKCS#10, RFC 2986, for a key of P-256.

The subject is one common name, and nothing is asked for beside it: extensions are the
authority's to choose, so the attributes are empty. ECDSA with SHA-256, RFC 5758 section
3.2. Not checked: the characters of the subject, of which settings allow few.
"""

import hashlib

from micropython import const

_ECDSA_WITH_SHA256 = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
_SCHEME = const(0x0403)
_COMMON_NAME = b"\x06\x03\x55\x04\x03"
_VERSION = b"\x02\x01\x00"
_NO_ATTRIBUTES = b"\xa0\x00"
# SubjectPublicKeyInfo up to the point: id-ecPublicKey, prime256v1; RFC 5480 section 2.
_BEFORE_POINT = (
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
    b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
)
_BIT_STRING = const(0x03)
_UTF8_STRING = const(0x0C)
_SEQUENCE = const(0x30)
_SET = const(0x31)


def make(key, subject: str) -> bytes:
    """The request in DER, signed by ``key``, whose public key it carries.

    ``key``: as `keyfob.pki.private_key` says, of kind "p256"; in a file or in a secure
    element. ``subject``: the common name, up to 64 characters (RFC 5280's
    ub-common-name): a device's id.
    """
    name = _element(_SEQUENCE, _COMMON_NAME, _element(_UTF8_STRING, subject.encode()))
    info = _element(
        _SEQUENCE,
        _VERSION,
        _element(_SEQUENCE, _element(_SET, name)),
        _BEFORE_POINT,
        key.public_key(),
        _NO_ATTRIBUTES,
    )
    signature = key.sign(_SCHEME, hashlib.sha256(info).digest())
    return _element(_SEQUENCE, info, _ECDSA_WITH_SHA256, _element(_BIT_STRING, b"\x00", signature))


def _element(tag: int, *parts: bytes) -> bytes:
    """One element of up to 65,535 bytes, its length in the shortest form."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82, size >> 8, size & 255)) + content
