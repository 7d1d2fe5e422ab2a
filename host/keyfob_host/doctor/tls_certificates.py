"""Certificates as they were seen on the wire, in facts: read with cryptography.

Nothing is verified. One that cryptography cannot read is told with its size and why.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

from cryptography import x509
from cryptography.x509 import ocsp

from keyfob_host.lint.names import DNS, IP, address_of, covers
from keyfob_host.pki.describe import describe

_KEPT = (
    "subject", "issuer", "serial", "not_before", "not_after", "state", "key_type",
    "is_authority", "sans", "extended_key_usage", "sha256",
)  # fmt: skip
_MOST_SANS = 200
MOST_CERTIFICATES = 16  # of one chain; no stack takes more


def describe_seen(der: bytes) -> dict[str, Any]:
    """The facts of one; ``unreadable`` says why there are hardly any."""
    try:
        with warnings.catch_warnings():  # what is odd in it is the sender's affair
            warnings.simplefilter("ignore")
            found = describe(x509.load_der_x509_certificate(der))
    except Exception as error:  # from the wire: whatever it is, it is not our failure
        return {
            "bytes": len(der),
            "sha256": hashlib.sha256(der).hexdigest(),
            "unreadable": f"{type(error).__name__}: {str(error)[:120]}",
        }
    kept = {key: found[key] for key in _KEPT}
    kept["sans"] = kept["sans"][:_MOST_SANS]
    return {"bytes": len(der), **kept}


def one_line(facts: dict[str, Any]) -> str:
    """A certificate in a line: whose, by whom, for which names, until when."""
    if "unreadable" in facts:
        return f"{facts['bytes']} bytes that are no certificate ({facts['unreadable']})"
    names = f", for {', '.join(facts['sans'][:4])}" if facts["sans"] else ", without SAN"
    if facts["is_authority"]:
        names = ", a CA"
    until = f"{facts['not_before'][:10]} to {facts['not_after'][:10]}"
    state = "" if facts["state"] == "valid" else f" ({facts['state']} by this host's clock)"
    usage = f", {' and '.join(facts['extended_key_usage'])}" if facts["extended_key_usage"] else ""
    return (
        f"{facts['subject']} by {facts['issuer']}{names}{usage}, {until}{state}, "
        f"{facts['key_type']}, {facts['bytes']} bytes"
    )


def is_for(facts: dict[str, Any], host: str) -> bool:
    """Whether one of the SANs is ``host``; where not all were kept, it may be."""
    if len(facts.get("sans", [])) >= _MOST_SANS:
        return True
    sans: list[tuple[int, bytes]] = []
    for san in facts.get("sans", []):
        kind, _, value = san.partition(":")
        if kind == "DNS":
            sans.append((DNS, value.encode()))
        elif kind == "IP":
            sans.append((IP, address_of(value) or b""))
    return covers(tuple(sans), host)


def ocsp_status(response: bytes) -> str:
    """What an OCSP response says, unverified: ``good``, ``revoked`` …"""
    try:
        read = ocsp.load_der_ocsp_response(response)
        if read.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return read.response_status.name.lower()
        return next(iter(read.responses)).certificate_status.name.lower()
    except Exception as error:  # from the wire, as above
        return f"unreadable: {type(error).__name__}"
