"""A provisioned virtual board of either kind, its broker behind a relay, and its CA."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.console import Console, Event
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity, Issued
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.relay import TcpRelay
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.offer import Offer, make_offer
from keyfob_host.rotation.state import BoardState, read_state
from keyfob_host.sync import sync_board
from keyfob_host.virtual import VirtualBoard

NAME = "broker.keyfob.test"
DEVICE_ID = "sensor-01"
WAIT_S = 60.0
_SILENCE_S = 8.0
STATE = f"devices/{DEVICE_ID}/identity/state"
SET = f"devices/{DEVICE_ID}/identity/set"


def fingerprint(der: bytes) -> str:
    """As the board tells it."""
    return hashlib.sha256(der).hexdigest()[:16]


@dataclass
class Rig:
    """``device``: the identity that the board was provisioned with."""

    ref: BoardRef
    virtual: VirtualBoard
    broker: MosquittoBroker
    relay: TcpRelay
    ntp: NtpServer
    authority: Authority
    device: Identity
    console: Console
    client: HostClient
    folder: Path
    last: BoardState = field(init=False)  # what `state` returned
    since: int = 0  # events before are of another test

    def offer(self, files: dict[str, bytes], **how: Any) -> Offer:
        """An offer of ``files`` as the bench's CA signs it, made now."""
        created_s = how.get("created_s") or self._next_s()
        key = how.get("key", self.authority.key)
        return make_offer(how.get("device_id", DEVICE_ID), files, key, created_s)

    def state(
        self, fits: Callable[[BoardState], bool] = lambda _: True, wait_s: float = WAIT_S
    ) -> BoardState:
        """The next state of the board that fits; it is published on each connection."""
        found: list[BoardState] = []

        def take(message: Any) -> bool:
            state = read_state(message.payload)
            found.extend([state] if state is not None and fits(state) else [])
            return bool(found)

        self.client.wait_message(STATE, take, wait_s)
        self.last = found[-1]
        return self.last

    def send(self, payload: bytes) -> None:
        self.client.publish(SET, payload)

    def begin(self, offer: Offer) -> Delivery:
        """``offer`` is sent; `step` goes on."""
        delivery = Delivery(offer)
        message = delivery.next(BoardState("", "", 0, 978, 512), time.monotonic())
        assert message is not None
        self.send(message)
        return delivery

    def step(self, delivery: Delivery) -> bytes | None:
        """What is to be sent now that the board has told its state. It is sent the last
        message again if it does not, as `keyfob_host.rotation.sender` does."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                return delivery.next(self.state(wait_s=_SILENCE_S), time.monotonic())
            except KeyfobHostError as error:
                if error.code != "broker.no-message" or time.monotonic() > end:
                    raise
                self.send(delivery.last or b"state")

    def deliver(self, offer: Offer) -> None:
        """Bring ``offer`` to the board. Errors: those of `Delivery.next`."""
        delivery = self.begin(offer)
        while not delivery.is_committed:
            message = self.step(delivery)
            if message is not None:
                self.send(message)

    def event(self, name: str, **fields: Any) -> Event:
        return self.console.wait_event(
            name,
            lambda one: all(one.get(key) == value for key, value in fields.items()),
            timeout_s=WAIT_S,
            since=self.since,
        )

    def events(self, name: str) -> list[Event]:
        return [one for one in self.console.events[self.since :] if one["ev"] == name]

    def forget_events(self) -> None:
        self.since = self.console.mark()

    def forget(self) -> None:
        """What the board told so far."""
        self.forget_events()
        with contextlib.suppress(KeyfobHostError):
            while True:
                self.client.wait_message("#", timeout_s=0.0)

    def identity(self) -> str:
        """What it connected with last: 16 hex digits of the certificate's SHA-256."""
        return [str(one["cert"]) for one in self.console.events if one["ev"] == "store.loaded"][-1]

    def reissued(self, name: str = DEVICE_ID, **how: Any) -> Issued:
        """A certificate for the key that the board was provisioned with."""
        template = self.authority.issue_device(name, **how).cert
        builder = x509.CertificateBuilder(
            template.issuer, template.subject, self.device.key.public_key(),
            x509.random_serial_number(), template.not_valid_before_utc,
            template.not_valid_after_utc,
        )  # fmt: skip
        for one in template.extensions:
            if one.oid != x509.SubjectKeyIdentifier.oid:
                builder = builder.add_extension(one.value, one.critical)
        cert = builder.sign(self.authority.key, hashes.SHA256())
        return Issued(cert=cert, anchors=self.authority.anchors)

    def host(self) -> HostClient:
        """Another client of the host's."""
        folder = self.folder / "id" / "keyfob-host"
        return HostClient("127.0.0.1", self.broker.port, folder, self.folder / "ca.pem", NAME)

    def _next_s(self) -> int:
        """Newer than all that the board may have: it has seen no other offers than these."""
        self._made_s = max(self._made_s, int(time.time())) + 1
        return self._made_s

    _made_s = 0


@contextlib.contextmanager
def rotation_rig(
    folder: Path,
    kind: str = "virtual-esp32",
    dates: dict[str, Any] | None = None,
    version: int = 4,
) -> Iterator[Rig]:
    """The board runs its application. ``dates``: of its certificate. ``version``: of MQTT."""
    authority = Authority.ephemeral(common_name="Bench CA")
    (folder / "ca.pem").write_bytes(authority.cert_pem())
    authority.issue_broker(NAME).write(folder / "id" / NAME)
    authority.issue_host().write(folder / "id" / "keyfob-host")
    identity = authority.issue_device(DEVICE_ID, **(dates or {}))
    home = Home(folder / "home")
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(
            MosquittoBroker(
                folder / "run", identity_dir=folder / "id" / NAME,
                ca_pem_path=folder / "ca.pem", host_identity_dir=folder / "id" / "keyfob-host",
            )
        )  # fmt: skip
        relay = stack.enter_context(TcpRelay(("127.0.0.1", broker.port)))
        ntp = stack.enter_context(NtpServer())
        virtual = VirtualBoard.up(home, kind)
        stack.callback(virtual.down)
        ref = open_board(kind, home=home)
        flash_board(ref, default_image(ref.kind, home))
        sync_board(ref, reset=False)
        settings = Settings(
            broker=f"{NAME}:{relay.port}", ntp=[f"ntp.keyfob.test:{ntp.port}"],
            app={"period_s": 1}, extra={"broker.keepalive_s": 5, "broker.version": version},
        )  # fmt: skip
        provision_board(ref, identity, settings, reset=False)
        client = stack.enter_context(
            HostClient(
                "127.0.0.1", broker.port, folder / "id" / "keyfob-host", folder / "ca.pem", NAME
            )
        )
        client.subscribe(f"devices/{DEVICE_ID}/identity/#")
        console = stack.enter_context(Console(ref.stream_url))
        virtual.reset()
        yield Rig(ref, virtual, broker, relay, ntp, authority, identity, console, client, folder)
