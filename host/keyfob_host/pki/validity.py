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

    Errors: ``ca.expired``, ``ca.not-yet-valid``, ``cert.bad-dates``.
    """
    now = now_utc()
    start = now - timedelta(hours=profile.backdate_hours)
    end = now + timedelta(days=asked.days or profile.days)
    if issuer is not None:
        if asked.not_after is None:
            check_in_force(issuer, now)
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


def is_cut(cert: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``cert`` ends when its issuer does, and most likely for that reason."""
    return cert.not_valid_after_utc == issuer.not_valid_after_utc


def check_in_force(issuer: x509.Certificate, now: datetime) -> None:
    """Raise unless what ``issuer`` signs now is accepted, by this machine's clock.

    Errors: ``ca.expired``, ``ca.not-yet-valid``.
    """
    start, end = issuer.not_valid_before_utc, issuer.not_valid_after_utc
    if start <= now < end:
        return
    is_root = issuer.subject == issuer.issuer
    whose = f"the {'CA' if is_root else 'issuing CA'}'s certificate"
    if now < start:
        raise KeyfobHostError(
            "ca.not-yet-valid",
            f"{whose} is not valid yet by this machine's clock, so nothing it signs now would be "
            "accepted",
            evidence=f"notBefore {start:%Y-%m-%d %H:%M}Z, now {now:%Y-%m-%d %H:%M}Z",
            fix="set this machine's clock, then run the command again: date -u",
            status=ExitStatus.HOST,
        )
    raise KeyfobHostError(
        "ca.expired",
        f"{whose} has expired, so nothing it signs now would be accepted",
        evidence=f"notAfter {end:%Y-%m-%d %H:%M}Z, now {now:%Y-%m-%d %H:%M}Z",
        fix="keyfob ca init --force, then issue every certificate again"
        if is_root
        else "keyfob ca intermediate --force, then issue every certificate again",
        status=ExitStatus.IDENTITY,
    )
