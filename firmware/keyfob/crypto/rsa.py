"""RSA public keys, and RSASSA-PKCS1-v1_5 verified. PSS is in `keyfob.crypto.rsa_pss`.

RFC 8017. Moduli of 2048 to 4096 bits, odd public exponents from 3 up to 32 bits, hashes
"sha256" and "sha384". Anything else, and whatever is no number below the modulus, is
refused before a power is taken. Not checked: that the modulus is a product of two primes.

Time: only public values come here, and it follows them.
"""

from micropython import const

from keyfob.crypto.modular import pow_mod

_MIN_BITS = const(2048)
_MAX_BYTES = const(512)
_MAX_EXPONENT = const(0xFFFF_FFFF)


def verify_pkcs1(modulus, exponent: int, hash_name: str, digest, signature) -> bool:
    """Whether ``signature`` is RSASSA-PKCS1-v1_5 over ``digest`` (section 8.2.2).

    ``modulus``: big-endian, with or without a leading zero byte. The encoding is made
    and compared as a whole, so that there is no padding to be read too kindly: neither
    bytes behind the hash nor an AlgorithmIdentifier without its NULL pass.
    """
    power = public_power(modulus, exponent, signature)
    if not power:
        return False
    encoded = encode_pkcs1(hash_name, digest, len(signature))
    return encoded is not None and power == int.from_bytes(encoded, "big")


def encode_pkcs1(hash_name: str, digest, size: int):
    """EMSA-PKCS1-v1_5 (section 9.2), ``size`` bytes; None if ``digest`` is no such hash."""
    info = b""
    if hash_name == "sha256" and len(digest) == 32:
        info = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
    elif hash_name == "sha384" and len(digest) == 48:
        info = b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
    padding = size - 3 - len(info) - len(digest)
    if not info or padding < 8:
        return None
    return b"\x00\x01" + b"\xff" * padding + b"\x00" + info + bytes(digest)


def public_power(modulus, exponent: int, signature) -> int:
    """RSAVP1 (section 5.2.2); 0 if key or signature are not such as the module takes.

    ``signature`` has exactly the modulus's length and is a number below it.
    """
    if len(modulus) > _MAX_BYTES + 1:
        return 0
    bits = modulus_bits(modulus)
    size = (bits + 7) >> 3
    if not _MIN_BITS <= bits <= _MAX_BYTES << 3 or len(signature) != size:
        return 0
    if not 3 <= exponent <= _MAX_EXPONENT or not exponent & 1:
        return 0
    number = int.from_bytes(modulus, "big")
    value = int.from_bytes(signature, "big")
    if not number & 1 or value >= number:
        return 0
    return pow_mod(value, exponent, number)


def modulus_bits(modulus) -> int:
    """The bits of a big-endian number, leading zeros not counted."""
    start = 0
    while start < len(modulus) and not modulus[start]:
        start += 1
    if start == len(modulus):
        return 0
    bits = (len(modulus) - start) << 3
    first = modulus[start]
    while first < 128:
        first <<= 1
        bits -= 1
    return bits
