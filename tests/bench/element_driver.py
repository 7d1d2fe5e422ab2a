"""Stands in for a board's module ``keyfob_element``: an element that is files and Python.

Its arithmetic is its own, slow and plain, and shares nothing with Keyfob's; it follows the
bits of its keys and is for tests only. A driver for a chip has the same names.
"""

import os

from keyfob.pki.private_key_ec import encode_signature

slots = (0, 1)
_FOLDER = "/element"
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def key(slot):
    return Key(slot)


def make(slot):
    _write(str(slot), _random().to_bytes(32, "big"))
    return Key(slot)


def lock():
    _write("locked", b"1")


class Key:
    kind = "p256"

    def __init__(self, slot):
        self.slot = slot

    def public_key(self):
        secret = _read(str(self.slot))
        if not secret:
            return b""
        x, y = _times(int.from_bytes(secret, "big"))
        return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")

    def sign(self, scheme, digest):
        nonce = _random()
        r = _times(nonce)[0] % _N
        secret = int.from_bytes(_read(str(self.slot)), "big")
        s = _inverse(nonce, _N) * (int.from_bytes(digest, "big") + r * secret) % _N
        return encode_signature(r, s)

    def is_locked(self):
        return _read("locked") == b"1"


def _random():
    return int.from_bytes(os.urandom(32), "big") % (_N - 1) + 1


def _inverse(value, modulus):
    one, other, x, y = value % modulus, modulus, 1, 0
    while one != 1:
        factor = other // one
        one, other, x, y = other - factor * one, one, y - factor * x, x
    return x % modulus


def _add(one, other):
    """The sum of two points of the curve, neither of them infinity nor one the other's
    negative: SEC 1 section 2.2.1."""
    (x1, y1), (x2, y2) = one, other
    if one == other:
        slope = 3 * (x1 * x1 - 1) * _inverse(2 * y1, _P) % _P
    else:
        slope = (y2 - y1) * _inverse(x2 - x1, _P) % _P
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P


def _times(scalar):
    found, power = None, _G
    while scalar:
        if scalar & 1:
            found = _add(found, power) if found else power
        power = _add(power, power)
        scalar >>= 1
    return found


def _read(name):
    try:
        with open(_FOLDER + "/" + name, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _write(name, content):
    try:
        os.mkdir(_FOLDER)
    except OSError:
        pass
    with open(_FOLDER + "/" + name, "wb") as file:
        file.write(content)
