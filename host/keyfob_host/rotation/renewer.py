"""Answer boards that ask for another certificate: judge, issue, deliver, one board or many.

A request that was granted is kept in ``renewer/issued/<id>/`` until its board is connected with the
certificate; only then it becomes that of ``certs/device/<id>/``. So a renewer that is
restarted goes on, and a board that asks again for the same key gets the same certificate.
The inventory knows it from the moment it is signed: a board that has it and does not say so
loses it with the rest when its name is revoked.
One connection serves all boards; each has at most one delivery under way.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient, Message
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import load_ca_cert, load_issuing_cert
from keyfob_host.pki.identity import Identity, Requested, read_issued
from keyfob_host.pki.inventory_disk import open_inventory, record_signed
from keyfob_host.pki.keys import public_der
from keyfob_host.pki.names import check_device_id
from keyfob_host.pki.profiles import load_profile
from keyfob_host.pki.revocation import refuse_revoked
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.keeping import keep
from keyfob_host.rotation.offer import certificate_files, make_offer
from keyfob_host.rotation.policy import Ledger, Policy, Refused, judge
from keyfob_host.rotation.sender import topic
from keyfob_host.rotation.state import BoardState, read_state

_FILTERS = ("devices/+/identity/request", "devices/+/identity/state")
_WAIT_S = 1.0
_SILENCE_S = 60.0  # an ESP8266 that judges a signature takes some of it


@dataclass(frozen=True)
class Decision:
    """``what``: "issued", "refused", "delivered" or "failed"; ``why`` in words."""

    device_id: str
    what: str
    why: str


@dataclass
class Renewer:
    """`run` answers until ``is_over``; ``on_decision`` is told each one, once."""

    home: Home
    authority: Authority
    policy: Policy
    on_decision: Callable[[Decision], None]
    is_over: Callable[[], bool] = lambda: False
    _states: dict[str, BoardState] = field(default_factory=dict)
    _deliveries: dict[str, Delivery] = field(default_factory=dict)
    _sent_s: dict[str, float] = field(default_factory=dict)
    _refused: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.home)

    def run(self, client: HostClient) -> None:
        """Over a connected client. Errors: ``broker.*`` when the connection ends;
        ``renewer.other-ca``."""
        for one in _FILTERS:
            client.subscribe(one)
        while not self.is_over():
            try:
                message = client.wait_message("devices/+/identity/+", timeout_s=_WAIT_S)
            except KeyfobHostError as error:
                if error.code != "broker.no-message" or "connection ended" in error.evidence:
                    raise
                self._remind(client)
                continue
            self.take(client, message)

    def take(self, client: HostClient, message: Message) -> None:
        """One message of a board's."""
        device_id, name = message.topic.split("/")[1], message.topic.split("/")[3]
        try:
            check_device_id(device_id)
        except KeyfobHostError:
            return
        if name == "request" and message.payload:
            self._asked(device_id, message.payload)
        elif name == "state":
            state = read_state(message.payload)
            if state is None:
                return
            self._states[device_id] = state
        self._go_on(client, device_id)

    def _remind(self, client: HostClient) -> None:
        """Boards that were sent something and are silent get it again, which harms nothing."""
        now_s = time.monotonic()
        for device_id, delivery in self._deliveries.items():
            if delivery.last and now_s - self._sent_s.get(device_id, now_s) > _SILENCE_S:
                self._sent_s[device_id] = now_s
                client.publish(topic(device_id, "set"), delivery.last)

    def _asked(self, device_id: str, payload: bytes) -> None:
        self._check_signs_still()
        try:
            request = judge(self.home, self.policy, device_id, payload)
            kept = self._kept(device_id)
            wanted = public_der(request.public_key)
            if kept is not None and public_der(kept.cert.public_key()) == wanted:
                return  # issued already, and on its way
            self._ledger.check(self.policy, device_id)
            issued = self.authority.issue_from_request(
                request, device_id=device_id, days=self.policy.days,
                profile=load_profile(self.policy.profile, kind="device"),
            )  # fmt: skip
            record_signed(self.home, issued.cert, self.policy.profile)
            issued.write(self._folder(device_id), force=True)
            self._ledger.note(device_id)
        except Refused as why:
            self._refuse(device_id, payload, str(why))
            return
        except KeyfobHostError as error:
            self._refuse(device_id, payload, f"{error.code}: {error.evidence or error.cause}")
            return
        self._deliveries.pop(device_id, None)
        until = f"{issued.cert.not_valid_after_utc:%Y-%m-%d}"
        self.on_decision(Decision(device_id, "issued", f"valid until {until}, key of the board's"))

    def _check_signs_still(self) -> None:
        """A rollover may have gone by since the key was unlocked (``renewer.other-ca``)."""
        folder = self.home.ca_dir
        signing = load_issuing_cert(folder) or load_ca_cert(folder)
        if signing == self.authority.cert:
            return
        raise KeyfobHostError(
            "renewer.other-ca",
            "this bench signs with another CA since the renewer was started",
            evidence=f"started with {self.authority.cert.subject.rfc4514_string()}, serial "
            f"{self.authority.cert.serial_number:x}; now {signing.subject.rfc4514_string()}, "
            f"serial {signing.serial_number:x}",
            fix="keyfob renewer",
            status=ExitStatus.IDENTITY,
        )

    def _refuse(self, device_id: str, payload: bytes, why: str) -> None:
        # Told once: a board asks again each day, and the broker keeps its request.
        if self._refused.get(device_id) != (payload, why):
            self._refused[device_id] = (payload, why)
            self.on_decision(Decision(device_id, "refused", why))

    def _go_on(self, client: HostClient, device_id: str) -> None:
        """Send what is next for the board, if anything is under way."""
        state, kept = self._states.get(device_id), self._kept(device_id)
        if state is None or kept is None:
            return
        delivery = self._deliveries.get(device_id)
        is_there = state.cert == kept.cert.fingerprint(hashes.SHA256()).hex()[:16]
        if (is_there or delivery is None) and not self._still_counts(device_id, kept):
            return
        if is_there:
            self._done(client, device_id, kept)
            return
        if delivery is None:
            created_s = max(int(time.time()), state.created_s + 1)
            files = certificate_files(kept)
            delivery = Delivery(make_offer(device_id, files, self.authority.key, created_s))
            self._deliveries[device_id] = delivery
        try:
            message = delivery.next(state, time.monotonic())
            if message is not None:
                self._sent_s[device_id] = time.monotonic()
                client.publish(topic(device_id, "set"), message)
        except KeyfobHostError as error:
            if error.code.startswith("broker."):
                raise
            self._drop(device_id)
            evidence = error.evidence.splitlines()[0] if error.evidence else error.cause
            self.on_decision(Decision(device_id, "failed", f"{error.code}: {evidence}"))

    def _still_counts(self, device_id: str, kept: Identity | Requested) -> bool:
        """Whether it was not revoked since it was issued; what was is dropped."""
        inventory, _ = open_inventory(self.home)
        with inventory:
            try:
                refuse_revoked(inventory, kept.cert, device_id)
            except KeyfobHostError as error:
                if error.code != "cert.revoked":
                    raise
                self._drop(device_id)
                self.on_decision(Decision(device_id, "failed", f"{error.code}: {error.evidence}"))
                return False
        return True

    def _done(self, client: HostClient, device_id: str, kept: Identity | Requested) -> None:
        keep(self.home, device_id, kept, self.policy.profile)
        self._drop(device_id)
        client.publish(topic(device_id, "request"), b"", retain=True)  # it is answered
        self.on_decision(Decision(device_id, "delivered", "the board is connected with it"))

    def _kept(self, device_id: str) -> Identity | Requested | None:
        """What was issued, and is on its way."""
        folder = self._folder(device_id)
        return read_issued(folder) if folder.is_dir() else None

    def _drop(self, device_id: str) -> None:
        self._deliveries.pop(device_id, None)
        folder = self._folder(device_id)
        with explain_os_error(folder, "remove what was delivered"):
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, device_id: str) -> Path:
        return self.home.root / "renewer" / "issued" / device_id
