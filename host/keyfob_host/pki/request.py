"""Certificate requests (PKCS #10, RFC 2986): read, and judged before anything is signed.

Checked: size, that the key is of a kind we sign for (its point on the curve, its
exponent sound), the hash, that the request's signature verifies with its own key (whoever
made it holds the key), and that it names exactly one common name. What it asks for
beyond name and key, extensions above all, is told by `not_taken_over` and never copied.
Not checked: that the requester is who it says; that is for whoever signs to know.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.keys import KEY_TYPES, PublicKey, describe_key
from keyfob_host.pki.names import check_device_id, san_text
from keyfob_host.printable import LINE_CHARS, printable

# A request for RSA-4096 has some 1,700 bytes; with every extension there is, not thrice that.
MAX_REQUEST_BYTES = 16 * 1024

_HASHES = ("sha256", "sha384", "sha512")
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 section 5.4.2
_LEAST_EXPONENT = 65537  # FIPS 186-5 section A.1.1: 2^16 < e
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_HOW = "openssl req -new -key KEYFILE -subj /CN=sensor-01 -out request.pem"


@dataclass(frozen=True)
class CertificateRequest:
    """A request that was judged good. Make one with `read_request`.

    ``name``: its only common name, as it stands. ``not_taken_over``: what else it asks
    for, in words, and what no certificate issued here has for that reason.
    """

    csr: x509.CertificateSigningRequest
    public_key: PublicKey
    name: str
    not_taken_over: tuple[str, ...]

    @property
    def key_type(self) -> str:
        """``p256``, ``rsa2048`` …"""
        return describe_key(self.public_key)

    def pem(self) -> bytes:
        return self.csr.public_bytes(Encoding.PEM)


def read_request(content: bytes, *, source: str = "the request") -> CertificateRequest:
    """The request in ``content``, PEM or DER. ``source`` names it in errors.

    Errors: ``cert.request-too-large``, ``cert.request-unreadable``,
    ``cert.request-bad-key``, ``cert.request-weak-hash``, ``cert.request-bad-signature``,
    ``cert.request-no-name``.
    """
    if len(content) > MAX_REQUEST_BYTES:
        raise _refused(
            "too-large", "this is larger than any certificate request is",
            f"{source}: more than {MAX_REQUEST_BYTES} bytes", "check that it is the file you mean",
        )  # fmt: skip
    csr = _parse(content, source)
    key = _public_key(csr, source)
    with _readable(source, len(content)):
        hash_name = csr.signature_hash_algorithm.name if csr.signature_hash_algorithm else "none"
        names = [str(one.value) for one in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        other = tuple(map(_shown, _not_taken_over(csr)))
        is_signed = hash_name in _HASHES and csr.is_signature_valid
    if hash_name not in _HASHES:
        raise _refused(
            "weak-hash", "the request is signed with a hash that proves nothing any more",
            f"{source}: {hash_name}; taken: {', '.join(_HASHES)}", f"{_HOW} -sha256",
        )  # fmt: skip
    if not is_signed:
        raise _refused(
            "bad-signature", "the request's signature does not verify with the key in it, so "
            "nobody has shown that he holds that key",
            f"{source}: {describe_key(key)} with {hash_name}",
            "have the request made again; to see for yourself: "
            f"openssl req -verify -in {quote(source)}",
        )  # fmt: skip
    if len(names) != 1:
        seen = " and ".join(map(repr, names)) or f"subject {csr.subject.rfc4514_string()!r}"
        raise _refused(
            "no-name", "a request must have one common name, which is the device's id",
            f"{source}: {seen}", _HOW,
        )  # fmt: skip
    return CertificateRequest(csr=csr, public_key=key, name=names[0], not_taken_over=other)


def check_request(
    request: CertificateRequest,
    *,
    device_id: str | None,
    keys: Sequence[str] | None,
    profile_keys: Sequence[str],
) -> None:
    """Raise unless ``request`` may have a certificate as a device; see
    `Authority.issue_from_request`.

    Errors: ``cert.request-wrong-name``, ``cert.request-bad-key``, ``cert.bad-id``,
    ``cert.reserved-id``.
    """
    if device_id is not None and request.name != device_id:
        raise _refused(
            "wrong-name", "the request names another device than the one asked for",
            f"request: CN {request.name!r}; asked for: {device_id!r}",
            "give the id that is in the request, or none: keyfob cert device --csr FILE",
        )  # fmt: skip
    check_device_id(request.name)
    for allowed, whose in ((profile_keys, "this profile"), (keys, "this board")):
        if allowed is not None and request.key_type not in allowed:
            raise _refused(
                "bad-key", f"{whose} takes no key like the one in the request",
                f"{request.name}: {request.key_type}; taken: {', '.join(allowed)}",
                "have the request made again with a key of a type that is taken",
            )  # fmt: skip


def _parse(content: bytes, source: str) -> x509.CertificateSigningRequest:
    labels = [one.decode() for one in _BEGIN.findall(content)]
    if any("PRIVATE KEY" in label for label in labels):
        raise _refused(
            "unreadable", "this file has a private key in it, which nobody but its owner may see",
            f"{source}: {', '.join(labels)}",
            f"make a request with it, and give that: openssl req -new -key {quote(source)} "
            "-subj /CN=sensor-01 -out request.pem",
        )  # fmt: skip
    if labels and (len(labels) > 1 or not labels[0].endswith("CERTIFICATE REQUEST")):
        raise _refused(
            "unreadable", "this is not one certificate request", f"{source}: {', '.join(labels)}",
            _HOW,
        )  # fmt: skip
    with _readable(source, len(content)):
        if labels:
            return x509.load_pem_x509_csr(content)
        return x509.load_der_x509_csr(content)


def _public_key(csr: x509.CertificateSigningRequest, source: str) -> PublicKey:
    """The key, if it is one we sign for. A point off its curve does not load."""
    try:
        key = csr.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad_key(source, _first_line(error)) from None
    if describe_key(key) not in KEY_TYPES or not isinstance(key, PublicKey):
        raise _bad_key(source, describe_key(key))
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e < _LEAST_EXPONENT:
        raise _bad_key(source, f"RSA with the exponent {key.public_numbers().e}")
    return key


def _not_taken_over(csr: x509.CertificateSigningRequest) -> Iterator[str]:
    for attribute in csr.subject:
        if attribute.oid != NameOID.COMMON_NAME:
            yield f"subject {attribute.rfc4514_string()}"
    for extension in csr.extensions:
        yield _extension_text(extension)
    for item in csr.attributes:
        if item.oid == AttributeOID.CHALLENGE_PASSWORD:
            yield "a challenge password"
        elif item.oid != _EXTENSION_REQUEST:
            yield f"attribute {item.oid.dotted_string}"


def _shown(text: str) -> str:
    """For a terminal: whoever made the request chose what is in it."""
    return printable(text, limit=LINE_CHARS)


def _extension_text(extension: x509.Extension[x509.ExtensionType]) -> str:
    name = extension.oid._name
    value = extension.value
    if isinstance(value, x509.SubjectAlternativeName):
        return f"{name} {', '.join(map(san_text, value))}"
    if isinstance(value, x509.BasicConstraints):
        return f"{name} CA:{'TRUE' if value.ca else 'FALSE'}"
    if extension.oid == ExtensionOID.EXTENDED_KEY_USAGE:
        usages = cast(x509.ExtendedKeyUsage, value)
        return f"{name} {', '.join(one._name for one in usages)}"
    return name if name != "Unknown OID" else f"extension {extension.oid.dotted_string}"


@contextmanager
def _readable(source: str, size: int) -> Iterator[None]:
    """What the parser says against bytes that somebody else chose, as one error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a country of three letters is not ours to mend
            yield
    except (
        ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        raise _refused(
            "unreadable", "this is not a certificate request in PEM or DER, or it is damaged",
            f"{source}: {size} bytes: {_first_line(error)}",
            f"openssl req -in {quote(source)} -noout -text",
        ) from None  # fmt: skip


def _bad_key(source: str, seen: str) -> KeyfobHostError:
    return _refused(
        "bad-key", "the request's key is not one that boards and brokers here share",
        f"{source}: {seen}; taken: {', '.join(KEY_TYPES)}, exponent at least {_LEAST_EXPONENT}",
        "openssl ecparam -name prime256v1 -genkey -noout -out KEYFILE; " + _HOW,
    )  # fmt: skip


def _refused(reason: str, cause: str, evidence: str, fix: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"cert.request-{reason}", cause, evidence=evidence, fix=fix, status=ExitStatus.IDENTITY
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
