"""P-256: ECDSA and ECDH on MicroPython's integers.

FIPS 186-5, SP 800-56A, SEC 1. Points are 65 bytes, uncompressed; each one from outside
is checked to be on the curve, which has cofactor 1. What needs multiples of the base
point, signing and randomness is loaded when it is first called: `verify` does not.

Time: Python's integers are not of constant time. What works on a secret (`public_key`,
`shared_secret`, `sign`) takes the same sequence of operations for every secret, one
addition for each window, without zero digits or branches, and begins with random
projective coordinates, so that the lengths of what it multiplies say nothing that
repeats. What remains: which table entry is read (caches, where a board has one), the
length of the secret scalar itself where its highest 16 bits are zero, and one product
of the signing key with a public number for each signature. `verify` is for public
values and follows them.
"""

from micropython import const

from keyfob.crypto import weierstrass
from keyfob.crypto.modular import inverse

_P = const(0xFFFFFFFF_00000001_00000000_00000000_00000000_FFFFFFFF_FFFFFFFF_FFFFFFFF)
_N = const(0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551)


def new_secret() -> bytes:
    """A secret scalar, 32 bytes (FIPS 186-5 A.2.1). Errors: tls.no-randomness."""
    from keyfob.crypto.entropy import random_bytes

    return (int.from_bytes(random_bytes(40), "big") % (_N - 1) + 1).to_bytes(32, "big")


def public_key(secret: bytes) -> bytes:
    """The point of a secret scalar from 1 to n - 1."""
    from keyfob.crypto.p256_base import times_base

    x, y = times_base(int.from_bytes(secret, "big"))
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def shared_secret(secret: bytes, point):
    """The x coordinate of the product, 32 bytes; None if ``point`` is no point of the
    curve or ``secret`` not from 1 to n - 1."""
    from keyfob.crypto.p256_curve import CURVE

    multiples = bytearray(512)
    place = weierstrass.read_point(CURVE, point)
    scalar = int.from_bytes(secret, "big")
    if not place or not 0 < scalar < _N:
        return None
    # The negative scalar has the same x, and one of both is odd. An odd number is a sum
    # of all powers of two, each added or subtracted; four of them are an odd digit.
    scalar = (_N - scalar, scalar)[scalar & 1]
    digits = ((scalar + (1 << 256) - 1) >> 1).to_bytes(32, "big")
    weierstrass.put_odd_multiples(_P, place[0], place[1], multiples, 32)
    x = y = z = 0
    for index in range(64):
        digit = digits[index >> 1] >> (4 if index & 1 == 0 else 0) & 15
        at = (7 - digit, digit - 8)[digit >> 3] << 6
        x2 = int.from_bytes(multiples[at : at + 32], "big")
        y2 = int.from_bytes(multiples[at + 32 : at + 64], "big")
        y2 = (_P - y2, y2)[digit >> 3]
        if index:
            for _ in range(4):
                x, y, z = weierstrass.double(_P, x, y, z)
            x, y, z = weierstrass.add(_P, x, y, z, x2, y2)
        else:
            x, y, z = weierstrass.randomized(_P, x2, y2)
    shorter = inverse(z, _P)
    return (x * (shorter * shorter % _P) % _P).to_bytes(32, "big")


def sign(secret: bytes, digest, noise=None) -> tuple:
    """(r, s); see `keyfob.crypto.p256_sign`, which is loaded for it."""
    from keyfob.crypto import p256_sign

    return p256_sign.sign(secret, digest, noise)


def verify(point, digest, r: int, s: int) -> bool:
    """See `keyfob.crypto.p256_curve`."""
    from keyfob.crypto import p256_curve

    return p256_curve.verify(point, digest, r, s)
