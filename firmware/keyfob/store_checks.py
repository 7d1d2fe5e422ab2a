"""What the certificates of an identity say, judged before anything is sent.

The end-entity: version 3, no CA, key usage and extended key usage of a TLS client
(RFC 5280 sections 4.2.1.3 and 4.2.1.12; without the extension any usage is allowed), valid
now, its key that of ``key.der``. Intermediates: each has issued the one before, by name
(RFC 5246 section 7.4.2). Trust anchors: each a CA, one of them valid now.

A broker refuses most of that too, but in an alert of one byte, or with a closed
connection; here it has a name, and the other slot can be used instead. That a certificate
is a CA's some brokers would take: it is refused since who steals the board could issue
certificates. With a wrong clock a valid certificate is refused for its dates: the time is
asked for again before the next attempt.

Not checked: signatures, names, revocation, whether intermediates are valid and CAs, and an
EC key whose file has no public point: of these the broker tells.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.pki.reading import read

_DIGITAL_SIGNATURE = const(0x80)
_CLIENT_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x02"
_ANY_USAGE = b"\x55\x1d\x25\x00"
_PUBLIC_BYTES = const(64)
_LEAST_BYTES_WITH_PUBLIC = const(112)
# BIT STRING with an uncompressed point of P-256 or P-384, at the end of a key's file.
_POINTS = ((b"\x03\x42\x00\x04", 68), (b"\x03\x62\x00\x04", 100))
_EXPONENT = b"\x02\x03\x01\x00\x01"  # 65537, behind the modulus


def check(identity, now_s: int = 0) -> None:
    """Judge ``identity``, whose files are whole; puts its ``not_after_s``.

    ``now_s``: Unix seconds; 0: dates are not judged. Errors: x509.malformed, x509.not-v3,
    store.is-ca, store.wrong-usage, store.key-mismatch, store.bad-chain, store.bad-anchor,
    store.expired, store.not-yet-valid, store.anchor-expired.
    """
    own = _read(identity, "cert.der")
    _check_profile(own)
    _check_key(own, identity.read("key.der"))
    issuer_name = own.issuer_name
    for name in identity.names("cert")[1:]:
        fields = _read(identity, name)
        if fields.subject_name != issuer_name:
            from keyfob.pki.certificate import common_name

            texts = (name, common_name(fields.subject_name), common_name(issuer_name))
            raise KeyfobError("store.bad-chain", "%s: %r, want issuer %r" % texts)
        issuer_name = fields.issuer_name
    identity.not_after_s = own.not_after_s
    if now_s and not own.not_before_s <= now_s <= own.not_after_s:
        code = "store.expired" if now_s > own.not_after_s else "store.not-yet-valid"
        raise KeyfobError(code, "cert.der: " + _dates(own, now_s))
    del own, issuer_name
    _check_anchors(identity, now_s)


def _read(identity, name: str):
    try:
        return read(identity.read(name))
    except KeyfobError as error:
        if error.code == "x509.malformed":
            error = KeyfobError(error.code, "%s: %s" % (name, error.detail))
        raise error


def _check_profile(own) -> None:
    if own.version != 3:
        raise KeyfobError("x509.not-v3", "cert.der: version %d, want 3" % own.version)
    if own.is_ca:
        raise KeyfobError("store.is-ca", "cert.der: CA true, want false")
    if not own.key_usage & _DIGITAL_SIGNATURE:
        text = "cert.der: key usage %02x, want %02x" % (own.key_usage, _DIGITAL_SIGNATURE)
        raise KeyfobError("store.wrong-usage", text)
    usages = own.usages
    if usages is not None and _CLIENT_AUTH not in usages and _ANY_USAGE not in usages:
        from keyfob.pki.der import oid_text

        text = "cert.der: for %s, want TLS clients" % " ".join(map(oid_text, usages))
        raise KeyfobError("store.wrong-usage", text)


def _check_key(own, key: bytes) -> None:
    # A point, or the end of a modulus with its exponent: the key's file has the same bytes.
    # An EC key may come without them, and is shorter then.
    spki = bytes(own.spki)
    if len(key) >= _LEAST_BYTES_WITH_PUBLIC and spki[-_PUBLIC_BYTES:] not in key:
        texts = (_public_text(spki), _public_text(key))
        raise KeyfobError("store.key-mismatch", "cert.der has public key …%s, key.der …%s" % texts)


def _public_text(der: bytes) -> str:
    """The last bytes of the point or of the modulus in ``der``, and of nothing secret."""
    for start, size in _POINTS:
        if der[-size:].startswith(start):
            return _hex(der[-8:])
    at = der.find(_EXPONENT)
    return _hex(der[at - 8 : at]) if at >= 8 else "?"


def _hex(data: bytes) -> str:
    return "".join("%02x" % byte for byte in data)


def _check_anchors(identity, now_s: int) -> None:
    is_valid = not now_s
    dates = ""
    for name in identity.names("ca"):
        try:
            fields = _read(identity, name)
        except KeyfobError as error:
            if error.code == "x509.malformed":
                error = KeyfobError("store.bad-anchor", error.detail)
            raise error
        if not fields.is_ca:
            text = "%s: version %d, CA false; want 3 and true" % (name, fields.version)
            raise KeyfobError("store.bad-anchor", text)
        if fields.not_before_s <= now_s <= fields.not_after_s:
            is_valid = True
        elif not (is_valid or dates):
            dates = "%s: %s" % (name, _dates(fields, now_s))
    if not is_valid:
        raise KeyfobError("store.anchor-expired", dates)


def _dates(fields, now_s: int) -> str:
    from keyfob.pki.certificate import date_text

    dates = map(date_text, (fields.not_before_s, fields.not_after_s, now_s))
    return "valid from %s to %s, clock %s" % tuple(dates)
