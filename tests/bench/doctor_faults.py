"""Faults of the catalogue, seeded on a virtual bench, and the cause that each must be told as.

One virtual ESP32 with the whole firmware, real mosquitto behind a tap, a time server. Each
fault begins with a bench that is well and a board that boots. Certificates come from
Keyfob's authority where it makes such ones, else from `certificates`.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from certificates import as_version_1, make_ca, make_leaf
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from firmware_bench import Mosquitto
from provision_bench import KIND, powered_board

from keyfob_host.boards import BoardRef
from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor.ladder import Ladder, climb
from keyfob_host.doctor.look import look
from keyfob_host.doctor.tap_daemon import start_tap, stop_tap, tap_of
from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient
from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.profiles import load_profile
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard

BROKER = "broker.keyfob.test"
DEVICE = "sensor-01"
DAY = timedelta(days=1)
WAIT_S = 45.0


class FaultBench:
    """`running` makes one; `restore` gives each fault a bench that is well."""

    def __init__(self, folder: Path, ref: BoardRef, home: Home, ntp: NtpServer) -> None:
        self.folder, self.ref, self.home, self.ntp = folder, ref, home, ntp
        assert ref.virtual is not None
        self.virtual: VirtualBoard = ref.virtual
        self.authority = Authority.ephemeral(
            "Bench CA", profile=load_profile("root", kind="authority")
        )
        self.device = self.authority.issue_device(DEVICE)
        self.device.write(home.certs_dir / "device" / DEVICE)
        self.identity_dir = folder / "identity" / BROKER
        self.broker_port = 0
        self.broker: MosquittoBroker | None = None
        self.other: Mosquitto | None = None
        self.stack = contextlib.ExitStack()
        self._given: tuple[Any, ...] = ()
        self._mark = 0  # where its log was when it was last told to boot

    @property
    def port(self) -> int:
        """Where the board connects."""
        tap = tap_of(self.home.broker_dir)
        assert tap is not None
        return tap.port

    def restore(self) -> None:
        """Undo what the last fault did, and let the board boot."""
        self.stack.close()
        self.virtual.link(None)
        self.virtual.wifi(True)
        self.ntp.mode, self.ntp.offset_s = Mode.OK, 0.0
        self.serve(self.authority.issue_broker(BROKER))
        if tap_of(self.home.broker_dir) is None:
            target = ("127.0.0.1", self.broker_port)
            start_tap(self.home.broker_dir, "127.0.0.1", 0, target)
        self.provision()

    def end(self) -> None:
        self.stack.close()
        self.end_brokers()
        stop_tap(self.home.broker_dir)

    def end_brokers(self) -> None:
        for one in (self.broker, self.other):
            if one is not None:
                one.stop()
        self.broker = self.other = None

    def serve(
        self,
        identity: Identity,
        *,
        ca: Authority | None = None,
        crl: bytes | None = None,
        chain: bytes | None = None,
    ) -> None:
        """Run the bench's broker with these on its port."""
        self.end_brokers()
        identity.write(self.identity_dir, force=True)
        if chain is not None:
            (self.identity_dir / "chain.pem").write_bytes(chain)
        (self.folder / "ca.pem").write_bytes((ca or self.authority).cert_pem())
        if crl is not None:
            (self.folder / "crl.pem").write_bytes(crl)
        broker = MosquittoBroker(
            self.home.broker_dir, identity_dir=self.identity_dir,
            ca_pem_path=self.folder / "ca.pem", port=self.broker_port,
            crl_path=self.folder / "crl.pem" if crl else None,
        )  # fmt: skip
        broker.start()
        self.broker, self.broker_port = broker, broker.port

    def serve_otherwise(self, *lines: str, identity: Identity | None = None) -> None:
        """Run a mosquitto that is not the bench's, its configuration as given, on the port."""
        self.end_brokers()
        folder = self.folder / "other"
        (identity or self.authority.issue_broker(BROKER)).write(folder / "id", force=True)
        (folder / "ca.pem").write_bytes(self.authority.cert_pem())
        files = [
            f"cafile {folder}/ca.pem",
            f"certfile {folder}/id/chain.pem",
            f"keyfile {folder}/id/key.pem",
            "require_certificate true",
        ]
        self.other = Mosquitto(folder, [*files, *lines], self.broker_port)

    def provision(self, identity: Identity | None = None, **settings: Any) -> None:
        """Identity and settings, whatever they are, and a boot."""
        given = {"broker": f"{BROKER}:{self.port}", "app": {"period_s": 1}, **settings}
        given.setdefault("ntp", [f"ntp.keyfob.test:{self.ntp.port}"])
        wanted = (identity or self.device, given)
        if self._given == wanted:
            self.reboot()
            return
        self.mark()
        provision_board(self.ref, wanted[0], Settings(**given), checked=False)
        self._given = wanted

    def edit(self, path: str, change: Callable[[bytes], bytes | None]) -> None:
        """Change a file on the board (None removes it), and let it boot; ``SLOT``: the active."""
        self._given = ()
        self.mark()
        with open_transport(self.ref) as board:
            path = path.replace("SLOT", board.read("/id/active").decode())
            content = change(board.read(path))
            if content is None:
                board.exec(f"import os\nos.remove({path!r})", doing="removing a file")
            else:
                board.write(path, content)
        self.reboot()

    def reboot(self) -> None:
        """Press its button."""
        self.mark()
        self.virtual.reset()

    def mark(self) -> None:
        """It boots next: `wait_console` looks only at what it says from then on."""
        self._mark = Path(self.virtual.info()["log"]).stat().st_size

    def wait_console(self, *texts: str) -> None:
        """Until one of them is among what it printed since its last boot."""
        path, end = Path(self.virtual.info()["log"]), time.monotonic() + WAIT_S
        while time.monotonic() < end:
            said = path.read_bytes()[self._mark :].decode(errors="replace")
            said = said.rpartition('"ev":"boot"')[2] if '"ev":"boot"' in said else ""
            if any(text in said for text in texts):
                return
            time.sleep(0.05)
        raise AssertionError(f"waited {WAIT_S} s in vain for {texts}")

    def wait_log(self, text: str, times: int) -> None:
        """Until the bench's broker has said it so often since its start."""
        assert self.broker is not None
        end = time.monotonic() + WAIT_S
        while self.broker.log().count(text) < times:
            assert time.monotonic() < end, f"waited {WAIT_S} s in vain for {text!r}"
            time.sleep(0.05)

    def diagnose(self) -> Ladder:
        """As ``keyfob doctor`` does it."""
        log = self.folder / "other" / "mosquitto.log" if self.other else None
        return climb(look(self.ref, self.home, broker_log=log))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[FaultBench]:
    """A bench in ``folder``, ended afterwards."""
    with powered_board(folder) as ref, NtpServer() as ntp:
        sync_board(ref, reset=False)
        home = Home(folder / "home")
        home.ensure()
        bench = FaultBench(folder, ref, home, ntp)
        try:
            yield bench
        finally:
            bench.end()


