"""An RSA private key: PKCS#1's RSAPrivateKey, RFC 8017 appendix A.1.2. Loaded when met."""

from micropython import const

from keyfob.pki.der import Reader

_WITH_SHA384 = const((0x0501, 0x0805))


def read_rsa_key(reader: Reader):
    """The key whose ``version`` was read. Errors: x509.malformed."""
    numbers = [int.from_bytes(reader.integer(), "big") for _ in range(8)]
    n, e, d, p, q, d_p, d_q, q_inverse = numbers
    is_sized = n == p * q and n >> 2047 and not n >> 4096 and p > 1 and q > 1
    if not is_sized or d_p != d % (p - 1) or d_q != d % (q - 1):
        reader.fail("RSA key whose numbers do not fit together, or not of 2048 to 4096 bits")
    return RsaKey((n, e, p, q, d_p, d_q, q_inverse))


class RsaKey:
    """A key of 2048 to 4096 bits; its interface is told in `keyfob.pki.private_key`."""

    kind = "rsa"
    slot = None

    def __init__(self, numbers: tuple) -> None:
        """``numbers``: as `keyfob.crypto.rsa_sign` takes them."""
        self._numbers = numbers

    def public_key(self) -> tuple:
        """(modulus, public exponent)."""
        return self._numbers[:2]

    def is_locked(self) -> bool:
        """A file has no lock."""
        return False

    def sign(self, scheme: int, digest: bytes) -> bytes:
        """PKCS#1 v1.5 (schemes 0x0401, 0x0501) or PSS (0x0804, 0x0805) over ``digest``."""
        from keyfob.crypto import rsa_sign

        sign = rsa_sign.sign_pss if scheme >> 8 == 8 else rsa_sign.sign_pkcs1
        name = "sha384" if scheme in _WITH_SHA384 else "sha256"
        return sign(self._numbers, name, digest)
