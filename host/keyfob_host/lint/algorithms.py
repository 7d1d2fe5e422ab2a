"""Public keys and signatures of certificates: what they are, and whether they fit.

RFC 3279, 4055, 5480, 5758, 8410. What a key or signature is comes from the DER; whether a
signature is right is asked of `cryptography`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from keyfob_host.lint.der import NULL, SEQUENCE, Element, MalformedError, Walk

_CURVES = {
    "1.2.840.10045.3.1.7": ("p256", 65), "1.3.132.0.34": ("p384", 97),
    "1.3.132.0.35": ("p521", 133), "1.3.132.0.33": ("p224", 57),
    "1.2.840.10045.3.1.1": ("p192", 49), "1.3.132.0.10": ("secp256k1", 65),
}  # fmt: skip
_OTHER_KEYS = {"1.3.101.112": "ed25519", "1.3.101.113": "ed448", "1.2.840.10040.4.1": "dsa"}
_RSA_KEY, _EC_KEY = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1"
PSS = "1.2.840.113549.1.1.10"
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),  # noqa: S303 - certificates that have it are to be told
    "sha1": hashes.SHA1(),  # noqa: S303
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
SIGNATURES = {
    "1.2.840.113549.1.1.2": ("rsa", "md2"), "1.2.840.113549.1.1.4": ("rsa", "md5"),
    "1.2.840.113549.1.1.5": ("rsa", "sha1"), "1.2.840.113549.1.1.14": ("rsa", "sha224"),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"), "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"), PSS: ("rsa-pss", ""),
    "1.2.840.10045.4.1": ("ecdsa", "sha1"), "1.2.840.10045.4.3.1": ("ecdsa", "sha224"),
    "1.2.840.10045.4.3.2": ("ecdsa", "sha256"), "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa", "sha512"), "1.3.101.112": ("ed25519", ""),
    "1.3.101.113": ("ed448", ""),
}  # fmt: skip
WEAK_HASHES = ("md2", "md5", "sha1")


@dataclass(frozen=True)
class PublicKey:
    """``name``: ``rsa2048``, ``p256``, ``ed25519`` …, or an OID. ``bits``, ``exponent``: of
    RSA. ``wrong``: what no verifier on a board takes in its encoding, "" if nothing."""

    name: str
    bits: int = 0
    exponent: int = 0
    is_odd: bool = True
    wrong: str = ""

    @property
    def is_rsa(self) -> bool:
        return bool(self.bits)


def read_public_key(walk: Walk, element: Element) -> PublicKey:
    """A SubjectPublicKeyInfo. Errors: `MalformedError`."""
    parts = walk.children(walk.expect(element, SEQUENCE))
    if len(parts) != 2:
        raise MalformedError(element.start, f"a public key of {len(parts)} parts, want 2")
    algorithm = walk.children(walk.expect(parts[0], SEQUENCE))
    oid = walk.oid(algorithm[0]) if algorithm else "?"
    key = walk.bits(parts[1])
    if oid == _RSA_KEY:
        if [one.tag for one in algorithm[1:]] != [NULL]:
            walk.note(parts[0].start, "an RSA key's algorithm without NULL (RFC 3279)")
        return _rsa(walk, parts[1])
    if oid == _EC_KEY and len(algorithm) == 2:
        if algorithm[1].tag == SEQUENCE:
            return PublicKey("ec", wrong="a curve given by its numbers, want one by name")
        curve = walk.oid(algorithm[1])
        name, size = _CURVES.get(curve, (curve, 0))
        wrong = ""
        if size and (len(key) != size or key[0] != 4):
            wrong = f"a point of {len(key)} bytes, form {key[:1].hex()}; want {size}, form 04"
        return PublicKey(name, wrong=wrong)
    return PublicKey(_OTHER_KEYS.get(oid, oid))


def _rsa(walk: Walk, bit_string: Element) -> PublicKey:
    inner = walk.expect(walk.element(bit_string.at + 1, bit_string.end), SEQUENCE)
    parts = walk.children(inner)
    if len(parts) != 2 or inner.end != bit_string.end:
        raise MalformedError(inner.start, "an RSA key, want modulus and exponent")
    modulus, exponent = map(walk.integer, parts)
    if modulus <= 0 or exponent <= 0:
        raise MalformedError(inner.start, "an RSA key with a number below 1")
    return PublicKey(
        f"rsa{modulus.bit_length()}", modulus.bit_length(), exponent, bool(modulus & 1)
    )  # fmt: skip


def signature_name(oid: str) -> str:
    """``ecdsa with sha256``, or the OID."""
    kind, digest = SIGNATURES.get(oid, (oid, ""))
    return f"{kind} with {digest}" if digest else kind


def pss_parameters(der: bytes) -> str | None:
    """``sha256, mask sha256, salt 32`` of a certificate signed so; None if they are unknown."""
    try:
        found = x509.load_der_x509_certificate(der).signature_algorithm_parameters
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None
    if not isinstance(found, padding.PSS):
        return None
    # The hash of the mask is the certificate's own, or the library would have refused it.
    mask = found.mgf._algorithm.name
    digest = x509.load_der_x509_certificate(der).signature_hash_algorithm
    return f"{digest.name if digest else '?'}, mask {mask}, salt {found._salt_length}"


def is_signed(der: bytes, tbs: bytes, oid: str, signature: bytes, spki: bytes) -> bool | None:
    """Whether ``signature`` over ``tbs`` is the key's; None where that cannot be told."""
    try:
        key = serialization.load_der_public_key(spki)
        kind, digest = SIGNATURES.get(oid, ("", ""))
        if oid == PSS:
            return _is_signed_pss(der, tbs, signature, key)
        if kind == "rsa" and isinstance(key, rsa.RSAPublicKey) and digest in _HASHES:
            key.verify(signature, tbs, padding.PKCS1v15(), _HASHES[digest])
        elif kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, tbs, ec.ECDSA(_HASHES[digest]))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, tbs)
        elif kind and digest in _HASHES:
            return False  # signed by another kind of key
        else:
            return None
    except InvalidSignature:
        return False
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return True


def _is_signed_pss(der: bytes, tbs: bytes, signature: bytes, key: object) -> bool | None:
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        made = x509.load_der_x509_certificate(der)
        how, digest = made.signature_algorithm_parameters, made.signature_hash_algorithm
    except (ValueError, x509.InvalidVersion):
        return None
    if not isinstance(how, padding.PSS) or digest is None:
        return None
    key.verify(signature, tbs, how, digest)
    return True
