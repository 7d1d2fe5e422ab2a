"""What was issued: an end-entity certificate, its chain, whom it trusts, and often its key.

On disk a folder: ``cert.pem``, ``chain.pem`` (end-entity, then intermediates, without
the trust anchor), ``ca.pem`` (the peer's trust anchors), and one of two more. With
``key.pem`` (0600, PKCS#8) it is an `Identity`, with ``request.pem`` a `Requested`: its
key was made elsewhere, most often on the board, and never left it. Reading checks
that certificate and key, or request, belong together and that nobody else may read
the key; dates, usages and the chain's signatures are not judged here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import KEY_MODE, PUBLIC_MODE, read_bounded
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.keys import PrivateKey, describe_key, key_pem, load_key, public_der
from keyfob_host.pki.names import is_id
from keyfob_host.pki.request import CertificateRequest, read_request
from keyfob_host.pki.template import common_name

KEY_FILE = "key.pem"
REQUEST_FILE = "request.pem"

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
# What each TLS engine of a board loads. axTLS reads PKCS#1 RSA keys and nothing else.
_ENGINE_KEYS = {
    "mbedtls": ("p256", "rsa2048"),
    "keyfob": ("p256", "rsa2048"),
    "axtls": ("rsa2048",),
}


@dataclass(frozen=True, kw_only=True)
class Issued:
    """The public part; see the module's docstring."""

    cert: x509.Certificate
    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def name(self) -> str:
        """The common name: a device's id or a broker's name."""
        return common_name(self.cert.subject)

    def cert_pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)

    def cert_der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

    def chain_pem(self) -> bytes:
        """End-entity first, then intermediates, without the trust anchor."""
        return certs_pem((self.cert, *self.intermediates))

    def chain_der(self) -> list[bytes]:
        """As `chain_pem`, one DER certificate an item."""
        return [one.public_bytes(Encoding.DER) for one in (self.cert, *self.intermediates)]

    def ca_pem(self) -> bytes:
        """The trust anchors that the peer's certificate is checked against."""
        return certs_pem(self.anchors)

    def anchors_der(self) -> list[bytes]:
        """As `ca_pem`, one DER certificate an item."""
        return [one.public_bytes(Encoding.DER) for one in self.anchors]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """The folder's files: name -> (content, mode)."""
        return {
            "cert.pem": (self.cert_pem(), PUBLIC_MODE),
            "chain.pem": (self.chain_pem(), PUBLIC_MODE),
            "ca.pem": (self.ca_pem(), PUBLIC_MODE),
        }

    def write(self, folder: Path, *, force: bool = False) -> Path:
        """Write the files as one change; error ``cert.exists`` without ``force``."""
        try:
            write_folder(folder, self.files(), replace=force)
        except FileExistsError:
            raise _exists(folder, folder.name) from None
        return folder


@dataclass(frozen=True, kw_only=True)
class Identity(Issued):
    """A certificate whose private key is here."""

    key: PrivateKey

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {**super().files(), KEY_FILE: (self.key_pem(), KEY_MODE)}

    def key_pem(self) -> bytes:
        """The private key, PKCS#8 PEM, unencrypted: for files of mode 0600 only."""
        return key_pem(self.key)

    def key_der_for(self, engine: str) -> bytes:
        """The private key as a board's TLS engine reads it: SEC1 (EC) or PKCS#1 (RSA) DER.

        Error: ``cert.key-type-not-for-engine`` when the engine cannot use the key.
        """
        allowed = _ENGINE_KEYS.get(engine, ())
        if describe_key(self.key) not in allowed:
            raise KeyfobHostError(
                "cert.key-type-not-for-engine",
                f"the board's TLS engine {engine!r} cannot use this identity's key",
                evidence=f"{self.name}: {describe_key(self.key)}; {engine} takes: "
                f"{', '.join(allowed) or 'unknown engine'}",
                fix=f"keyfob cert device {quote(self.name)} "
                f"--key-type {(*allowed, 'p256')[0]} --force",
                status=ExitStatus.IDENTITY,
            )
        # OpenSSL's name for both: SEC1 for EC keys, PKCS#1 for RSA keys.
        traditional = PrivateFormat.TraditionalOpenSSL
        return self.key.private_bytes(Encoding.DER, traditional, NoEncryption())

    @classmethod
    def read(cls, folder: Path) -> Identity:
        """The identity in ``folder``.

        Errors: those of `read_issued`, and ``cert.key-elsewhere`` where there is a
        certificate only, issued from a request.
        """
        found = read_issued(folder)
        if isinstance(found, cls):
            return found
        raise KeyfobHostError(
            "cert.key-elsewhere",
            f"the private key of {folder.name!r} is not on this machine: it was made where the "
            "certificate request came from, most often on the board",
            evidence=f"{folder}: {REQUEST_FILE} and no {KEY_FILE}",
            fix="give the certificate to that board: keyfob provision --identity "
            f"{quote(folder.name)} --key-on-board; for a key made here: "
            f"keyfob cert {_kind_of(folder)} {quote(folder.name)} --force",
            status=ExitStatus.IDENTITY,
        )


