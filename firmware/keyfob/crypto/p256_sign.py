"""ECDSA signatures with P-256: FIPS 186-5 section 6.4, nonces after RFC 6979.

Time: the base point's multiple is worked out as `keyfob.crypto.p256_base` says and the
nonce's inverse is taken under a random blind; RFC 6979's loop repeats for one nonce in
2**32. One product of the signing key with the public r is made for each signature.
"""

from micropython import const

from keyfob.crypto.entropy import random_bytes
from keyfob.crypto.hmac import hmac_sha256
from keyfob.crypto.modular import inverse
from keyfob.crypto.p256_base import times_base

_N = const(0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551)


def sign(secret: bytes, digest, noise=None) -> tuple:
    """(r, s) over a hash of 32 bytes or more, of which the first 32 count.

    ``secret``: 32 bytes, from 1 to n - 1. The nonce is RFC 6979's with ``noise`` as
    additional data (section 3.6), 32 random bytes by default: safe without good
    randomness, and not the same twice, which fault attacks need. With empty ``noise`` it
    is the RFC's deterministic one. Errors: tls.no-randomness.
    """
    key = int.from_bytes(secret, "big")
    message = int.from_bytes(digest[:32], "big") % _N
    if noise is None:
        noise = random_bytes(32)
    seed = bytes(secret) + message.to_bytes(32, "big") + noise
    value, chain = b"\x01" * 32, bytes(32)
    for byte in (b"\0", b"\1"):
        chain = hmac_sha256(chain, value, byte, seed)
        value = hmac_sha256(chain, value)
    while True:
        value = hmac_sha256(chain, value)
        nonce = int.from_bytes(value, "big")
        if 0 < nonce < _N:
            r = times_base(nonce)[0] % _N
            # The blind is there so that the inverse is not taken of the nonce.
            blind = int.from_bytes(random_bytes(32), "big") % (_N - 1) + 1
            s = inverse(nonce * blind % _N, _N) * ((message + r * key) * blind % _N) % _N
            if r and s:
                return r, s
        chain = hmac_sha256(chain, value, b"\0")
        value = hmac_sha256(chain, value)
