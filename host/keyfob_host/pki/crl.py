"""Certificate revocation lists: X.509 CRL v2, RFC 5280 section 5, signed and read.

A CRL is full (no delta), for all of what one issuer signed, with authority key identifier,
CRL number and a reason for each entry that has one. ``ca/crl.pem`` holds one CRL for each
authority of the bench, one after the other, as a broker's ``crlfile`` wants them. An entry
is never taken out again: that would be allowed only when the certificate has long expired
(section 3.3), and a board's clock may be far behind. ``ca/crl.last.pem`` has the last CRL of
each intermediate that was replaced, good until that one ends, because nothing signs another.

Here nothing is written and no inventory asked; `revocation` does both. `read_crls` checks
the form, not the signature, which `is_signed_by` judges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.home import Home
from keyfob_host.pki.keys import PrivateKey, PublicKey
from keyfob_host.pki.template import authority_key_id

CRL_FILE = "crl.pem"
LAST_CRLS_FILE = "crl.last.pem"
# RFC 5280 section 5.3.1. Left out: certificateHold and removeFromCRL, because there is no
# way back here, and aACompromise, because there are no attribute certificates.
REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
# How far thisUpdate is set back, as notBefore is: a broker's clock may be behind ours. It
# also leaves room for `this_update_after`.
BACKDATE = timedelta(hours=1)

# An entry has some 40 bytes, in PEM 55: as many revocations as a bench can have.
_MAX_BYTES = 64 << 20
_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n?", re.DOTALL)
_FLAGS = {one.value: one for one in x509.ReasonFlags}


def crl_path(home: Home) -> Path:
    """Where the bench's CRLs are."""
    return home.ca_dir / CRL_FILE


def last_crls_path(home: Home) -> Path:
    """Where the last CRLs of former intermediates are."""
    return home.ca_dir / LAST_CRLS_FILE


def sign_crl(
    issuer: x509.Certificate,
    key: PrivateKey,
    entries: Iterable[tuple[str, int, str]],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> x509.CertificateRevocationList:
    """The CRL of ``issuer``; ``entries`` are (serial in hex, seconds since 1970, reason)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(authority_key_id(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, revoked_s, reason in entries:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(int(serial, 16))
            .revocation_date(datetime.fromtimestamp(revoked_s, timezone.utc))
        )
        # Section 5.3.1: the extension is left out rather than saying "unspecified".
        if reason != "unspecified":
            entry = entry.add_extension(x509.CRLReason(_FLAGS[reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256())


def this_update_after(previous: datetime | None, now: datetime) -> datetime:
    """When the next CRL is to say that it was made: `BACKDATE` ago, but after ``previous``.

    mosquitto keeps the CRLs it has read, and OpenSSL takes of those that are valid the one
    whose thisUpdate is the latest; between two of one second it may take either. Two
    revocations within a second must therefore not have CRLs of one second. One from the
    future was signed while this machine's clock was wrong; it counts for nobody.
    """
    start = (now - BACKDATE).replace(microsecond=0)
    if previous is None or previous > now:
        return start
    return max(start, previous + timedelta(seconds=1))


def crls_pem(crls: Iterable[x509.CertificateRevocationList]) -> bytes:
    """CRLs in PEM, one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in crls)


def read_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """Every CRL of a PEM file, at least one; errors ``cert.crl-unreadable``, ``file.*``."""
    content = read_bounded(path, "read the CRL", limit=_MAX_BYTES)
    detail = "no CRL in PEM in it"
    try:
        found = [x509.load_pem_x509_crl(block) for block in _BLOCK.findall(content)]
        if found and all(one.next_update_utc for one in found):
            return found
        if found:
            detail = "a CRL without nextUpdate"
    except ValueError as error:
        detail = (str(error).splitlines() or ["?"])[0][:160]
    raise KeyfobHostError(
        "cert.crl-unreadable",
        "the certificate revocation list cannot be read: truncated, damaged or not one",
        evidence=f"{path}: {len(content)} bytes: {detail}",
        fix=f"rm {quote(str(path))} && keyfob ca crl",
        status=ExitStatus.IDENTITY,
    )


def is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` signed ``crl`` (name and signature)."""
    key = issuer.public_key()
    return (
        isinstance(key, PublicKey) and crl.issuer == issuer.subject and crl.is_signature_valid(key)
    )


def next_update(crl: x509.CertificateRevocationList) -> datetime:
    """When it ends to count, in UTC; `read_crls` refuses a CRL that does not say."""
    return crl.next_update_utc or crl.last_update_utc


def is_near_end(crl: x509.CertificateRevocationList, now: datetime) -> bool:
    """Whether ``crl`` is in the last quarter of its time, or past it."""
    end = next_update(crl)
    return end - now < (end - crl.last_update_utc - BACKDATE) / 4


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """Its number, 0 where it has none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        return 0


def crl_issuer_key(crl: x509.CertificateRevocationList) -> str:
    """The authority key identifier in hex, "" where there is none."""
    try:
        found = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return (found.key_identifier or b"").hex()


def entry_facts(entry: x509.RevokedCertificate) -> tuple[str, int, str]:
    """(serial in hex, seconds since 1970, reason) of an entry."""
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        reason = "unspecified"
    return f"{entry.serial_number:x}", int(entry.revocation_date_utc.timestamp()), reason
