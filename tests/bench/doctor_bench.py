"""A virtual bench to seed faults on: a board of either kind, real mosquitto, a tap, a time server.

`running` makes one that lives as long as its tests; `FaultBench.restore` gives each fault a
bench that is well and a board that boots. A fault is undone by what it pushed on `stack`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from firmware_bench import Mosquitto

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor.ladder import Ladder, climb
from keyfob_host.doctor.look import look
from keyfob_host.doctor.tap_daemon import start_tap, stop_tap, tap_of
from keyfob_host.flash.images import demo_image
from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.profiles import load_profile
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard
from keyfob_host.virtual.clock import BoardClock, forget_process

ESP32, ESP8266 = "virtual-esp32", "virtual-esp8266"
BOTH = (ESP32, ESP8266)
BROKER = "broker.keyfob.test"
DEVICE = "sensor-01"
DAY, DAY_S = timedelta(days=1), 86_400
USER = "use_identity_as_username true"  # a line of mosquitto's configuration
WAIT_S = 45.0
_NO_TLS_1_3 = """\
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = all
[all]
MaxProtocol = TLSv1.2
"""
# A file in /apps would hide the package of that name in a ROMFS image.
_AS_APPLICATION = """

class _Application:
    pass


_Application.run = run
import sys
import apps
apps.{name} = sys.modules["apps.{name}"] = _Application
from keyfob.start import main, shell
main()
"""


class FaultBench:
    """`running` makes one; `restore` gives each fault a bench that is well."""

    def __init__(self, folder: Path, ref: BoardRef, home: Home, ntp: NtpServer) -> None:
        self.folder, self.ref, self.home, self.ntp = folder, ref, home, ntp
        assert ref.virtual is not None
        self.virtual: VirtualBoard = ref.virtual
        self.kind = ref.kind.name
        self.authority = Authority.ephemeral(
            "Bench CA", profile=load_profile("root", kind="authority")
        )
        self.device = self.authority.issue_device(DEVICE)
        self.identity_dir = folder / "identity" / BROKER
        self.broker_port = 0
        self.broker: MosquittoBroker | None = None
        self.other: Mosquitto | MosquittoWith | None = None
        self.stack = contextlib.ExitStack()
        self._given: tuple[Any, ...] = ()
        self._mark = 0  # where its log was when it was last told to boot

    @property
    def port(self) -> int:
        """Where the board connects."""
        tap = tap_of(self.home.broker_dir)
        return tap.port if tap else self.broker_port

    def restore(self) -> None:
        """Undo what the last fault did, and let the board boot."""
        self.stack.close()
        self.virtual.link(None)
        self.virtual.wifi(True)
        self.ntp.mode, self.ntp.offset_s = Mode.OK, 0.0
        self.keep(self.device)
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

    # -- the broker

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

    def serve_otherwise(
        self,
        *lines: str,
        identity: Identity | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
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
        if environment:
            made = MosquittoWith(folder, [*files, *lines], self.broker_port, environment)
            self.other = made
        else:
            self.other = Mosquitto(folder, [*files, *lines], self.broker_port)

    # -- the board

    def keep(self, identity: Identity) -> None:
        """Have it among the bench's identities, as the command that issues it does."""
        identity.write(self.home.certs_dir / "device" / DEVICE, force=True)

    def provision(self, identity: Identity | None = None, **settings: Any) -> None:
        """Identity and settings, whatever they are, and a boot."""
        given = {"broker": f"{BROKER}:{self.port}", "app": {"period_s": 1}, **settings}
        given.setdefault("ntp", [f"ntp.keyfob.test:{self.ntp.port}"])
        given["app"] = {"name": self.ref.kind.app, **given["app"]}
        wanted = (identity or self.device, given)
        if self._given == wanted:
            self.reboot()
            return
        if self._given and set(self._given[1]) - set(given):
            # What was set for another fault would stay, as settings do.
            self.edit("/keyfob.json", lambda _: b"{}", reboots=False)
        self.mark()
        provision_board(self.ref, wanted[0], Settings(**given), checked=False)
        self._given = wanted

    def edit(
        self, path: str, change: Callable[[bytes], bytes | None], *, reboots: bool = True
    ) -> None:
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
        if reboots:
            self.reboot()

    @property
    def slot(self) -> str:
        """The identity slot that is active."""
        with open_transport(self.ref) as board:
            return board.read("/id/active").decode()

    def put(self, **files: bytes) -> None:
        """Files on the board, by their names with an underscore for each dot."""
        with open_transport(self.ref) as board:
            for name, content in files.items():
                board.write("/" + name.replace("__", "/").replace("_", "."), content)

    def run(self, program: str, *, reboots: bool = True, **files: bytes) -> None:
        """A program of the user's own instead of Keyfob's, until the next fault.

        ``files`` are in the board's root, as `put` names them.
        """
        with open_transport(self.ref) as board:
            ours = board.read("/main.py")
        self.stack.callback(self.put, main_py=ours)
        self.put(main_py=program.encode(), **files)
        if reboots:
            self.reboot()

    def app(self, name: str, text: str, **settings: Any) -> None:
        """An application instead of the kind's own, until the next fault: it defines ``run``."""
        self.run(text + _AS_APPLICATION.format(name=name), reboots=False)
        self.provision(**settings, app={"name": name})

    def reboot(self) -> None:
        """Press its button."""
        self.mark()
        self.virtual.reset()

    def mark(self) -> None:
        """It boots next: `wait_console` looks only at what it says from then on."""
        self._mark = Path(self.virtual.info()["log"]).stat().st_size

    def wait_console(self, *texts: str, start: str = '"ev":"boot"') -> None:
        """Until one of them is among what it printed since its last boot."""
        path, end = Path(self.virtual.info()["log"]), time.monotonic() + WAIT_S
        while time.monotonic() < end:
            said = path.read_bytes()[self._mark :].decode(errors="replace")
            said = said.rpartition(start)[2] if start in said else ""
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

    # -- what is asked

    def diagnose(self) -> Ladder:
        """As ``keyfob doctor`` does it."""
        log = self.folder / "other" / "mosquitto.log" if self.other else None
        return climb(look(self.ref, self.home, broker_log=log))


