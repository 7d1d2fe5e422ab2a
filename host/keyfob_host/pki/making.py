"""A plan made: what is missing or no longer good is issued, the rest is left as it is.

Good is a certificate of the bench's CA, with the names, usages and key that the plan
wants, that is not revoked and does not end within `SOON`. A device whose key is elsewhere
gets its certificate from the request it came with, unless that key was revoked. Whether a
board has what was made is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import trusted_certs
from keyfob_host.pki.describe import describe
from keyfob_host.pki.export import Bundle, Format
from keyfob_host.pki.exports import Exported, ExportedKey, write_exports
from keyfob_host.pki.identity import Identity, Requested, read_issued
from keyfob_host.pki.inventory_disk import open_inventory, recording
from keyfob_host.pki.names import san_text
from keyfob_host.pki.plan import Plan, Wanted
from keyfob_host.pki.revocation import refuse_revoked_key

SOON = timedelta(days=1)


@dataclass
class Made:
    """One certificate of a plan. ``reason``: why it was made, "" where it was left alone."""

    kind: str
    name: str
    reason: str
    folder: Path
    cert: x509.Certificate
    exported: Exported = field(default_factory=Exported)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "name": self.name,
            "made": bool(self.reason),
            "reason": self.reason,
            "folder": str(self.folder),
            "sha256": describe(self.cert)["sha256"],
            "not_after": self.cert.not_valid_after_utc.isoformat(),
            **self.exported.as_dict(),
        }


def make(
    home: Home,
    plan: Plan,
    out: Path,
    *,
    unlock: Callable[[], Authority],
    key_passphrase: Callable[[], bytes | None],
    force: bool = False,
    on_made: Callable[[Made], None] = lambda _made: None,
) -> list[Made]:
    """Make ``plan`` on a bench that has a CA; the exports go below ``out``.

    ``unlock`` opens the CA and is called if something must be signed; ``key_passphrase``
    gives the passphrase for exported keys (None: those are left out) and is called if one
    must be written. ``force`` issues every broker and device anew. Errors: ``cert.*``,
    ``ca.*``, ``export.*``, ``file.*``; what was made before stays.
    """
    opened: list[Authority] = []
    all_made: list[Made] = []

    def authority() -> Authority:
        if not opened:
            opened.append(unlock())
        return opened[0]

    def done(made: Made, bundle: Bundle, formats: tuple[Format, ...], key: ExportedKey) -> None:
        place = out / made.kind if made.kind == "ca" else out / made.kind / made.name
        made.exported = write_exports(
            bundle, formats, key, place, is_new=bool(made.reason), passphrase=key_passphrase
        )
        all_made.append(made)
        on_made(made)

    anchors = trusted_certs(home.ca_dir)
    revoked = _revoked(home)
    ca = Made("ca", "ca", "", home.ca_dir, anchors[0])
    done(ca, Bundle("ca", (), anchors), plan.ca_export, "none")
    for wanted in plan.wanted:
        folder = home.certs_dir / wanted.kind / wanted.name
        found = _read(folder)
        why = "new" if found is None else _fault(wanted, found, anchors[0], revoked)
        if force and not why:
            why = "asked for with --force"
        if found is None or why:
            found = _issue(home, authority(), wanted, found)
            with recording(home, folder, kind=wanted.kind, profile=wanted.profile_name):
                found.write(folder, force=True)
            if wanted.kind == "broker":
                # While the CA's key is open: `keyfob broker up` then needs no passphrase.
                bench.renew_host_identity(home, authority())
        key = found.key if isinstance(found, Identity) else None
        bundle = Bundle(wanted.name, (found.cert, *found.intermediates), found.anchors, key)
        made = Made(wanted.kind, wanted.name, why, folder, found.cert)
        done(made, bundle, wanted.export, wanted.key)
    return all_made


def _revoked(home: Home) -> frozenset[str]:
    """Fingerprints of what was revoked."""
    inventory, _ = open_inventory(home)
    with inventory:
        trusted = inventory.trusted_keys()
        return frozenset(
            one.fingerprint for one in inventory.records() if one.state(trusted) == "revoked"
        )


def _read(folder: Path) -> Identity | Requested | None:
    """What there is already; what is damaged is for a person to look at."""
    try:
        return read_issued(folder)
    except KeyfobHostError as error:
        if error.code != "cert.missing":
            raise
        return None


def _fault(
    wanted: Wanted, found: Identity | Requested, ca: x509.Certificate, revoked: frozenset[str]
) -> str:
    """Why it is not good, "" if it is."""
    fields = describe(found.cert)
    profile = wanted.profile
    ends = min(one.not_valid_after_utc for one in (found.cert, *found.intermediates))
    url = profile.crl_distribution_point
    if not bench.is_below(found, ca):
        return "it was from another CA"
    if ends <= datetime.now(timezone.utc) + SOON:
        return f"its end was {ends:%Y-%m-%d %H:%M}Z"
    if fields["sha256"] in revoked:
        return "it was revoked"
    if found.cert.subject != wanted.subject:
        return f"its subject was {fields['subject']}"
    if set(fields["sans"]) != set(map(san_text, wanted.sans)):
        return f"its names were {', '.join(fields['sans']) or 'none'}"
    if set(fields["extended_key_usage"]) != set(profile.extended_key_usage):
        return f"its usage was {', '.join(fields['extended_key_usage']) or 'any'}"
    if isinstance(found, Identity) and fields["key_type"] != profile.key_type:
        return f"its key was {fields['key_type']}"
    if fields["crl_distribution_points"] != ([] if url is None else [url]):
        return f"its CRL was at {', '.join(fields['crl_distribution_points']) or 'no place'}"
    return ""


def _issue(
    home: Home, authority: Authority, wanted: Wanted, found: Identity | Requested | None
) -> Identity | Requested:
    if wanted.kind == "broker":
        sans = [san_text(one) for one in wanted.sans]
        return authority.issue_broker(wanted.name, sans, profile=wanted.profile)
    if isinstance(found, Requested):
        inventory, _ = open_inventory(home)
        with inventory:
            refuse_revoked_key(inventory, wanted.name, found.request.public_key)
        return authority.issue_from_request(
            found.request, device_id=wanted.name, profile=wanted.profile
        )
    return authority.issue_device(wanted.name, profile=wanted.profile)
