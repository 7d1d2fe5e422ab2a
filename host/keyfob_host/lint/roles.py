"""What a certificate is for, where neither its place nor a person says it."""

from __future__ import annotations

from collections.abc import Iterable

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.extensions import KEY_CERT_SIGN
from keyfob_host.lint.finding import Role
from keyfob_host.lint.rules_certificate import CLIENT_AUTH, SERVER_AUTH


def role_by_usage(cert: Certificate) -> Role | None:
    """Of an end-entity, by its extended key usage; whoever is both is judged as a broker."""
    purposes = cert.extensions.purposes or ()
    if SERVER_AUTH in purposes:
        return "broker"
    return "device" if CLIENT_AUTH in purposes else None


def looks_like_ca(cert: Certificate, others: Iterable[Certificate]) -> bool:
    """Whether it was meant as a CA's, be it a wrong one: of version 1, say, and the issuer of
    itself or of one of ``others``."""
    if not cert.is_readable or cert.extensions.is_ca is not None:
        return cert.is_ca
    if KEY_CERT_SIGN in (cert.extensions.key_usage or ()):
        return True
    if cert.extensions.purposes is not None or cert.extensions.sans:
        return False
    issued = any(one.der != cert.der and one.issuer.is_like(cert.subject) for one in others)
    return cert.is_self_issued or issued
