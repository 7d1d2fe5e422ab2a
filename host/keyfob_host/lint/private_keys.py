"""What kind of private key a file holds, without ever asking for a passphrase.

PKCS#8 (RFC 5208, RFC 5958), SEC 1 (RFC 5915), PKCS#1 (RFC 8017), encrypted or not. Only
the public half leaves this module.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyfob_host.lint.der import INTEGER, OCTET_STRING, SEQUENCE, MalformedError, Walk
from keyfob_host.pki.keys import describe_key

# The form of a key that is not in the file: see `keyfob_host.pki.pkcs11_file`.
IN_TOKEN = "in a PKCS#11 token"  # noqa: S105 (no password)

_ENCRYPTED_PEM = b"Proc-Type: 4,ENCRYPTED"


@dataclass(frozen=True)
class KeyFacts:
    """``form``: ``PKCS#8``, ``SEC 1``, ``PKCS#1``. ``name``: ``p256``, ``rsa2048`` …, "" where
    it cannot be read. ``spki``: of the public half, b"" likewise. ``wrong``: why it cannot."""

    form: str
    name: str = ""
    spki: bytes = b""
    is_encrypted: bool = False
    wrong: str = ""


def form_of(der: bytes) -> str:
    """``PKCS#8``, ``PKCS#8, encrypted``, ``SEC 1``, ``PKCS#1``, or "" for what is no key."""
    walk = Walk(der)
    try:
        parts = walk.children(walk.top())
        tags = [part.tag for part in parts]
        if tags[:3] == [INTEGER, SEQUENCE, OCTET_STRING]:
            return "PKCS#8"
        if tags[:2] == [INTEGER, OCTET_STRING]:
            return "SEC 1"
        if len(tags) >= 9 and set(tags[:9]) == {INTEGER}:
            return "PKCS#1"
        if tags == [SEQUENCE, OCTET_STRING] and walk.oid(walk.children(parts[0])[0]):
            return "PKCS#8, encrypted"
    except (MalformedError, IndexError):
        pass
    return ""


def read_key(der: bytes, *, header: bytes = b"", pem_form: str = "") -> KeyFacts:
    """The facts of ``der``. ``header``: a PEM block's own lines, where an old form says that
    it is encrypted. ``pem_form``: what its label says it is."""
    if pem_form == IN_TOKEN:
        return KeyFacts(IN_TOKEN)
    form = form_of(der) or pem_form
    if _ENCRYPTED_PEM in header or form == "PKCS#8, encrypted":
        return KeyFacts(form.partition(",")[0], is_encrypted=True)
    try:
        key = serialization.load_der_private_key(der, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's words are of structure, never of content; the first line is enough.
        text = (str(error).splitlines() or [type(error).__name__])[0][:120]
        return KeyFacts(form, wrong=text)
    public = key.public_key()
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = type(public).__name__.removesuffix("PublicKey").lstrip("_").lower()
    if isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        name = describe_key(public)
    return KeyFacts(form, name, spki)
