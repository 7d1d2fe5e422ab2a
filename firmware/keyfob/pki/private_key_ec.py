"""A P-256 private key that was read. Apart from its reading, which takes more heap."""

from micropython import const

_INTEGER = const(0x02)
_SEQUENCE = const(0x30)


class EcKey:
    """A key of P-256."""

    kind = "p256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, scheme: int, digest: bytes) -> bytes:
        """An Ecdsa-Sig-Value (RFC 3279 section 2.2.3) over a ``digest`` of 32 bytes or more."""
        from keyfob.crypto import p256

        r, s = p256.sign(self._secret, digest)
        body = _encode(r) + _encode(s)
        return bytes((_SEQUENCE, len(body))) + body


def _encode(number: int) -> bytes:
    """The INTEGER of a positive number of at most 32 bytes."""
    content = number.to_bytes(33, "big")
    start = 0
    while not content[start] and content[start + 1] < 0x80:
        start += 1
    return bytes((_INTEGER, 33 - start)) + content[start:]
