"""What ends soon: certificates in use, the authorities, the revocation lists.

In use is what stands in its folder, or was issued to be kept elsewhere; a certificate
whose folder was removed is nobody's worry any more, nor is a replaced or revoked one.
Judged by the clock of this machine alone; whether boards have the certificate is not
known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote
from typing import Any

from keyfob_host.home import Home
from keyfob_host.pki.crl import crl_path, is_near_end, next_update, read_crls
from keyfob_host.pki.inventory import Inventory, Record
from keyfob_host.pki.template import common_name


@dataclass(frozen=True)
class Ending:
    """Something that ends: a certificate, or ``kind`` "crl" with its issuer as ``name``."""

    kind: str
    name: str
    not_after: datetime
    fix: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "name": self.name,
            "not_after": self.not_after.isoformat(),
            "fix": self.fix,
        }


def endings(home: Home, inventory: Inventory, until: datetime) -> list[Ending]:
    """What ends before ``until`` or has ended, the soonest first.

    A CRL counts in the last quarter of its time only: it always ends soon, and is signed
    anew on a timer before that.
    """
    now = datetime.now(timezone.utc)
    found = [
        Ending(one.kind, one.name, _utc(one.not_after_s), _fix(one))
        for one in records_ending(home, inventory, until)
    ]
    path = crl_path(home)
    if path.exists():
        found += [
            Ending("crl", common_name(crl.issuer), next_update(crl), "keyfob ca crl")
            for crl in read_crls(path)
            if next_update(crl) < until and is_near_end(crl, now)
        ]
    return sorted(found, key=lambda one: (one.not_after, one.kind, one.name))


def records_ending(home: Home, inventory: Inventory, until: datetime) -> list[Record]:
    """The certificates in use that end before ``until``."""
    trusted = inventory.trusted_keys()
    gone = ("replaced", "revoked", "orphaned")
    return [
        one
        for one in inventory.records()
        if one.not_after_s < until.timestamp()
        and one.state(trusted) not in gone
        and (not one.folder or (home.root / one.folder).exists())
    ]


def _fix(record: Record) -> str:
    if record.kind == "ca":
        return f"keyfob ca rollover {'finish' if record.folder == 'ca/previous' else 'begin'}"
    if record.kind == "intermediate":
        return "keyfob ca intermediate --force"
    # The folder's name is one certificate's; a common name may be several brokers'.
    return f"keyfob cert renew {quote(Path(record.folder).name or record.name)}"


def _utc(moment_s: int) -> datetime:
    return datetime.fromtimestamp(moment_s, timezone.utc)
