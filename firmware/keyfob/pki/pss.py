"""Read the parameters of RSASSA-PSS: RFC 4055 section 3.1. Imported when met.

Taken are SHA-256 and SHA-384, the same hash in MGF1, and a salt as long as the hash:
what TLS 1.3 has, RFC 8446 section 4.2.3.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import who
from keyfob.pki.der import Reader, oid_text
from keyfob.pki.fields import Fields

_NULL = const(0x05)
_SEQUENCE = const(0x30)
_SHA1 = b"\x2b\x0e\x03\x02\x1a"
_SHA2 = b"\x60\x86\x48\x01\x65\x03\x04\x02"  # one byte more: 1 is SHA-256, 2 is SHA-384
_MGF1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"
_MAX_SALT = const(512)


def read_pss(reader: Reader, fields: Fields) -> int:
    """The SignatureScheme: 0x0804 or 0x0805. ``reader`` stands behind the algorithm's OID.

    Errors: x509.malformed, x509.unsupported, x509.weak (SHA-1, the default of each field).
    """
    name = mask_name = _SHA1
    mask, salt = _MGF1, 20
    outer = reader.enter(_SEQUENCE)
    if reader.peek() == 0xA0:
        behind = reader.enter(0xA0)
        name = _read_hash(reader)
        reader.leave(behind)
    if reader.peek() == 0xA1:
        behind = reader.enter(0xA1)
        inner = reader.enter(_SEQUENCE)
        mask = reader.oid()
        mask_name = _read_hash(reader) if mask == _MGF1 else b""
        reader.leave(inner)
        reader.leave(behind)
    if reader.peek() == 0xA2:
        behind = reader.enter(0xA2)
        salt = reader.small_integer(_MAX_SALT)
        reader.leave(behind)
    # The trailer field has one value only, the default, which DER leaves out.
    reader.leave(outer)
    if name == _SHA1 or mask_name == _SHA1:
        raise KeyfobError("x509.weak", who(fields) + ": PSS with SHA-1, want SHA-256 or SHA-384")
    is_known = name[:-1] == _SHA2 and name[-1] in (1, 2)
    if not is_known or mask_name != name or salt != (32 if name[-1] == 1 else 48):
        raise KeyfobError(
            "x509.unsupported",
            "%s: PSS with %s, mask %s %s, salt %d; want one of SHA-256, SHA-384 for all"
            % (who(fields), oid_text(name), oid_text(mask), oid_text(mask_name), salt),
        )
    return 0x0804 if name[-1] == 1 else 0x0805


def _read_hash(reader: Reader) -> bytes:
    outer = reader.enter(_SEQUENCE)
    name = reader.oid()
    if reader.peek() == _NULL:  # either way by RFC 4055 section 2.1
        behind = reader.enter(_NULL)
        reader.leave(behind)
    reader.leave(outer)
    return name