@dataclass(frozen=True)
class Fault:
    """``row``: of the field's catalogue, None for one that has none; ``codes``: all that the
    verdict may be."""

    name: str
    row: int | None
    codes: tuple[str, ...]
    make: Callable[[FaultBench], None]
    is_quick: bool = False


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _serve(bench: FaultBench, identity: Identity, **how: Any) -> None:
    bench.serve(identity, **how)
    bench.reboot()


def _broker(bench: FaultBench, name: str = BROKER, **how: Any) -> Identity:
    return bench.authority.issue_broker(name, **how)


def _old(days: int = 30) -> dict[str, datetime]:
    return {"not_before": _now() - days * DAY, "not_after": _now() - DAY}


def _not_reloaded(bench: FaultBench) -> None:
    _serve(bench, _broker(bench, **_old()))
    _broker(bench).write(bench.identity_dir, force=True)


def _board_ahead(bench: FaultBench) -> None:
    # The board keeps the latest time it has seen, so that has to be undone.
    bench.stack.callback(bench.edit, "/clock", lambda _: None)
    bench.ntp.offset_s = 7 * 365.25 * 86_400
    bench.reboot()


def _floor_ahead(bench: FaultBench) -> None:
    _board_ahead(bench)
    bench.wait_console("store.expired")
    bench.ntp.offset_s = 0.0
    bench.reboot()


def _far_time(bench: FaultBench) -> None:
    bench.ntp.offset_s = -30 * 365.25 * 86_400
    bench.reboot()


def _silent_time(bench: FaultBench) -> None:
    bench.ntp.mode = Mode.SILENT
    bench.reboot()


def _no_intermediate(bench: FaultBench) -> None:
    below = bench.authority.issue_intermediate()
    device = below.issue_device(DEVICE)
    device.write(bench.home.certs_dir / "device" / DEVICE, force=True)
    bench.stack.callback(
        lambda: bench.device.write(bench.home.certs_dir / "device" / DEVICE, force=True)
    )
    identity = below.issue_broker(BROKER)
    bench.serve(identity, chain=identity.cert_pem())
    bench.provision(device)


