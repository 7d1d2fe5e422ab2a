"""The bench's identities: where they are, and whether they still fit the bench's CA.

Judged here are issuer, dates, usage and names, by the host's clock; boards judge
again, by theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shlex import quote

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import CERT_FILE, Authority, load_ca_cert
from keyfob_host.pki.describe import describe
from keyfob_host.pki.identity import Identity, Issued, leads_to, load_certs
from keyfob_host.pki.names import (
    HOST_ID,
    check_broker_name,
    check_device_id,
    is_id,
    parse_sans,
    san_text,
)

_RENEW_BEFORE = timedelta(days=1)


def broker_dir(home: Home, name: str) -> Path:
    """Folder of the broker identity ``name``; error ``cert.bad-id``."""
    check_broker_name(name)
    return home.certs_dir / "broker" / name


def device_dir(home: Home, device_id: str) -> Path:
    """Folder of the device identity ``device_id``; errors ``cert.bad-id``, ``cert.reserved-id``."""
    check_device_id(device_id)
    return home.certs_dir / "device" / device_id


def host_dir(home: Home) -> Path:
    """Folder of the host's own identity."""
    return home.certs_dir / "device" / HOST_ID


def host_identity_fits(home: Home) -> bool:
    """Whether there is a host identity that the bench's CA issued and that is still valid."""
    try:
        identity = Identity.read(host_dir(home))
    except KeyfobHostError:
        return False
    soon = datetime.now(timezone.utc) + _RENEW_BEFORE
    ends = min(one.not_valid_after_utc for one in (identity.cert, *identity.intermediates))
    return is_below(identity, load_ca_cert(home.ca_dir)) and ends > soon


def renew_host_identity(home: Home, authority: Authority) -> None:
    """Issue the host's identity anew, unless the one there `host_identity_fits`."""
    if not host_identity_fits(home):
        authority.issue_host().write(host_dir(home), force=True)


def is_below(issued: Issued, ca: x509.Certificate) -> bool:
    """Whether the chain leads to ``ca``, each certificate signed by the next."""
    return leads_to((issued.cert, *issued.intermediates), ca)


def check_broker_identity(identity: Identity, ca: x509.Certificate, sans: Iterable[str]) -> None:
    """Raise unless a board that trusts ``ca`` could accept this broker today.

    ``sans`` are names that must be in the certificate. Errors: ``cert.other-ca``,
    ``cert.expired``, ``cert.not-yet-valid``, ``cert.wrong-usage``, ``cert.san-missing``.
    """
    fields = describe(identity.cert)
    present = fields["sans"]
    missing = [text for text in map(san_text, parse_sans(sans)) if text not in present]
    again = " ".join(f"--san {quote(text)}" for text in [*present, *missing])
    problem: tuple[str, str, str] | None = None
    if not is_below(identity, ca):
        problem = (
            "cert.other-ca",
            "the broker's certificate is not from this bench's CA",
            f"issuer {fields['issuer']}; the CA is {ca.subject.rfc4514_string()}",
        )
    elif fields["state"] == "expired":
        problem = (
            "cert.expired",
            "the broker's certificate has expired",
            f"notAfter {fields['not_after']}",
        )
    elif fields["state"] == "not yet valid":
        problem = (
            "cert.not-yet-valid",
            "the broker's certificate is not valid yet, by this machine's clock",
            f"notBefore {fields['not_before']}",
        )
    elif "serverAuth" not in fields["extended_key_usage"]:
        problem = (
            "cert.wrong-usage",
            "the certificate is not for a server",
            f"extended key usage: {', '.join(fields['extended_key_usage']) or 'none'}",
        )
    elif missing:
        problem = (
            "cert.san-missing",
            "the broker's certificate is not for every name asked for",
            f"missing: {', '.join(missing)}; it has: {', '.join(present) or 'none'}",
        )
    if problem is not None:
        code, cause, evidence = problem
        raise KeyfobHostError(
            code,
            cause,
            evidence=evidence,
            fix=f"keyfob cert broker {quote(identity.name)} {again} --force",
            status=ExitStatus.IDENTITY,
        )


def find_certs(home: Home, path_or_name: str) -> list[x509.Certificate]:
    """The certificates of a file, an identity's folder, or a name of this bench (``ca`` too).

    Error ``cert.unknown``.
    """
    given = Path(path_or_name)
    if given.is_dir():
        candidates = [given / "chain.pem", given / CERT_FILE]
    elif given.exists() or len(given.parts) > 1:
        return load_certs(given, "the certificate")
    else:
        kinds = ("device", "broker")
        candidates = [home.certs_dir / kind / path_or_name / "chain.pem" for kind in kinds]
        if path_or_name == "ca":
            candidates.append(home.ca_dir / CERT_FILE)
    for path in candidates:
        if path.exists():
            return load_certs(path, "the certificate")
    if given.is_dir():
        raise KeyfobHostError(
            "cert.not-an-identity",
            "the folder is not that of an identity",
            evidence=f"{given}: neither chain.pem nor {CERT_FILE} in it",
            fix=f"keyfob cert check {quote(path_or_name)}",
        )
    known = [one.parent.name for one in sorted(home.certs_dir.glob("*/[!.]*/chain.pem"))]
    raise KeyfobHostError(
        "cert.unknown",
        f"there is no file and no identity {path_or_name!r}",
        evidence=f"{home.root} has: {', '.join(known) or 'none'}",
        fix=f"keyfob cert device {path_or_name}" if is_id(path_or_name) else "keyfob cert list",
        status=ExitStatus.IDENTITY,
    )
