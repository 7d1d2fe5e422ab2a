"""Read a SubjectPublicKeyInfo: RSA of 2048 to 4096 bits, P-256, P-384.

RFC 3279 section 2.3, RFC 5480. Whether a point is on its curve is not checked here but
wherever the key is used.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.der import Reader, oid_text

_NULL = const(0x05)
_SEQUENCE = const(0x30)
_OID = const(0x06)
_RSA_ENCRYPTION = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
_EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
_P256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
_P384 = b"\x2b\x81\x04\x00\x22"
_MIN_RSA_BITS = const(2048)
_MAX_RSA_BITS = const(4096)
_UNCOMPRESSED = const(4)


def read_public_key(spki: memoryview, who: str) -> tuple:
    """(kind, key): ("p256", 65 bytes), ("p384", 97 bytes), ("rsa", (modulus, exponent)).

    Points are uncompressed; the modulus is big-endian, without zeros in front. The key
    is a copy. ``who``: how evidence names the certificate.
    Errors: x509.malformed, x509.unsupported, x509.weak.
    """
    reader = Reader(spki)
    behind = reader.enter(_SEQUENCE)
    outer = reader.enter(_SEQUENCE)
    oid = reader.oid()
    if oid == _RSA_ENCRYPTION:
        reader.take(_NULL)
    elif oid == _EC_PUBLIC_KEY and reader.peek() == _OID:
        oid = reader.oid()
    else:
        raise KeyfobError("x509.unsupported", "%s: key of type %s" % (who, oid_text(oid)))
    reader.leave(outer)
    key = reader.bit_string()
    reader.leave(behind)
    if oid == _RSA_ENCRYPTION:
        return "rsa", _read_rsa(key, who)
    for kind, curve, size in (("p256", _P256, 65), ("p384", _P384, 97)):
        if oid == curve:
            if len(key) != size or key[0] != _UNCOMPRESSED:
                raise KeyfobError(
                    "x509.unsupported",
                    "%s: point of %d bytes, form %d; want %d, form 4"
                    % (who, len(key), key[0], size),
                )
            return kind, bytes(key)
    raise KeyfobError("x509.unsupported", "%s: key on curve %s" % (who, oid_text(oid)))


def _read_rsa(key: memoryview, who: str) -> tuple:
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
        raise KeyfobError("x509.weak", "%s: RSA key of %d bits, want 2048 or more" % (who, bits))
    if bits > _MAX_RSA_BITS or len(exponent) > 4:
        raise KeyfobError(
            "x509.unsupported",
            "%s: RSA key of %d bits, exponent of %d bytes; want at most 4096 and 4"
            % (who, bits, len(exponent)),
        )
    number = int.from_bytes(exponent, "big")
    if number < 3 or not number & modulus[-1] & 1:
        raise KeyfobError(
            "x509.weak",
            "%s: RSA exponent %d, modulus ends with %02x; want both odd and not 1"
            % (who, number, modulus[-1]),
        )
    return bytes(modulus), number