def _ca_version_1(bench: FaultBench) -> None:
    ca = make_ca()
    bench.provision(replace(bench.device, anchors=(_read(as_version_1(ca, ca).der),)))


def _same_subject(bench: FaultBench) -> None:
    ca = make_ca(DEVICE)
    pair = make_leaf(ca, DEVICE, usage=x509.ExtendedKeyUsageOID.CLIENT_AUTH)
    bench.provision(
        Identity(cert=_read(pair.der), anchors=bench.device.anchors, key=_key(pair.key_der()))
    )


def _read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _key(der: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _revoked(bench: FaultBench) -> None:
    _serve(bench, _broker(bench), crl=_crl(bench, DAY, bench.device.cert.serial_number))


def _overdue(bench: FaultBench) -> None:
    _serve(bench, _broker(bench), crl=_crl(bench, -DAY))


def _crl(bench: FaultBench, ends: timedelta, *serials: int) -> bytes:
    from cryptography.hazmat.primitives import hashes, serialization

    builder = x509.CertificateRevocationListBuilder().issuer_name(bench.authority.cert.subject)
    builder = builder.last_update(_now() - 9 * DAY).next_update(_now() + ends)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial)
        builder = builder.add_revoked_certificate(entry.revocation_date(_now() - 2 * DAY).build())
    signed = builder.sign(bench.authority.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _otherwise(*lines: str) -> Callable[[FaultBench], None]:
    def make(bench: FaultBench) -> None:
        bench.serve_otherwise(*lines)
        bench.reboot()

    return make


def _foreign_device(bench: FaultBench) -> None:
    foreign = Authority.ephemeral("Somebody else's CA").issue_device(DEVICE)
    bench.provision(replace(foreign, anchors=bench.device.anchors))


def _device(**how: Any) -> Callable[[FaultBench], None]:
    def make(bench: FaultBench) -> None:
        times = {key: _now() + value for key, value in how.items() if key.startswith("not_")}
        rest = {key: value for key, value in how.items() if key not in times}
        bench.provision(bench.authority.issue_device(DEVICE, **times, **rest))

    return make


def _edit(path: str, change: Callable[[bytes], bytes | None]) -> Callable[[FaultBench], None]:
    return lambda bench: bench.edit(path, change)


def _key_of_another(bench: FaultBench) -> None:
    bench.provision(replace(bench.device, key=ec.generate_private_key(ec.SECP256R1())))


def _does_not_start(files: Callable[[FaultBench], None]) -> Callable[[FaultBench], None]:
    """The bench's broker with something in its files that mosquitto refuses."""

    def make(bench: FaultBench) -> None:
        bench.end_brokers()
        files(bench)
        with contextlib.suppress(KeyfobHostError):
            MosquittoBroker(
                bench.home.broker_dir, identity_dir=bench.identity_dir,
                ca_pem_path=bench.folder / "ca.pem", port=bench.broker_port,
            ).start()  # fmt: skip
        bench.reboot()

    return make


def _other_key(bench: FaultBench) -> None:
    other = _broker(bench)
    (bench.identity_dir / "cert.pem").write_bytes(other.cert_pem())
    (bench.identity_dir / "chain.pem").write_bytes(other.chain_pem())


def _plain_port(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.other = Mosquitto(bench.folder / "other", ["allow_anonymous true"], bench.broker_port)
    bench.reboot()


def _stopped(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.reboot()


def _no_wifi(bench: FaultBench) -> None:
    bench.virtual.wifi(False)
    bench.reboot()
    bench.wait_console('"code":"wifi.')


def _many(bench: FaultBench) -> None:
    import socket

    bench.serve_otherwise("use_identity_as_username true", "max_connections 1")
    bench.stack.enter_context(socket.create_connection(("127.0.0.1", bench.broker_port), 5))
    bench.reboot()


def _denied(bench: FaultBench) -> None:
    acl = bench.folder / "acl"
    acl.write_text("pattern read devices/%u/#\n")
    bench.serve_otherwise(
        "use_identity_as_username true", f"acl_file {acl}", "allow_anonymous false"
    )
    bench.reboot()


def _powered_off(bench: FaultBench) -> None:
    bench.virtual.power(False)
    bench.stack.callback(lambda: bench.virtual.power(True))


def _weak_key(bench: FaultBench) -> None:
    weak = make_leaf(
        make_ca(),
        BROKER,
        (BROKER,),
        key=rsa.generate_private_key(65537, 1024),  # noqa: S505
    )
    (bench.identity_dir / "cert.pem").write_bytes(weak.chain_pem())
    (bench.identity_dir / "chain.pem").write_bytes(weak.chain_pem())
    (bench.identity_dir / "key.pem").write_bytes(weak.key_pem())


def _pem_for_der(bench: FaultBench) -> None:
    """As an uploader that converts nothing leaves it, its hash right."""
    pem = bench.device.cert_pem()
    bench.edit("/id/SLOT/cert.der", lambda _: pem)

    def manifest(content: bytes) -> bytes:
        der = hashlib.sha256(bench.device.cert_der()).hexdigest()
        return content.replace(der.encode(), hashlib.sha256(pem).hexdigest().encode())

    bench.edit("/id/SLOT/manifest.json", manifest)


def _same_client(bench: FaultBench) -> None:
    """Another of that name, which comes back as often as it is thrown out."""
    stop = threading.Event()

    def come_back() -> None:
        folder = bench.home.certs_dir / "device" / DEVICE
        while not stop.wait(0.2):
            client = HostClient(
                "127.0.0.1", bench.broker_port, folder, folder / "ca.pem", BROKER, client_id=DEVICE
            )
            with contextlib.suppress(KeyfobHostError), client:
                stop.wait(0.7)

    thread = threading.Thread(target=come_back, daemon=True)
    bench.stack.callback(thread.join, 20)
    bench.stack.callback(stop.set)
    thread.start()
    bench.reboot()
    bench.wait_log("already connected, closing old", 4)


_BUSY = b"""\
import asyncio, time
from keyfob.client import Client


def run(settings):
    return work(settings)


async def work(settings):
    async with Client(settings) as client:
        await client.connected()
        await asyncio.sleep(1)
        while True:
            time.sleep(9)
            await asyncio.sleep(1)
"""


def _busy(bench: FaultBench) -> None:
    with open_transport(bench.ref) as board:
        board.write("/apps/busy.py", _BUSY)
    bench.provision(app={"name": "busy"}, extra={"broker.keepalive_s": 5})
    bench.wait_log("exceeded timeout", 1)


def _silent_peer(bench: FaultBench) -> None:
    bench.virtual.link("stall", at_byte=0, direction="both")
    bench.reboot()
    bench.wait_console('"code":"tls.')


def _below_intermediate(bench: FaultBench) -> None:
    below = bench.authority.issue_intermediate()
    bench.serve(below.issue_broker(BROKER))
    bench.provision(below.issue_device(DEVICE))


def _broker_restarted(bench: FaultBench) -> None:
    bench.wait_console('"ev":"mqtt.up"')
    assert bench.broker is not None
    bench.broker.restart()
    bench.wait_console('"ev":"mqtt.down"')
    bench.wait_log("Sending SUBACK to sensor-01", 1)


def _wifi_lost(bench: FaultBench) -> None:
    bench.wait_console('"ev":"mqtt.up"')
    bench.virtual.wifi(False)
    bench.wait_console('"ev":"wifi.down"')
    bench.virtual.wifi(True)
    bench.wait_log("Sending SUBACK to sensor-01", 2)


# Benches that are well, in which nothing may be found.
WELL: dict[str, Callable[[FaultBench], None]] = {
    "as-it-is": lambda bench: None,
    "with-a-revocation-list": lambda bench: _serve(bench, _broker(bench), crl=_crl(bench, DAY)),
    "broker-with-rsa": lambda bench: _serve(bench, _broker(bench, key_type="rsa2048")),
    "below-an-intermediate": _below_intermediate,
    "mqtt-5": lambda bench: bench.provision(extra={"broker.version": 5}),
    "after-a-restart-of-the-broker": _broker_restarted,
    "after-a-loss-of-wifi": _wifi_lost,
}

USER = "use_identity_as_username true"
FAULTS = (
    Fault("silent-time-server", 1, ("clock.no-ntp-answer",), _silent_time),
    Fault("issued-in-the-future", 2, ("clock.issuer-ahead",), lambda bench: _serve(
        bench, _broker(bench, not_before=_now() + 3 * DAY, not_after=_now() + 9 * DAY))),
    Fault("broker-expired", 3, ("x509.broker-expired",),
          lambda bench: _serve(bench, _broker(bench, **_old())), True),
    Fault("broker-not-reloaded", 3, ("x509.broker-expired",), _not_reloaded),
    Fault("board-ahead", 4, ("clock.board-ahead",), _board_ahead),
    Fault("floor-ahead", 4, ("clock.board-ahead",), _floor_ahead),
    Fault("time-of-1996", None, ("clock.no-ntp-answer",), _far_time),
    Fault("another-ca", 5, ("x509.wrong-anchor",), lambda bench: _serve(
        bench, Authority.ephemeral("Somebody else's CA").issue_broker(BROKER))),
    Fault("ca-made-anew", 5, ("x509.wrong-anchor",), lambda bench: _serve(
        bench, Authority.ephemeral("Bench CA").issue_broker(BROKER))),
    Fault("no-intermediate", 6, ("x509.missing-intermediate",), _no_intermediate),
    Fault("ca-version-1", 7, ("x509.ca-without-ca-true",), _ca_version_1),
    Fault("same-subject", 8, ("x509.same-subject-twice",), _same_subject),
    Fault("wrong-name", 9, ("x509.name-not-in-san",),
          lambda bench: _serve(bench, _broker(bench, "other.keyfob.test"))),
    Fault("device-of-another-ca", 12, ("client-certificate.unknown-ca",), _foreign_device, True),
    Fault("device-expired", 13, ("client-certificate.expired",),
          _device(not_before=-30 * DAY, not_after=-DAY)),
    Fault("revoked", 15, ("client-certificate.revoked",), _revoked, True),
    Fault("crl-overdue", 16, ("client-certificate.crl-overdue",), _overdue),
    Fault("device-for-a-server", 17, ("client-certificate.wrong-usage",),
          _device(eku=("serverAuth",))),
    Fault("broker-for-a-client", 18, ("x509.broker-wrong-usage",),
          lambda bench: _serve(bench, _broker(bench, eku=("clientAuth",)))),
    Fault("key-of-another", 19, ("client-certificate.key-mismatch",), _key_of_another),
    Fault("cut-short", 22, ("store.truncated",), _edit("/id/SLOT/cert.der", lambda one: one[:200])),
    Fault("tls-1.3-only", 23, ("tls.version",), _otherwise(USER, "tls_version tlsv1.3")),
    Fault("no-shared-cipher", 24, ("tls.no-shared-cipher",),
          _otherwise(USER, "tls_version tlsv1.2", "ciphers DHE-RSA-AES128-SHA256")),
    Fault("broker-does-not-start", 28, ("tcp.listener-down",), _does_not_start(_other_key)),
    Fault("broker-stopped", 28, ("tcp.listener-down",), _stopped),
    Fault("plain-port", 29, ("tcp.wrong-port",), _plain_port),
    Fault("other-port", 29, ("tcp.wrong-port",),
          lambda bench: bench.provision(broker=f"{BROKER}:9")),
    Fault("no-such-name", 30, ("name.not-resolved",),
          lambda bench: bench.provision(broker="nowhere.invalid:8883")),
    Fault("not-mapped", 31, ("authorization.not-mapped",), _otherwise("allow_anonymous false")),
    Fault("denied-topic", 34, ("authorization.denied-topic",), _denied),
    Fault("oversize", 35, ("traffic.packet-too-large",),
          _otherwise(USER, "max_packet_size 100")),
    Fault("too-many-connections", 36, ("mqtt.too-many-connections",), _many),
    Fault("pem-for-der", 20, ("store.wrong-form",), _pem_for_der),
    Fault("rsa-1024", 27, ("x509.weak-algorithm",), _does_not_start(_weak_key)),
    Fault("two-of-one-name", 32, ("mqtt.same-client-id",), _same_client),
    Fault("too-busy", 33, ("traffic.keep-alive",), _busy),
    Fault("silent-peer", 37, ("tcp.silent",), _silent_peer),
    Fault("no-settings", None, ("settings.missing",), _edit("/keyfob.json", lambda _: None)),
    Fault("bad-setting", None, ("settings.missing",),
          _edit("/keyfob.json", lambda one: one.replace(b'"tls"', b'"verify"'))),
    Fault("no-access-point", None, ("wifi.no-access-point",), _no_wifi),
    Fault("wifi-password", None, ("wifi.password",), lambda bench: bench.provision(
        wifi_ssid="keyfob-bench", wifi_password="not the password")),
    Fault("power-off", None, ("serial.no-answer",), _powered_off),
)  # fmt: skip

# Rows of the field's catalogue without a fault above, and why.
NOT_REACHED = {
    10: "Keyfob's client always sends the server name",
    11: "Keyfob's client always sends its certificate",
    14: "not seeded yet: a broker whose clock is behind",
    21: "Keyfob's engine takes EC keys; only MicroPython's axTLS does not",
    25: "not seeded yet: a board without a piece of memory that is large enough",
    26: "not seeded yet: a chain larger than the board's buffer",
    38: "not seeded yet: it takes a cloud's broker",
}
KIND_OF_BENCH = KIND