@dataclass(frozen=True, kw_only=True)
class Requested(Issued):
    """A certificate issued from ``request``, by whoever holds the key."""

    request: CertificateRequest

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {**super().files(), REQUEST_FILE: (self.request.pem(), PUBLIC_MODE)}


def read_issued(folder: Path) -> Identity | Requested:
    """What is in ``folder``, with its key or without.

    Errors: ``cert.missing``, ``cert.unreadable``, ``cert.key-*`` (see
    `keys.load_key`), ``cert.key-mismatch``, ``cert.request-*``, ``file.*``.
    """
    with explain_os_error(folder, "look for the identity"):
        there = (folder / "cert.pem").exists()
        is_requested = (folder / REQUEST_FILE).exists() and not (folder / KEY_FILE).exists()
    if not there:
        raise KeyfobHostError(
            "cert.missing",
            f"there is no identity {folder.name!r}",
            evidence=f"{folder}: no cert.pem in it",
            fix=f"keyfob cert {_kind_of(folder)} {folder.name}"
            if is_id(folder.name)
            else "keyfob cert list",
            status=ExitStatus.IDENTITY,
        )
    (cert,) = load_certs(folder / "cert.pem", "the certificate")[:1]
    chain = load_certs(folder / "chain.pem", "the certificate chain")
    anchors = tuple(load_certs(folder / "ca.pem", "the trust anchors"))
    intermediates = tuple(chain[1:])
    if is_requested:
        path = folder / REQUEST_FILE
        request = read_request(read_bounded(path, "read the request"), source=str(path))
        _check_pair(folder, REQUEST_FILE, request.public_key, cert, chain[0])
        return Requested(cert=cert, anchors=anchors, intermediates=intermediates, request=request)
    key = load_key(folder / KEY_FILE, "the private key")
    _check_pair(folder, KEY_FILE, key, cert, chain[0])
    return Identity(cert=cert, anchors=anchors, intermediates=intermediates, key=key)


def _check_pair(
    folder: Path, file: str, key: object, cert: x509.Certificate, first: x509.Certificate
) -> None:
    same = public_der(key) == public_der(cert.public_key())
    if same and first == cert:
        return
    raise KeyfobHostError(
        "cert.key-mismatch",
        "certificate, chain and private key do not belong together",
        evidence=f"{folder}: certificate has a {describe_key(cert.public_key())} key, "
        f"{file} holds {'the same' if same else 'another'} key; chain.pem begins with "
        f"{'that' if first == cert else 'another'} certificate",
        fix=f"keyfob cert {_kind_of(folder)} {quote(folder.name)} --force",
        status=ExitStatus.IDENTITY,
    )


def refuse_existing(folder: Path, name: str) -> None:
    """Raise ``cert.exists`` where an identity would be overwritten."""
    with explain_os_error(folder, "look for an identity"):
        there = folder.exists()
    if there:
        raise _exists(folder, name)


def _exists(folder: Path, name: str) -> KeyfobHostError:
    return KeyfobHostError(
        "cert.exists",
        f"there is already an identity {name!r}",
        evidence=str(folder),
        fix=f"to replace it: keyfob cert {_kind_of(folder)} {name} --force",
        status=ExitStatus.IDENTITY,
    )


def load_certs(path: Path, what: str) -> list[x509.Certificate]:
    """Every certificate of a PEM file, or the one of a DER file; at least one.

    Error ``cert.unreadable``: truncated, damaged, not a certificate, empty, or with a key
    of a type that is not known here.
    """
    content = read_bounded(path, f"read {what}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to say, `keyfob cert check` says
            if b"-----BEGIN" in content:
                found = x509.load_pem_x509_certificates(content)
            else:
                found = [x509.load_der_x509_certificate(content)]
            for cert in found:
                _read_through(cert)
            return found
    except (
        ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        detail = (str(error).splitlines() or ["?"])[0][:160]
        labels = _LABEL.findall(content)
        if labels and b"CERTIFICATE" not in labels:
            detail = f"it holds: {', '.join(sorted({one.decode() for one in labels}))}"
        raise KeyfobHostError(
            "cert.unreadable",
            f"{what} cannot be read: truncated, damaged or not a certificate",
            evidence=f"{path}: {len(content)} bytes: {detail}",
            fix=f"see what it is: keyfob cert check {quote(str(path))}",
            status=ExitStatus.IDENTITY,
        ) from None


def _read_through(cert: x509.Certificate) -> None:
    """Decode what the library leaves until somebody asks for it, so that damage shows now."""
    _ = cert.subject, cert.issuer, cert.extensions, cert.public_key()


def issued_by(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` signed ``cert`` (name and signature; nothing else)."""
    try:
        cert.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def leads_to(chain: Sequence[x509.Certificate], anchor: x509.Certificate) -> bool:
    """Whether each of ``chain`` is signed by the next, and the last by ``anchor``."""
    return all(issued_by(one, issuer) for one, issuer in pairwise((*chain, anchor)))


def certs_pem(certs: tuple[x509.Certificate, ...]) -> bytes:
    """PEM certificates, one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certs)


def _kind_of(folder: Path) -> str:
    return "broker" if folder.parent.name == "broker" else "device"
