"""RSAES-PKCS1-v1_5 encryption, for TLS 1.2's RSA key exchange. RFC 8017 section 7.2.1.

There is no decryption here, so nothing that could be asked whether a padding is right.
Time: Python's integers take a time that follows their lengths; the padded message is as
long as the modulus and, with its random padding, never twice the same.
"""

from keyfob.crypto.entropy import random_bytes
from keyfob.crypto.rsa import modulus_bits, public_power


def encrypt_pkcs1(modulus, exponent: int, message) -> bytes:
    """``message`` under a key as `keyfob.crypto.rsa` takes it, as long as its modulus.

    b"" if the key is none such or the message longer than the modulus less 11 bytes.
    Errors: tls.no-randomness.
    """
    size = (modulus_bits(modulus) + 7) >> 3
    count = size - 3 - len(message)
    if count < 8:
        return b""
    padding = b""
    while len(padding) < count:
        padding += random_bytes(32).replace(b"\x00", b"")
    block = b"\x00\x02" + padding[:count] + b"\x00" + bytes(message)
    power = public_power(modulus, exponent, block)
    return power.to_bytes(size, "big") if power else b""
