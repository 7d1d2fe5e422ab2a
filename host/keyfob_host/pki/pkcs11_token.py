"""A token behind PKCS#11: its key found or made, and signed with, its refusals explained.

How it is found and opened says `pki.pkcs11_session`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from shlex import quote
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.pkcs11_key import TokenEcKey, TokenKey, TokenRsaKey
from keyfob_host.pki.pkcs11_session import failed, find_token, load_library, log_in, serial_of
from keyfob_host.pki.pkcs11_uri import TokenUri

AnyTokenKey = TokenEcKey | TokenRsaKey

_ID_BYTES = 16

# EC_PARAMS, a named curve's OID in DER (RFC 5480 section 2.1.1.1).
_CURVES: dict[bytes, ec.EllipticCurve] = {
    bytes.fromhex("06082a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("06052b81040022"): ec.SECP384R1(),
}
_P256 = next(iter(_CURVES))
# DigestInfo before the digest: RFC 8017 section 9.2, note 1.
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


class Token:
    """A token with its user logged in, and its key that ``uri`` names.

    Close it when its keys are needed no more; the end of the process does too.
    """

    def __init__(self, uri: TokenUri, pin: bytes | None, *, writable: bool = False) -> None:
        """``writable``: for `make_key`. Errors: ``pkcs11.library-missing``,
        ``pkcs11.module-missing``, ``pkcs11.token-missing``, ``pkcs11.several-tokens``,
        ``pkcs11.pin-needed``, ``pkcs11.pin-wrong``, ``pkcs11.pin-locked``, ``pkcs11.failed``.
        """
        self._pkcs11 = load_library()
        token = find_token(self._pkcs11, uri)
        # Label and serial number: another token of the same label is another CA's.
        self.uri = replace(uri, token=token.label, serial=serial_of(token))
        self._session = log_in(self._pkcs11, token, self.uri, pin, writable)

    def close(self) -> None:
        """End the session; keys made from it sign no more."""
        self._session.close()

    def find_key(self) -> AnyTokenKey:
        """The private key that the URI names.

        Errors: ``pkcs11.key-missing``, ``pkcs11.several-keys``,
        ``pkcs11.no-public-key``, ``cert.key-type-unknown``, ``pkcs11.failed``.
        """
        with self._explained("look for the key"):
            found = self._named(self._pkcs11.ObjectClass.PRIVATE_KEY)
            if len(found) == 1:
                return self._wrap(found[0])
            seen = sorted({repr(key.label) for key in self._objects({})}) or ["none"]
        if found:
            raise KeyfobHostError(
                "pkcs11.several-keys",
                "the token has more than one private key of that name",
                evidence=f"{self.uri}: ids {', '.join(key.id.hex() for key in found)}",
                fix="say which, with id=%xx%xx… in the URI",
                status=ExitStatus.IDENTITY,
            )
        raise KeyfobHostError(
            "pkcs11.key-missing",
            "the token has no private key of that name",
            evidence=f"{self.uri}; keys in it: {', '.join(seen)}",
            fix="name one of them, or make one in the token: keyfob ca init --pkcs11 …  "
            "# without --existing-key",
            status=ExitStatus.IDENTITY,
        )

    def make_key(self, key_type: str) -> AnyTokenKey:
        """A new key pair in the token, which does not give the private key away.

        Errors: ``pkcs11.key-exists``, ``pkcs11.failed``.
        """
        api, label = self._pkcs11, self.uri.object or "keyfob-ca"
        with self._explained("make a key"):
            if self._named(api.ObjectClass.PRIVATE_KEY):
                raise KeyfobHostError(
                    "pkcs11.key-exists",
                    "the token already has a key of that name, and it is not replaced",
                    evidence=str(self.uri),
                    fix="use it with --existing-key, or name another in the URI: object=ca-2",
                    status=ExitStatus.IDENTITY,
                )
            options: dict[str, Any] = {
                "store": True, "label": label, "id": self.uri.id or os.urandom(_ID_BYTES),
                "capabilities": api.MechanismFlag.SIGN | api.MechanismFlag.VERIFY,
                "private_template": {
                    api.Attribute.SENSITIVE: True, api.Attribute.EXTRACTABLE: False,
                },
            }  # fmt: skip
            if key_type == "p256":
                curve = {api.Attribute.EC_PARAMS: _P256}
                made = self._session.create_domain_parameters(api.KeyType.EC, curve, local=True)
                _, private = made.generate_keypair(**options)
            else:
                bits = int(key_type.removeprefix("rsa"))
                _, private = self._session.generate_keypair(api.KeyType.RSA, bits, **options)
            return self._wrap(private)

    def destroy_key(self, key: TokenKey) -> None:
        """Remove a key pair that `make_key` made and that nothing was signed with."""
        api = self._pkcs11
        with self._explained("remove the key"):
            for kind in (api.ObjectClass.PRIVATE_KEY, api.ObjectClass.PUBLIC_KEY):
                for found in self._objects({api.Attribute.ID: key.uri.id}, kind):
                    found.destroy()

    def is_extractable(self, key: TokenKey) -> bool:
        """Whether the token would give the private key away."""
        api = self._pkcs11
        with self._explained("look at the key"):
            (private,) = self._objects({api.Attribute.ID: key.uri.id})
            return bool(private[api.Attribute.EXTRACTABLE])

    def _named(self, kind: Any) -> list[Any]:
        """Objects of ``kind`` under the URI's object and id."""
        attribute = self._pkcs11.Attribute
        wanted: dict[Any, Any] = {}
        if self.uri.object:
            wanted[attribute.LABEL] = self.uri.object
        if self.uri.id:
            wanted[attribute.ID] = self.uri.id
        return self._objects(wanted, kind)

    def _objects(self, wanted: dict[Any, Any], kind: Any = None) -> list[Any]:
        kind = kind or self._pkcs11.ObjectClass.PRIVATE_KEY
        return list(self._session.get_objects({self._pkcs11.Attribute.CLASS: kind, **wanted}))

    def _wrap(self, private: Any) -> AnyTokenKey:
        """The private object with its public key, from the public object beside it."""
        api = self._pkcs11
        uri = replace(self.uri, object=private.label, id=private.id)
        same = {api.Attribute.ID: private.id} if private.id else {}
        same = same or {api.Attribute.LABEL: private.label}
        public = next(iter(self._objects(same, api.ObjectClass.PUBLIC_KEY)), None)
        if public is None:
            raise KeyfobHostError(
                "pkcs11.no-public-key",
                "the token has the private key without its public key, which must be known",
                evidence=str(uri),
                fix="write the public key beside it, with the same id: "
                f"pkcs11-tool --module {quote(uri.module_path)} --login --write-object PUBLIC.der "
                f"--type pubkey --id {uri.id.hex()}",
                status=ExitStatus.IDENTITY,
            )
        if private.key_type == api.KeyType.EC:
            curve = _CURVES.get(bytes(public[api.Attribute.EC_PARAMS]))
            if curve is not None:
                point = _point(bytes(public[api.Attribute.EC_POINT]), curve)
                return TokenEcKey(uri, point, self._ecdsa(private))
        if private.key_type == api.KeyType.RSA:
            numbers = [
                int.from_bytes(public[name], "big")
                for name in (api.Attribute.PUBLIC_EXPONENT, api.Attribute.MODULUS)
            ]
            return TokenRsaKey(
                uri, rsa.RSAPublicNumbers(*numbers).public_key(), self._pkcs1(private)
            )
        raise KeyfobHostError(
            "cert.key-type-unknown",
            "the key in the token is of a type that keyfob does not use",
            evidence=f"{uri}: {private.key_type}",
            fix="make one that boards take: keyfob ca init --key-type p256 --pkcs11 …",
            status=ExitStatus.IDENTITY,
        )

    def _ecdsa(self, private: Any) -> Any:
        def sign(digest: bytes, _: hashes.HashAlgorithm) -> bytes:
            with self._explained("sign"):
                return bytes(private.sign(digest, mechanism=self._pkcs11.Mechanism.ECDSA))

        return sign

    def _pkcs1(self, private: Any) -> Any:
        def sign(digest: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
            content = _DIGEST_INFO[algorithm.name] + digest
            with self._explained("sign"):
                return bytes(private.sign(content, mechanism=self._pkcs11.Mechanism.RSA_PKCS))

        return sign

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._pkcs11.PKCS11Error as error:
            raise failed(doing, error, self.uri) from None


def _point(encoded: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    """CKA_EC_POINT: an OCTET STRING in DER, from some makers the bare point."""
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded[-size:])
