"""A P-256 private key that was read. Apart from its reading, which takes more heap."""

from micropython import const

_INTEGER = const(0x02)
_SEQUENCE = const(0x30)


class EcKey:
    """A key of P-256 in memory; its interface is told in `keyfob.pki.private_key`."""

    kind = "p256"
    slot = None

    def __init__(self, secret: bytes, point: bytes = b"") -> None:
        """``point``: the public key, where it is known to belong to ``secret``."""
        self._secret = secret
        self._point = point

    def public_key(self) -> bytes:
        """65 bytes, uncompressed; worked out from the scalar if it was not given."""
        if not self._point:
            from keyfob.crypto import p256

            self._point = p256.public_key(self._secret)
        return self._point

    def is_locked(self) -> bool:
        """A file has no lock."""
        return False

    def sign(self, scheme: int, digest: bytes) -> bytes:
        """An Ecdsa-Sig-Value (RFC 3279 section 2.2.3) over a ``digest`` of 32 bytes or more."""
        from keyfob.crypto import p256

        r, s = p256.sign(self._secret, digest)
        return encode_signature(r, s)


def own_key(der: bytes) -> EcKey:
    """The key that `keyfob.crypto.p256_make.make` returned, without `private_key`, which
    would bring RSA to boards whose own TLS reads their keys."""
    return EcKey(der[7:39], der[56:])


def encode_signature(r: int, s: int) -> bytes:
    """The Ecdsa-Sig-Value of two positive numbers of at most 32 bytes; also for secure
    elements, which give r and s as they stand."""
    body = _encode(r) + _encode(s)
    return bytes((_SEQUENCE, len(body))) + body


def _encode(number: int) -> bytes:
    """The INTEGER of a positive number of at most 32 bytes."""
    content = number.to_bytes(33, "big")
    start = 0
    while not content[start] and content[start + 1] < 0x80:
        start += 1
    return bytes((_INTEGER, 33 - start)) + content[start:]
