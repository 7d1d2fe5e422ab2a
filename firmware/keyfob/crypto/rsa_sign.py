"""RSA signatures made: PKCS #1 v1.5 and PSS. RFC 8017 sections 5.2.1, 8.1.1 and 8.2.1.

A key is ``(n, e, p, q, d_p, d_q, q_inverse)``, numbers as in PKCS #1's RSAPrivateKey
(n = p q, d_p = d modulo p - 1, q_inverse = 1/q modulo p). A signature is many times the
work of one with P-256.

Time: Python's integers are not of constant time. The message is blinded by a random
factor and both exponents by a random multiple of p - 1 and q - 1, so that what repeats
from signature to signature is not what is measured. What remains: one signature's own
sequence of windows (where two bits of a blinded exponent are 0, the product is with 1)
and the lengths of p, q and q_inverse.
"""

from keyfob.crypto.entropy import random_bytes
from keyfob.crypto.modular import inverse, pow_mod
from keyfob.crypto.rsa import encode_pkcs1
from keyfob.errors import KeyfobError


def sign_pkcs1(key: tuple, hash_name: str, digest) -> bytes:
    """RSASSA-PKCS1-v1_5 over ``digest``; "sha256" or "sha384". Errors: tls.bad-key,
    tls.no-randomness."""
    size = (_bits(key[0]) + 7) >> 3
    return _sign(key, int.from_bytes(encode_pkcs1(hash_name, digest, size), "big"), size)


def sign_pss(key: tuple, hash_name: str, digest) -> bytes:
    """RSASSA-PSS over ``digest`` with a salt as long. Errors: as of `sign_pkcs1`."""
    from keyfob.crypto.rsa_pss import encode

    bits = _bits(key[0])
    encoded = encode(bits, hash_name, digest, random_bytes(len(digest)))
    return _sign(key, encoded, (bits + 7) >> 3)


def _sign(key: tuple, message: int, size: int) -> bytes:
    n, e, p, q, d_p, d_q, q_inverse = key
    blind = int.from_bytes(random_bytes(size), "big") % n
    blinded = message * pow_mod(blind, e, n) % n
    of_p = _power(blinded % p, d_p + _random() * (p - 1), p)
    of_q = _power(blinded % q, d_q + _random() * (q - 1), q)
    signature = (of_q + (of_p - of_q) * q_inverse % p * q) * inverse(blind, n) % n
    # A signature that one of the primes has wrong gives the other away (Boneh, DeMillo
    # and Lipton, 1997), so it must not leave, whether the key is wrong or the memory.
    if pow_mod(signature, e, n) != message:
        raise KeyfobError("tls.bad-key", "RSA key of %d bytes contradicts itself" % size)
    return signature.to_bytes(size, "big")


def _power(base: int, exponent: int, modulus: int) -> int:
    """``base ** exponent % modulus``, two bits of the exponent at a time: three would take
    an eighth less time and 600 bytes more, which an ESP8266 has not."""
    # The sums have no room for the dividend, as the remainders do.
    square = base * base % modulus + 0
    powers = (1, base, square, square * base % modulus + 0)
    shift = (_bits(exponent) + 1) & ~1
    result = 1
    while shift:
        shift -= 2
        result = result * result % modulus
        result = result * result % modulus
        result = result * powers[exponent >> shift & 3] % modulus
    return result


def _random() -> int:
    return int.from_bytes(random_bytes(4), "big")


def _bits(number: int) -> int:
    bits = 0
    while number >> 32:
        number >>= 32
        bits += 32
    while number:
        number >>= 1
        bits += 1
    return bits
