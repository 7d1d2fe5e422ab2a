"""A certificate as a row of the inventory: its columns, and the identifiers that link rows.

A certificate is found by its own key's identifier, its issuer by the authority key
identifier in it; both are as RFC 5280 section 4.2.1.2 makes them where the certificate does
not say. Nothing is read from disk here, and no signature checked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.pki.keys import key_digest
from keyfob_host.pki.template import check_size, common_name

Kind = Literal["ca", "intermediate", "broker", "device", "host"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The columns as `certificate_row` makes them and `Inventory.add` takes them.
Row = tuple[object, ...]


def certificate_row(
    cert: x509.Certificate,
    kind: Kind,
    *,
    folder: str = "",
    stamp: str = "",
    profile: str = "",
    issuer: x509.Certificate | None = None,
) -> Row:
    """The columns of ``cert``; error ``cert.too-large``."""
    check_size(cert)
    return (
        cert.fingerprint(hashes.SHA256()).hex(),
        f"{cert.serial_number:x}",
        kind,
        common_name(cert.subject),
        cert.subject.rfc4514_string(),
        key_id(cert),
        issuer_key_id(cert),
        "" if issuer is None else _fingerprint(issuer),
        int(cert.not_valid_before_utc.timestamp()),
        int(cert.not_valid_after_utc.timestamp()),
        profile,
        folder,
        stamp,
        cert.public_bytes(Encoding.DER),
    )


@lru_cache(maxsize=8)  # of issuers: the same one for thousands
def _fingerprint(cert: x509.Certificate) -> str:
    return cert.fingerprint(hashes.SHA256()).hex()


def key_id(cert: x509.Certificate) -> str:
    """The subject key identifier in hex, or what it would be (RFC 5280 section 4.2.1.2)."""
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return key_digest(cert.public_key())
    return found.digest.hex()


def issuer_key_id(cert: x509.Certificate) -> str:
    """The authority key identifier in hex; the own one of a self-issued certificate without."""
    try:
        found = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return key_id(cert) if cert.subject == cert.issuer else ""
    return (found.key_identifier or b"").hex()
