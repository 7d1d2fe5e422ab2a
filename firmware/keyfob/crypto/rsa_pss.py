"""RSASSA-PSS verified, and its encoding. RFC 8017 sections 8.1.2, 9.1 and B.2.1.

Hash and mask function have the same hash, "sha256" or "sha384", as TLS and the public
certificate authorities have it. Everything here is public but the salt of a signature in
the making, which soon is.
"""

import hashlib

from keyfob.crypto.rsa import modulus_bits, public_power


def verify_pss(
    modulus, exponent: int, hash_name: str, digest, signature, salt_bytes: int = -1
) -> bool:
    """Whether ``signature`` is RSASSA-PSS over ``digest``, under a key as
    `keyfob.crypto.rsa` takes it.

    ``salt_bytes``: what the salt's length has to be; by default the hash's, as in TLS.
    """
    power = public_power(modulus, exponent, signature)
    return power > 0 and _fits(power, modulus_bits(modulus), hash_name, digest, salt_bytes)


def encode(bits: int, hash_name: str, digest, salt):
    """EMSA-PSS-ENCODE, as a number below a modulus of ``bits``; None if it cannot be."""
    hash_bytes = _size(hash_name)
    size = (bits + 6) >> 3
    zeros = size - hash_bytes - len(salt) - 2
    if len(digest) != hash_bytes or not hash_bytes or zeros < 0:
        return None
    seal = _hash(hash_name, bytes(8), digest, salt)
    block = _masked(bytes(zeros) + b"\x01" + salt, seal, hash_name, bits)
    return int.from_bytes(block + seal + b"\xbc", "big")


def _fits(power: int, bits: int, hash_name: str, digest, salt_bytes: int) -> bool:
    """EMSA-PSS-VERIFY: whether ``power``, below a modulus of ``bits``, encodes ``digest``."""
    hash_bytes = _size(hash_name)
    if salt_bytes < 0:
        salt_bytes = hash_bytes
    size = (bits + 6) >> 3  # of one bit less than the modulus has
    if len(digest) != hash_bytes or not hash_bytes or size < hash_bytes + salt_bytes + 2:
        return False
    if power >> (bits - 1):
        return False
    encoded = power.to_bytes(size, "big")
    masked = size - hash_bytes - 1
    seal = encoded[masked : size - 1]
    if encoded[size - 1] != 0xBC:
        return False
    block = _masked(encoded[:masked], seal, hash_name, bits)
    zeros = masked - salt_bytes - 1
    if block[zeros] != 1 or int.from_bytes(block[:zeros], "big"):
        return False
    return _hash(hash_name, bytes(8), digest, block[zeros + 1 :]) == seal


def _masked(block: bytes, seal: bytes, hash_name: str, bits: int) -> bytes:
    """``block`` xor MGF1 of ``seal``, without the bits that the modulus has no room for."""
    size = len(block)
    mask = b""
    while len(mask) < size:
        mask += _hash(hash_name, seal, (len(mask) // len(seal)).to_bytes(4, "big"), b"")
    mixed = int.from_bytes(block, "big") ^ int.from_bytes(mask[:size], "big")
    return (mixed & (1 << ((bits - 1) - ((len(seal) + 1) << 3))) - 1).to_bytes(size, "big")


def _size(hash_name: str) -> int:
    return 32 if hash_name == "sha256" else 48 if hash_name == "sha384" else 0


def _hash(hash_name: str, *parts) -> bytes:
    if hash_name == "sha256":
        return hashlib.sha256(b"".join(parts)).digest()
    from keyfob.crypto.sha384 import sha384

    return sha384(b"".join(parts)).digest()
