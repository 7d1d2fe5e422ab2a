"""Algorithms of a certificate: its key, and what it is signed with.

Keys (RFC 3279 section 2.3, RFC 5480): RSA of 2048 to 4096 bits, P-256, P-384. Signatures
(RFC 4055, RFC 5758): RSA PKCS#1 v1.5 and PSS, ECDSA, each with SHA-256 or SHA-384.
Whether a point is on its curve is not checked here but wherever the key is used.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.der import Reader, oid_text
from keyfob.pki.fields import Fields

_NULL = const(0x05)
_OID = const(0x06)
_SEQUENCE = const(0x30)
_PKCS1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01"
_RSA_ENCRYPTION = const(1)
_MD2 = const(2)
_SHA1 = const(5)
_PSS = const(10)
_RSA_SHA256 = const(11)
_RSA_SHA384 = const(12)
_ECDSA = b"\x2a\x86\x48\xce\x3d\x04"
_EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
_P256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
_P384 = b"\x2b\x81\x04\x00\x22"
_MIN_RSA_BITS = const(2048)
_MAX_RSA_BITS = const(4096)
_UNCOMPRESSED = const(4)


def read_public_key(fields: Fields) -> tuple:
    """(kind, key): ("p256", 65 bytes), ("p384", 97 bytes), ("rsa", (modulus, exponent)).

    Points are uncompressed; the modulus is big-endian, without zeros in front. The key
    is a copy. Errors: x509.malformed, x509.unsupported, x509.weak.
    """
    reader = Reader(fields.spki)
    behind = reader.enter(_SEQUENCE)
    outer = reader.enter(_SEQUENCE)
    oid = reader.oid()
    is_rsa = oid[:-1] == _PKCS1 and oid[-1] == _RSA_ENCRYPTION
    if is_rsa:
        reader.leave(reader.enter(_NULL))
    elif oid == _EC_PUBLIC_KEY and reader.peek() == _OID:
        oid = reader.oid()
    else:
        _refuse("x509.unsupported", fields, "key of type " + oid_text(oid))
    reader.leave(outer)
    key = reader.bit_string()
    reader.leave(behind)
    if is_rsa:
        return "rsa", _read_rsa(key, fields)
    if oid not in (_P256, _P384):
        _refuse("x509.unsupported", fields, "key on curve " + oid_text(oid))
    size = 65 if oid == _P256 else 97
    if len(key) != size or key[0] != _UNCOMPRESSED:
        seen = (len(key), key[0], size)
        _refuse("x509.unsupported", fields, "point of %d bytes, form %d; want %d, form 4" % seen)
    return "p256" if oid == _P256 else "p384", bytes(key)


def _read_rsa(key: memoryview, fields: Fields) -> tuple:
    reader = Reader(key)
    outer = reader.enter(_SEQUENCE)
    modulus = reader.integer()
    exponent = reader.integer()
    reader.leave(outer)
    reader.finish()
    bits = len(modulus) * 8
    top = modulus[0]
    while bits > 0 and not top & 0x80:
        bits -= 1
        top = top << 1 | 1
    if bits < _MIN_RSA_BITS:
        _refuse("x509.weak", fields, "RSA key of %d bits, want 2048 or more" % bits)
    if bits > _MAX_RSA_BITS or len(exponent) > 4:
        seen = (bits, len(exponent))
        text = "RSA key of %d bits, exponent of %d bytes; want at most 4096 and 4" % seen
        _refuse("x509.unsupported", fields, text)
    number = int.from_bytes(exponent, "big")
    if number < 3 or not number & modulus[-1] & 1:
        text = "RSA exponent %d, modulus ends with %02x; want both odd, and 3 or more"
        _refuse("x509.weak", fields, text % (number, modulus[-1]))
    return bytes(modulus), number


def scheme_of(fields: Fields) -> int:
    """The SignatureScheme (RFC 8446 section 4.2.3) of the certificate's signature.

    Errors: x509.malformed, x509.unsupported, x509.weak.
    """
    reader = Reader(fields.algorithm)
    reader.enter(_SEQUENCE)
    oid = reader.oid()
    scheme, last = 0, oid[-1]
    is_weak = oid[:-1] == _ECDSA and last == 1
    if oid[:-1] == _PKCS1:
        if last == _PSS:
            from keyfob.pki.pss import read_pss

            scheme = read_pss(reader, fields)
        elif last in (_RSA_SHA256, _RSA_SHA384):
            scheme = 0x0401 if last == _RSA_SHA256 else 0x0501
            if reader.peek() == _NULL:  # either way by RFC 4055 section 5
                outer = reader.enter(_NULL)
                reader.leave(outer)
        is_weak = _MD2 <= last <= _SHA1
    elif oid[:-2] == _ECDSA and oid[-2] == 3 and last in (2, 3):
        scheme = 0x0403 if last == 2 else 0x0503
    if not scheme:
        text = "signature %s, want RSA or ECDSA with SHA-256 or SHA-384" % oid_text(oid)
        _refuse("x509.weak" if is_weak else "x509.unsupported", fields, text)
    reader.finish()
    return scheme


def _refuse(code: str, fields: Fields, text: str) -> None:
    from keyfob.pki.certificate import who

    raise KeyfobError(code, who(fields) + ": " + text)
