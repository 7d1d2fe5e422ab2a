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
_B = const(0x5AC635D8_AA3A93E7_B3EBBD55_769886BC_651D06B0_CC53B0F6_3BCE3C3E_27D2604B)
# The base point G, 3 G, 5 G and 7 G: 32 bytes of x and of y each.
# fmt: off
_BASE = (
    b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
    b"\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
    b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
    b"\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5"
    b"\x5e\xcb\xe4\xd1\xa6\x33\x0a\x44\xc8\xf7\xef\x95\x1d\x4b\xf1\x65"
    b"\xe6\xc6\xb7\x21\xef\xad\xa9\x85\xfb\x41\x66\x1b\xc6\xe7\xfd\x6c"
    b"\x87\x34\x64\x0c\x49\x98\xff\x7e\x37\x4b\x06\xce\x1a\x64\xa2\xec"
    b"\xd8\x2a\xb0\x36\x38\x4f\xb8\x3d\x9a\x79\xb1\x27\xa2\x7d\x50\x32"
    b"\x51\x59\x0b\x7a\x51\x51\x40\xd2\xd7\x84\xc8\x56\x08\x66\x8f\xdf"
    b"\xef\x8c\x82\xfd\x1f\x5b\xe5\x24\x21\x55\x4a\x0d\xc3\xd0\x33\xed"
    b"\xe0\xc1\x7d\xa8\x90\x4a\x72\x7d\x8a\xe1\xbf\x36\xbf\x8a\x79\x26"
    b"\x0d\x01\x2f\x00\xd4\xd8\x08\x88\xd1\xd0\xbb\x44\xfd\xa1\x6d\xa4"
    b"\x8e\x53\x3b\x6f\xa0\xbf\x7b\x46\x25\xbb\x30\x66\x7c\x01\xfb\x60"
    b"\x7e\xf9\xf8\xb8\xa8\x0f\xef\x5b\x30\x06\x28\x70\x31\x87\xb2\xa3"
    b"\x73\xeb\x1d\xbd\xe0\x33\x18\x36\x6d\x06\x9f\x83\xa6\xf5\x90\x00"
    b"\x53\xc7\x36\x33\xcb\x04\x1b\x21\xc5\x5e\x1a\x86\xc1\xf4\x00\xb4"
)
# fmt: on
_CURVE = (_P, _N, _B, _BASE, 32)


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
    multiples = bytearray(512)
    place = weierstrass.read_point(_CURVE, point)
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
            x, y, z = randomized(x2, y2)
    shorter = inverse(z, _P)
    return (x * (shorter * shorter % _P) % _P).to_bytes(32, "big")


def sign(secret: bytes, digest, noise=None) -> tuple:
    """(r, s); see `keyfob.crypto.p256_sign`, which is loaded for it."""
    from keyfob.crypto import p256_sign

    return p256_sign.sign(secret, digest, noise)


def verify(point, digest, r: int, s: int) -> bool:
    """Whether (r, s) is ``point``'s signature over a hash, of which the first 32 bytes
    count. High s is as good as low s, as in X.509 and TLS."""
    return weierstrass.verify(_CURVE, point, digest, r, s)


def randomized(x: int, y: int) -> tuple:
    """The affine point in Jacobian coordinates with a random Z."""
    from keyfob.crypto.entropy import random_bytes

    z = int.from_bytes(random_bytes(32), "big") % (_P - 1) + 1
    zz = z * z % _P
    return x * zz % _P, y * (zz * z % _P) % _P, z
