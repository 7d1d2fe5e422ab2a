"""A certificate issued again: the same subject, names and usages, later dates.

Every extension of the present certificate is taken over as it stands, but for the two
that follow from the keys, subject and authority key identifier. The dates span as long as
the present ones, from now, and end with the issuer's at the latest; a certificate that the
end of its issuer had cut short gets the days of its profile. Profiles are not asked for
anything else, so what an edited profile now says is not in a renewed certificate; issue it
anew for that. Names were judged when they were first signed and are not judged again.
"""

from __future__ import annotations

from datetime import timedelta
from shlex import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity, Requested, issued_by
from keyfob_host.pki.keys import PublicKey, describe_key, generate_key
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.template import authority_key_id, begin_certificate
from keyfob_host.pki.validity import Dates, is_cut, validity

# Of these the new certificate has its own.
_FROM_KEYS = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


def renew(
    authority: Authority,
    old: Identity | Requested,
    *,
    new_key: bool | None = None,
    days: int | None = None,
    profile_days: int = 0,
) -> Identity | Requested:
    """``old`` issued again by ``authority``.

    ``new_key``: whether with a new key of the same type; None: where the key is here.
    ``days``: instead of the present span; ``profile_days``: if that was cut short.
    Errors: ``cert.key-elsewhere``, ``cert.key-type-unknown``, ``ca.expired``.
    """
    anchors, intermediates = authority.anchors, authority.intermediates
    above = (*old.intermediates, *old.anchors)
    if any(is_cut(old.cert, one) and issued_by(old.cert, one) for one in above):
        days = days or profile_days or None
    if isinstance(old, Requested):
        if new_key:
            raise KeyfobHostError(
                "cert.key-elsewhere",
                f"the key of {old.name!r} was made elsewhere, and only there can be a new one",
                evidence="its certificate was issued from a request",
                fix=f"keyfob cert renew {quote(old.name)} --keep-key, or sign a new request",
                status=ExitStatus.IDENTITY,
            )
        cert = _again(authority, old.cert, old.request.public_key, days)
        return Requested(
            cert=cert, anchors=anchors, intermediates=intermediates, request=old.request
        )
    key = old.key if new_key is False else generate_key(describe_key(old.key))
    cert = _again(authority, old.cert, key.public_key(), days)
    return Identity(cert=cert, anchors=anchors, intermediates=intermediates, key=key)


def _again(
    authority: Authority, old: x509.Certificate, public: PublicKey, days: int | None
) -> x509.Certificate:
    profile = load_profile("device")
    span = old.not_valid_after_utc - old.not_valid_before_utc
    # What notBefore is set back is not part of the days that were asked for.
    whole = round((span - timedelta(hours=profile.backdate_hours)) / timedelta(days=1))
    start, end = validity(profile, Dates(days=days or max(whole, 1)), authority.cert)
    issuer = authority.cert
    builder = (
        begin_certificate(old.subject, issuer.subject, public, start, end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority_key_id(issuer), critical=False)
    )
    for one in old.extensions:
        if not isinstance(one.value, _FROM_KEYS):
            builder = builder.add_extension(one.value, critical=one.critical)
    return builder.sign(authority.key, hashes.SHA256())
