"""Rules for certificate revocation lists: RFC 5280 section 5.

mosquitto refuses every client once its list is past nextUpdate; boards read none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.subjects import CrlSubject as Subject
from keyfob_host.lint.subjects import ListedSubject

_E, _W = Severity.ERROR, Severity.WARNING


@lru_cache(maxsize=32)
def load_crl(der: bytes) -> x509.CertificateRevocationList | str:
    """The list, or why it cannot be read."""
    try:
        found = x509.load_der_x509_crl(der)
        _ = found.issuer, found.last_update_utc, found.next_update_utc, found.extensions, len(found)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:160]
    return found


def _unreadable(subject: Subject) -> Iterator[str]:
    found = load_crl(subject.der)
    if isinstance(found, str):
        yield found


def _now(subject: Subject) -> str:
    return f"now {subject.context.at:%Y-%m-%dT%H:%M:%SZ}"


def _stale(subject: Subject) -> Iterator[str]:
    found = load_crl(subject.der)
    end = None if isinstance(found, str) else found.next_update_utc
    if end and subject.context.at > end:
        yield f"nextUpdate {end:%Y-%m-%dT%H:%M:%SZ}, {_now(subject)}"


def _not_yet(subject: Subject) -> Iterator[str]:
    found = load_crl(subject.der)
    start: datetime | None = None if isinstance(found, str) else found.last_update_utc
    if start and subject.context.at < start.astimezone(timezone.utc):
        yield f"thisUpdate {start:%Y-%m-%dT%H:%M:%SZ}, {_now(subject)}"


def _endless(subject: Subject) -> Iterator[str]:
    found = load_crl(subject.der)
    if not isinstance(found, str) and found.next_update_utc is None:
        yield "nextUpdate: none"


def _issuers(subject: Subject, der: bytes | None = None) -> list[Certificate]:
    """The CAs at hand that have the name of the list's issuer; ``der``: of another list."""
    found = load_crl(der or subject.der)
    if isinstance(found, str):
        return []
    name = found.issuer.public_bytes()
    return [one for one in subject.authorities if one.is_readable and one.subject.der == name]


def _other_issuer(subject: Subject) -> Iterator[str]:
    found = load_crl(subject.der)
    # Beside the list of a CA at hand others may stand: a former intermediate's, another root's.
    is_alone = not any(_issuers(subject, one) for one in (subject.der, *subject.beside))
    if not isinstance(found, str) and subject.authorities and is_alone:
        known = ", ".join(one.title for one in subject.authorities[:4])
        yield f"issuer {found.issuer.rfc4514_string()}; CAs: {known}"


def _unsigned(subject: Subject) -> Iterator[str]:
    found, issuers = load_crl(subject.der), _issuers(subject)
    if isinstance(found, str) or not issuers:
        return
    if not any(_is_signed(found, one) for one in issuers):
        yield f"not signed by the key of {issuers[0].title}"


def _is_signed(found: x509.CertificateRevocationList, issuer: Certificate) -> bool:
    try:
        key = serialization.load_der_public_key(issuer.spki)
        return found.is_signature_valid(key)  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _revokes(subject: ListedSubject) -> Iterator[str]:
    found, cert = load_crl(subject.der), subject.cert
    serial = int.from_bytes(cert.serial, "big")
    if isinstance(found, str) or not serial or cert.issuer.der != found.issuer.public_bytes():
        return
    entry = found.get_revoked_certificate_by_serial_number(serial)
    if entry is not None:
        yield f"serial {cert.serial.hex()}, revoked on {entry.revocation_date_utc:%Y-%m-%d}"


_RESIGN = "sign it anew with its CA, then reload the broker: kill -HUP $(pidof mosquitto)"

RULES: tuple[Rule[Subject], ...] = (
    Rule("lint.crl-unreadable", _E, "the revocation list cannot be read",
         "openssl crl -in {file} -noout -text", _unreadable),
    Rule("lint.crl-stale", _E, "the revocation list is past its nextUpdate: mosquitto refuses "
         "every client", _RESIGN, _stale),
    Rule("lint.crl-not-yet", _E, "the revocation list is not valid yet: mosquitto refuses every "
         "client", "check this machine's clock: date -u", _not_yet),
    Rule("lint.crl-endless", _W, "the revocation list does not say when the next comes", _RESIGN,
         _endless),
    Rule("lint.crl-issuer", _E, "the revocation list is from none of the CAs at hand: mosquitto "
         "refuses every client", "use the list of the CA in cafile: openssl crl -in {file} "
         "-noout -issuer", _other_issuer),
    Rule("lint.crl-signature", _E, "the revocation list is not signed by its issuer", _RESIGN,
         _unsigned),
)  # fmt: skip
LISTED_RULES: tuple[Rule[ListedSubject], ...] = (
    Rule("lint.revoked", _E, "the certificate is revoked, by its CA's list", "issue it anew, and "
         "bring it to where it is used: {reissue}", _revokes),
)  # fmt: skip
