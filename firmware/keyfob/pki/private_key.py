"""The board's private key: PKCS#8 (RFC 5208), SEC 1 (RFC 5915) or PKCS#1 (RFC 8017), DER.

A key is an object with

- ``kind``: "p256" or "rsa";
- ``slot``: its number in a secure element, None of a key in a file;
- ``public_key()``: of P-256 the point, 65 bytes, uncompressed; of RSA (modulus, exponent);
- ``sign(scheme, digest)``: the signature as TLS sends it; ``scheme`` is a SignatureScheme
  for that kind (RFC 8446 section 4.2.3);
- ``is_locked()``: whether the element can no longer be made to give the key away.

In the place of a key's file a slot's number may stand, as an INTEGER in DER. The key is
then what the board's own module ``keyfob_element`` returns for it: ``key(slot)``, of kind
"p256" (`keyfob.pki.private_key_ec.encode_signature` turns r and s into what TLS sends).

Not checked: that the key belongs to the board's certificate (`keyfob.store` looks, and
the broker tells: alert decrypt_error). Nothing of a key goes into an error.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.der import Reader, oid_text

_INTEGER = const(0x02)
_OCTET_STRING = const(0x04)
_NULL = const(0x05)
_SEQUENCE = const(0x30)
_PARAMETERS = const(0xA0)
_PUBLIC_KEY = const(0xA1)
_ATTRIBUTES = const(0xA0)
_MAX_SLOT = const(127)
_RSA_ENCRYPTION = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
_EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
_P256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
_ORDER = (
    b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"
    b"\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51"
)


def load(der):
    """The key in ``der`` (any buffer), which is not kept. Errors: tls.bad-key,
    store.no-element."""
    reader = Reader(der)
    try:
        if reader.peek() != _INTEGER:
            return _load(reader)
        slot = reader.small_integer(_MAX_SLOT)
        reader.finish()
    except KeyfobError as error:
        raise KeyfobError("tls.bad-key", error.detail)
    try:
        # The board's own: no stock image has it.
        return __import__("keyfob_element").key(slot)
    except ImportError as error:
        raise KeyfobError("store.no-element", "slot %d: %s" % (slot, error))


def _load(reader: Reader):
    outer = reader.enter(_SEQUENCE)
    version = reader.small_integer(1)
    kind = reader.peek()
    if kind == _SEQUENCE:
        key = _load_pkcs8(reader)
        if reader.peek() == _ATTRIBUTES:
            reader.skip()
    elif kind == _OCTET_STRING:
        key = _load_sec1(reader, version, b"")
    else:
        key = _load_pkcs1(reader, version)
    reader.leave(outer)
    reader.finish()
    return key


def _load_pkcs8(reader: Reader):
    algorithm = reader.enter(_SEQUENCE)
    oid = reader.oid()
    curve = b""
    if oid == _RSA_ENCRYPTION:
        reader.leave(reader.enter(_NULL))
    elif oid == _EC_PUBLIC_KEY:
        curve = reader.oid()
    else:
        reader.fail("key of type %s, want RSA or P-256" % oid_text(oid))
    reader.leave(algorithm)
    inner = Reader(reader.take(_OCTET_STRING))
    outer = inner.enter(_SEQUENCE)
    version = inner.small_integer(1)
    key = _load_sec1(inner, version, curve) if curve else _load_pkcs1(inner, version)
    inner.leave(outer)
    inner.finish()
    return key


def _load_sec1(reader: Reader, version: int, curve: bytes):
    """``curve``: as PKCS#8 says, which takes the place of the parameters here."""
    secret = reader.take(_OCTET_STRING)
    if reader.peek() == _PARAMETERS:
        outer = reader.enter(_PARAMETERS)
        parameters = reader.oid()
        if curve and parameters != curve:
            reader.fail("curve %s inside, %s outside" % (oid_text(parameters), oid_text(curve)))
        curve = parameters
        reader.leave(outer)
    if reader.peek() == _PUBLIC_KEY:
        reader.skip()
    if version != 1 or curve != _P256 or len(secret) != 32:
        what = (version, len(secret), oid_text(curve))
        reader.fail("EC key of version %d, %d bytes, curve %s; want 1, 32, P-256" % what)
    key = bytes(secret)
    if not bytes(32) < key < _ORDER:
        reader.fail("EC key is no scalar of P-256")
    from keyfob.pki.private_key_ec import EcKey

    return EcKey(key)


def _load_pkcs1(reader: Reader, version: int):
    from keyfob.pki.private_key_rsa import read_rsa_key

    if version:
        reader.fail("RSA key of version %d, want 0" % version)
    return read_rsa_key(reader)
