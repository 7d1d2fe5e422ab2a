"""New keys of P-256, made on the board: FIPS 186-5 appendix A.2.2, by rejection sampling.

A key is tried before it leaves: what it signs must verify with its own public key, as
FIPS 140-3 wants it of a new pair (section 10.3.A of its implementation guidance). About
the time that remains see `keyfob.crypto.p256`, about what is seen of a broken generator
`keyfob.crypto.entropy`; that the generator has a source of noise (on the boards, that
the radio is on) is for the caller.
"""

from micropython import const

from keyfob.crypto import p256
from keyfob.crypto.entropy import random_bytes
from keyfob.errors import KeyfobError

_N = const(0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551)
# A good generator's draw is refused once in 2**32 times; three in a row are no chance.
_ATTEMPTS = const(3)
# RFC 5915 section 3: version 1 and the scalar; the curve's name; the public key.
_BEFORE_SECRET = b"\x30\x77\x02\x01\x01\x04\x20"
_BEFORE_POINT = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\xa1\x44\x03\x42\x00"


def make() -> bytes:
    """A new key: 121 bytes of DER, an ECPrivateKey with its public key (RFC 5915).

    The scalar is ``der[7:39]``, the point (65 bytes) ``der[56:]``; see
    `keyfob.pki.private_key_ec.own_key`. Errors: tls.no-randomness; tls.bad-key if it
    does not verify what it signs, which is the board's fault and no chance.
    """
    secret = _draw()
    point = p256.public_key(secret)
    digest = random_bytes(32)
    r, s = p256.sign(secret, digest)
    if not p256.verify(point, digest, r, s):
        raise KeyfobError("tls.bad-key", "a new key does not verify what it signed")
    return _BEFORE_SECRET + secret + _BEFORE_POINT + point


def _draw() -> bytes:
    """A scalar from 1 to n - 1, each as likely as any other."""
    for _ in range(_ATTEMPTS):
        number = int.from_bytes(random_bytes(32), "big")
        if number < _N - 1:
            return (number + 1).to_bytes(32, "big")
    raise KeyfobError("tls.no-randomness", "%d draws at or above P-256's order" % _ATTEMPTS)
