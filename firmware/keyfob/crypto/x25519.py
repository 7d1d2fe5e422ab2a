"""X25519, RFC 7748, on MicroPython's integers.

A secret is any 32 random bytes. The prime is 2**255 - 19, so a product can be folded, its
upper part times 19 onto its lower, which takes half of the time of Python's ``%`` but
leaves a few bits too many; half of the products can do with that.

Time: Python's integers are not of constant time. The ladder takes the same steps for
every secret and picks by index where it would swap, and it begins with a random
projective coordinate, so that lengths and signs of what it multiplies say nothing that
repeats. What remains: the caches of a board that has some.
"""

from micropython import const

from keyfob.crypto.entropy import random_bytes
from keyfob.crypto.modular import inverse

_P = const(0x7FFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFED)
_LOW = const(0x7FFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF)


def public_key(secret: bytes) -> bytes:
    """The u coordinate of the base point's multiple, 32 bytes. Errors: tls.no-randomness."""
    return _ladder(secret, 9)


def shared_secret(secret: bytes, point):
    """The product with the peer's u coordinate, 32 bytes; None if ``point`` is of another
    length, or one of the few whose product is zero (RFC 7748 section 6.1).

    Errors: tls.no-randomness.
    """
    if len(point) != 32:
        return None
    product = _ladder(secret, int.from_bytes(point, "little") & _LOW)
    return product if product != bytes(32) else None


def _ladder(secret: bytes, u: int) -> bytes:
    """Section 5."""
    scalar = bytearray(secret)
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    x2, z2 = 1, 0
    # The point as one of its many pairs, at random.
    z3 = int.from_bytes(random_bytes(31), "big") + 1
    x3 = u * z3 % _P
    last = 0
    for at in range(254, -1, -1):
        bit = scalar[at >> 3] >> (at & 7) & 1
        x2, x3 = ((x2, x3), (x3, x2))[bit ^ last]
        z2, z3 = ((z2, z3), (z3, z2))[bit ^ last]
        last = bit
        x2, z2, x3, z3 = _step(u, x2, z2, x3, z3)
    # The scalar's lowest bit is 0, so nothing is to be swapped behind the last step.
    return (x2 * inverse(z2, _P) % _P).to_bytes(32, "little")


def _step(u: int, x2: int, z2: int, x3: int, z3: int) -> tuple:
    """One doubling and one addition whose difference has the coordinate ``u``."""
    low = _LOW
    a = x2 + z2
    b = x2 - z2
    da = (x3 - z3) * a
    da = (da & low) + (da >> 255) * 19
    cb = (x3 + z3) * b
    cb = (cb & low) + (cb >> 255) * 19
    aa = a * a
    aa = (aa & low) + (aa >> 255) * 19
    bb = b * b
    bb = (bb & low) + (bb >> 255) * 19
    e = aa - bb
    x2 = aa * bb
    z2 = e * (aa + 121665 * e)
    x3 = (da + cb) * (da + cb)
    z3 = (da - cb) * (da - cb)
    z3 = u * ((z3 & low) + (z3 >> 255) * 19)
    return x2 % _P, z2 % _P, x3 % _P, z3 % _P
