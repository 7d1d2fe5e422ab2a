"""From when to when: the dates of a certificate about to be signed.

Without dates of the caller's, the profile's: set back a little, and never beyond those
of the issuer. Dates that are given are taken as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki.profiles import Profile


@dataclass(frozen=True)
class Dates:
    """What the caller asks for; None is the profile's."""

    days: int | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


def validity(
    profile: Profile, asked: Dates, issuer: x509.Certificate | None
) -> tuple[datetime, datetime]:
    """notBefore and notAfter below ``issuer`` (None: of a root).

    Errors: ``ca.expired``, ``cert.bad-dates``.
    """
    now = now_utc()
    start = now - timedelta(hours=profile.backdate_hours)
    end = now + timedelta(days=asked.days or profile.days)
    if issuer is not None:
        if asked.not_after is None and now >= issuer.not_valid_after_utc:
            raise _expired(issuer, now)
        start = max(start, issuer.not_valid_before_utc)
        end = min(end, issuer.not_valid_after_utc)
    start, end = asked.not_before or start, asked.not_after or end
    if start < end:
        return start, end
    raise KeyfobHostError(
        "cert.bad-dates",
        "a certificate's notAfter must be later than its notBefore",
        evidence=f"notBefore {start.isoformat()}, notAfter {end.isoformat()}",
        fix="give dates in order",
        status=ExitStatus.IDENTITY,
    )


def now_utc() -> datetime:
    """This machine's clock, whole seconds: certificates have no more."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def _expired(issuer: x509.Certificate, now: datetime) -> KeyfobHostError:
    end = issuer.not_valid_after_utc
    is_root = issuer.subject == issuer.issuer
    return KeyfobHostError(
        "ca.expired",
        f"the {'CA' if is_root else 'issuing CA'}'s certificate has expired, so nothing it signs "
        "now would be accepted",
        evidence=f"notAfter {end:%Y-%m-%d %H:%M}Z, now {now:%Y-%m-%d %H:%M}Z",
        fix="keyfob ca init --force, then issue every certificate again"
        if is_root
        else "keyfob ca intermediate --force, then issue every certificate again",
        status=ExitStatus.IDENTITY,
    )
