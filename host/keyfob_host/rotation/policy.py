"""Whether a board's request for another certificate is granted, and why not.

What speaks for the requester is the broker: its ACL lets only the client whose certificate
names a device write below that device's topics. So the topic must name a device of this
bench, the request the same one, and the device's certificate must not be revoked. The
request's own signature shows that its sender holds the new key. Not decided here: how often,
across restarts of the host (`Ledger` keeps that).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded, write_atomic
from keyfob_host.home import Home
from keyfob_host.pki import bench
from keyfob_host.pki.identity import Identity, Requested, read_issued
from keyfob_host.pki.inventory_disk import open_inventory
from keyfob_host.pki.keys import public_der
from keyfob_host.pki.request import CertificateRequest, check_request, read_request
from keyfob_host.pki.revocation import refuse_revoked, refuse_revoked_key

_DAY_S = 86_400
_MOST_KEPT = 64


class Refused(Exception):
    """A request is not granted; the text says why."""


@dataclass(frozen=True)
class Policy:
    """``within``: a certificate is renewed when it ends within that; None: when less than
    half of its life is left. ``per_day``: of one device. ``profile``, ``days``: of what is
    issued."""

    within: timedelta | None = None
    per_day: int = 2
    profile: str = "device"
    days: int | None = None


def judge(home: Home, policy: Policy, device_id: str, payload: bytes) -> CertificateRequest:
    """The request in ``payload``, which came on the topic of ``device_id``. Raises `Refused`."""
    try:
        folder = bench.device_dir(home, device_id)
        if not folder.is_dir():
            raise Refused("this bench has no such device")
        request = read_request(payload, source=f"the request of {device_id}")
        check_request(request, device_id=device_id, keys=None, profile_keys=("p256", "rsa2048"))
        present = read_issued(folder)
        inventory, _ = open_inventory(home)
        with inventory:
            refuse_revoked_key(inventory, present.name, request.public_key)
            refuse_revoked(inventory, present.cert, present.name)
    except KeyfobHostError as error:
        raise Refused(f"{error.code}: {error.evidence or error.cause}") from error
    if public_der(present.cert.public_key()) == public_der(request.public_key):
        raise Refused("its certificate in use is for this key already")
    _check_is_due(policy, present)
    return request


def _check_is_due(policy: Policy, present: Identity | Requested) -> None:
    begins, ends = present.cert.not_valid_before_utc, present.cert.not_valid_after_utc
    left = ends - datetime.now(timezone.utc)
    most = policy.within if policy.within is not None else (ends - begins) / 2
    if left > most:
        raise Refused(
            f"its certificate is valid until {ends:%Y-%m-%d}: {left.days} days are left, "
            f"it is renewed from {most.days} on"
        )


class Ledger:
    """When each device was issued a certificate last, in ``renewer/ledger.json``."""

    def __init__(self, home: Home) -> None:
        self._path: Path = home.root / "renewer" / "ledger.json"
        self._times: dict[str, list[int]] = {}
        if self._path.exists():
            try:
                told = json.loads(read_bounded(self._path, "read the renewer's ledger"))
                self._times = {str(name): [int(s) for s in times] for name, times in told.items()}
            except (ValueError, TypeError, AttributeError):
                self._times = {}  # it only limits how often; what follows is written anew

    def check(self, policy: Policy, device_id: str) -> None:
        """Raises `Refused` where the device had as many as it may have in a day."""
        since_s = time.time() - _DAY_S
        recent = [one for one in self._times.get(device_id, []) if one > since_s]
        if len(recent) >= policy.per_day:
            raise Refused(f"it had {len(recent)} within a day, at most {policy.per_day}")

    def note(self, device_id: str) -> None:
        """One was issued now."""
        self._times[device_id] = [*self._times.get(device_id, []), int(time.time())][-_MOST_KEPT:]
        write_atomic(self._path, json.dumps(self._times), mode=0o600)