class MosquittoWith:
    """A mosquitto as `Mosquitto`, with more in its environment: another clock, other defaults."""

    def __init__(
        self, folder: Path, lines: list[str], port: int, environment: dict[str, str]
    ) -> None:
        config = [f"listener {port} 127.0.0.1", "log_type all", "user root", *lines]
        (folder / "mosquitto.conf").write_text("\n".join(config) + "\n")
        path = folder / "mosquitto.log"
        with path.open("wb") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(folder / "mosquitto.conf")],
                stdout=log, stderr=log, env={**os.environ, **environment},
            )  # fmt: skip
        end = time.monotonic() + WAIT_S
        while b" running" not in path.read_bytes():
            assert self._process.poll() is None and time.monotonic() < end, path.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        forget_process(self._process.pid)


def clock_of(folder: Path, offset_s: float) -> dict[str, str]:
    """The environment of a process whose clock is so far ahead of this host's."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = BoardClock(folder / "clock")
    clock.set(time.time() + offset_s)
    return clock.environment()


def no_tls_1_3(folder: Path) -> dict[str, str]:
    """The environment of a mosquitto without TLS 1.3, which its configuration cannot forbid.

    A virtual ESP8266's own TLS offers 1.3 with suites of 1.2, as no axTLS does.
    """
    path = folder / "openssl.cnf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_NO_TLS_1_3)
    return {"OPENSSL_CONF": str(path)}


@contextlib.contextmanager
def running(folder: Path, kind: str = ESP32) -> Iterator[FaultBench]:
    """A bench in ``folder``, ended afterwards."""
    home = Home(folder / "home")
    home.ensure()
    virtual = VirtualBoard.up(home, kind, powered=False)
    try:
        ref = open_board(kind, home=home)
        with Path(virtual.info()["flash"]).open("r+b") as flash:
            flash.seek(ref.kind.flash.offset)
            is_esp32 = kind == ESP32
            flash.write(demo_image(home).read_bytes() if is_esp32 else esp8266_stand_in())
        virtual.power(True)
        sync_board(ref, reset=False)
        with NtpServer() as ntp:
            bench = FaultBench(folder, ref, home, ntp)
            try:
                yield bench
            finally:
                bench.end()
    finally:
        virtual.down()


@dataclass(frozen=True)
class Fault:
    """``row``: of the field's catalogue, None for one that has none; ``codes``: all that the
    verdict may be; ``kinds``: of board that can fail so."""

    name: str
    row: int | None
    codes: tuple[str, ...]
    make: Callable[[FaultBench], None]
    is_quick: bool = False
    kinds: tuple[str, ...] = BOTH


def now() -> datetime:
    """This moment."""
    return datetime.now(timezone.utc)


def serve(bench: FaultBench, identity: Identity, **how: Any) -> None:
    """The broker with this one, and a board that boots."""
    bench.serve(identity, **how)
    bench.reboot()


def issued(bench: FaultBench, name: str = BROKER, **how: Any) -> Identity:
    """A broker's identity of the bench's CA."""
    return bench.authority.issue_broker(name, **how)


def old(days: int = 30) -> dict[str, datetime]:
    """The dates of a certificate that ended yesterday."""
    return {"not_before": now() - days * DAY, "not_after": now() - DAY}


def otherwise(*lines: str, **how: Any) -> Callable[[FaultBench], None]:
    """A mosquitto that is not the bench's, with these lines in its configuration."""

    def make(bench: FaultBench) -> None:
        bench.serve_otherwise(*lines, **how)
        bench.reboot()

    return make


def crl(bench: FaultBench, ends: timedelta, *serials: int) -> bytes:
    """A revocation list of the bench's CA, in PEM."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(bench.authority.cert.subject)
    builder = builder.last_update(now() - 9 * DAY).next_update(now() + ends)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial)
        builder = builder.add_revoked_certificate(entry.revocation_date(now() - 2 * DAY).build())
    signed = builder.sign(bench.authority.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
