"""Private keys that stay in a PKCS#11 token, in the shape that cryptography's builders take.

Only signing is asked of the token: ECDSA, and RSA with PKCS#1 v1.5 padding. Whatever
would need the key itself is refused with ``pkcs11.key-stays``. The token's session must
stay open as long as its key is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.pkcs11_uri import TokenUri

_Self = TypeVar("_Self", bound="TokenKey")


class TokenKey:
    """What keys of both kinds have: ``uri`` says where the key is.

    ``sign_digest(digest, hash)``: the token's signature, raw r||s or PKCS#1 v1.5.
    """

    def __init__(
        self,
        uri: TokenUri,
        public: Any,
        sign_digest: Callable[[bytes, hashes.HashAlgorithm], bytes],
    ) -> None:
        self.uri = uri
        self._public = public
        self._sign_digest = sign_digest

    def public_key(self) -> Any:
        return self._public

    @property
    def key_size(self) -> int:
        return int(self._public.key_size)

    def private_numbers(self) -> NoReturn:
        raise self._stays()

    def private_bytes(
        self, encoding: object, format: object, encryption_algorithm: object
    ) -> NoReturn:
        raise self._stays()

    def __copy__(self: _Self) -> _Self:
        return self

    def __deepcopy__(self: _Self, memo: dict[Any, Any]) -> _Self:
        return self

    def _stays(self) -> KeyfobHostError:
        return KeyfobHostError(
            "pkcs11.key-stays",
            "this key is in a token, which does not give it away",
            evidence=str(self.uri),
            fix="use the token where the key is needed; only the certificate can be copied",
            status=ExitStatus.IDENTITY,
        )


class TokenEcKey(TokenKey, ec.EllipticCurvePrivateKey):
    """An EC key in a token."""

    @property
    def curve(self) -> ec.EllipticCurve:
        curve: ec.EllipticCurve = self._public.curve
        return curve

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """An ECDSA signature in DER (RFC 3279 section 2.2.3)."""
        digest, algorithm = _digest(data, signature_algorithm.algorithm)
        raw = self._sign_digest(digest, algorithm)
        half = len(raw) // 2
        return utils.encode_dss_signature(
            int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        )

    def exchange(self, algorithm: object, peer_public_key: object) -> NoReturn:
        raise self._stays()


class TokenRsaKey(TokenKey, rsa.RSAPrivateKey):
    """An RSA key in a token."""

    def sign(self, data: Any, padding: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        """A PKCS#1 v1.5 signature (RFC 8017 section 8.2)."""
        if padding.name != "EMSA-PKCS1-v1_5":
            raise KeyfobHostError(
                "pkcs11.unsupported",
                "keys in a token sign with PKCS#1 v1.5 padding only",
                evidence=f"asked for: {padding.name}",
                fix="make the CA's key a P-256 one: keyfob ca init --key-type p256 --pkcs11 URI",
                status=ExitStatus.IDENTITY,
            )
        digest, hash_algorithm = _digest(data, algorithm)
        return self._sign_digest(digest, hash_algorithm)

    def decrypt(self, ciphertext: object, padding: object) -> NoReturn:
        raise self._stays()


def _digest(
    data: Any, algorithm: utils.Prehashed | hashes.HashAlgorithm
) -> tuple[bytes, hashes.HashAlgorithm]:
    if isinstance(algorithm, utils.Prehashed):
        return bytes(data), algorithm._algorithm
    context = hashes.Hash(algorithm)
    context.update(data)
    return context.finalize(), algorithm
