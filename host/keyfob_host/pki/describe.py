"""A certificate for people and for scripts: what it is, for whom, until when."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.pki.keys import describe_key
from keyfob_host.pki.names import san_text
from keyfob_host.pki.template import USAGE_OIDS
from keyfob_host.printable import printable

_USAGE_NAMES = {oid: name for name, oid in USAGE_OIDS.items()}
_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign",
)  # fmt: skip


def describe(cert: x509.Certificate, *, now: datetime | None = None) -> dict[str, Any]:
    """The certificate's fields as JSON-ready values; times are ISO 8601 in UTC."""
    moment = now or datetime.now(timezone.utc)
    start, end = cert.not_valid_before_utc, cert.not_valid_after_utc
    basic = _extension(cert, x509.BasicConstraints)
    san = _extension(cert, x509.SubjectAlternativeName)
    extended = _extension(cert, x509.ExtendedKeyUsage)
    usage = _extension(cert, x509.KeyUsage)
    return {
        "version": cert.version.value + 1,
        "subject": cert.subject.rfc4514_string(),
        "issuer": cert.issuer.rfc4514_string(),
        "serial": _serial(cert),
        "not_before": start.isoformat(),
        "not_after": end.isoformat(),
        "not_after_s": int(end.timestamp()),
        "days_left": (end - moment).days,
        "state": "expired" if moment > end else "not yet valid" if moment < start else "valid",
        "key_type": describe_key(cert.public_key()),
        "is_authority": bool(basic and basic.ca),
        "path_length": basic.path_length if basic else None,
        "sans": [san_text(name) for name in san] if san else [],
        "extended_key_usage": [_USAGE_NAMES.get(oid, oid.dotted_string) for oid in extended or ()],
        "key_usage": [name for name in _KEY_USAGES if usage is not None and getattr(usage, name)],
        "crl_distribution_points": _crl_urls(cert),
        "sha256": cert.fingerprint(hashes.SHA256()).hex(),
    }


def describe_text(fields: dict[str, Any]) -> str:
    """`describe` in lines, without what would be a control sequence to a terminal."""
    left = f", {fields['days_left']} days left" if fields["state"] == "valid" else ""
    kind = "certificate authority" if fields["is_authority"] else "end-entity"
    if fields["path_length"] is not None:
        kind += f", path length {fields['path_length']}"
    rows = [
        ("subject", fields["subject"]),
        ("issuer", fields["issuer"]),
        ("kind", f"{kind} (X.509 v{fields['version']})"),
        ("valid", f"{fields['not_before'][:10]} to {fields['not_after'][:10]}"),
        ("state", fields["state"] + left),
        ("key", fields["key_type"]),
        ("names", ", ".join(fields["sans"])),
        ("usage", ", ".join([*fields["extended_key_usage"], *fields["key_usage"]])),
        ("crl", ", ".join(fields["crl_distribution_points"])),
        ("serial", fields["serial"]),
        ("sha256", fields["sha256"]),
    ]
    return "\n".join(f"{label:<8} {printable(value)}" for label, value in rows if value)


def _serial(cert: x509.Certificate) -> str:
    """In hex; a foreign one may be negative, of which the library warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f"{cert.serial_number:x}"


def _crl_urls(cert: x509.Certificate) -> list[str]:
    points = _extension(cert, x509.CRLDistributionPoints) or ()
    return [str(name.value) for point in points for name in point.full_name or ()]


def _extension(cert: x509.Certificate, kind: type[Any]) -> Any:
    """The extension's value, or None where it is missing or cannot be decoded."""
    try:
        return cert.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None
