"""HMAC and the TLS 1.2 PRF, with SHA-256; comparison of secrets.

RFC 2104, RFC 5246 section 5. Keys, parts and seeds are bytes, bytearrays or
memoryviews of any length. The time taken tells the lengths, and nothing else that
Python shows: SHA-256 is the port's own C.
"""

import hashlib

from micropython import const

_BLOCK_BYTES = const(64)


def hmac_sha256(key, *parts) -> bytes:
    """HMAC-SHA256 of the parts, one behind the other; 32 bytes."""
    return _mac(_pads(key), parts)


def prf(secret, label: bytes, seed, size: int) -> bytes:
    """The PRF of TLS 1.2, RFC 5246 section 5: P_SHA256(secret, label + seed)."""
    pads = _pads(secret)
    out = b""
    chain = _mac(pads, (label, seed))
    while len(out) < size:
        out += _mac(pads, (chain, label, seed))
        chain = _mac(pads, (chain,))
    return out[:size]


def equal(one, other) -> bool:
    """Whether both are the same bytes, looked at to the end wherever they differ.

    Only the lengths decide the time; they are taken as public.
    """
    if len(one) != len(other):
        return False
    difference = 0
    for index in range(len(one)):
        difference |= one[index] ^ other[index]
    return not difference


def _pads(key) -> tuple:
    """The key as the inner and the outer hash take it: 64 bytes each."""
    if len(key) > _BLOCK_BYTES:
        key = hashlib.sha256(key).digest()
    number = int.from_bytes(bytes(key) + bytes(_BLOCK_BYTES - len(key)), "big")
    return (
        (number ^ int.from_bytes(b"\x36" * _BLOCK_BYTES, "big")).to_bytes(_BLOCK_BYTES, "big"),
        (number ^ int.from_bytes(b"\x5c" * _BLOCK_BYTES, "big")).to_bytes(_BLOCK_BYTES, "big"),
    )


def _mac(pads: tuple, parts) -> bytes:
    inner = hashlib.sha256(pads[0])
    for part in parts:
        inner.update(part)
    outer = hashlib.sha256(pads[1])
    outer.update(inner.digest())
    return outer.digest()
