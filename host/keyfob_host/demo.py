"""The whole job, from an erased flash to a verified MQTT message and back.

Nothing here is special to the demonstration: each step is the call behind the command
of the same name, in a bench of its own below the user's (``demo/``), which is made anew
each time. What an earlier run left running, killed at whatever step, is ended first.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from keyfob_host.boards import BoardRef, load_kind, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.console import Console
from keyfob_host.device_errors import load_device_errors
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import demo_image
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient
from keyfob_host.ntp import Mode, NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.ui import Ui
from keyfob_host.virtual.board import VirtualBoard, running

KIND = "virtual-esp32"
BOARD = "demo"
DEVICE = "sensor-01"
BROKER = "broker.keyfob.test"
NTP = "ntp.keyfob.test"

_EVENT_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Breakage:
    """A mistake made on purpose: what it is, how to make it, the codes a board may say."""

    title: str
    make: Callable[[Demo], None]
    codes: tuple[str, ...]


class Demo:
    """One run: the parts as they come to life, and what was seen of them."""

    def __init__(self, home: Home, ui: Ui, stack: ExitStack) -> None:
        self.home = home
        self.ui = ui
        self.stack = stack
        self.started = time.monotonic()
        self.number = 0
        self.seen: dict[str, Any] = {}

    # -- the parts, in the order they come to life

    authority: Authority
    broker: MosquittoBroker
    ntp: NtpServer
    board: VirtualBoard
    ref: BoardRef
    console: Console
    client: HostClient

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One numbered line with its time; what the body appends stands below it."""
        self.number += 1
        notes: list[str] = []
        began = time.monotonic()
        yield notes
        self.ui.step(f"{self.number:>2}  {title:<56}{time.monotonic() - began:>7.2f} s")
        for note in notes:
            self.ui.step(f"    {note}")

    def prepare(self) -> None:
        """End what an earlier run left, and begin with an empty bench."""
        self.end_boards()
        leftover = MosquittoBroker.attach(self.home.broker_dir)
        if leftover is not None:
            leftover.stop()
        with explain_os_error(self.home.root, "empty the demonstration's bench"):
            if self.home.root.exists():
                shutil.rmtree(self.home.root)
        self.home.ensure()

    def end_boards(self) -> None:
        for board in running(self.home):
            board.down()

    def make_identities(self) -> None:
        with self.step("certificate authority") as notes:
            self.authority = Authority.create(self.home.ca_dir)
            notes.append(self.authority.cert.subject.rfc4514_string())
        with self.step("broker certificate and device identity") as notes:
            broker = self.authority.issue_broker(BROKER, [f"DNS:{BROKER}", "IP:127.0.0.1"])
            broker.write(self.broker_identity)
            self.authority.issue_device(DEVICE).write(self.device_identity)
            self.authority.issue_host().write(self.host_identity)
            notes.append(f"{BROKER}: serverAuth, SAN DNS:{BROKER}, IP:127.0.0.1")
            notes.append(f"{DEVICE}: clientAuth, key P-256, mode 0600")

    @property
    def broker_identity(self) -> Path:
        return self.home.certs_dir / "broker" / BROKER

    @property
    def device_identity(self) -> Path:
        return self.home.certs_dir / "device" / DEVICE

    @property
    def host_identity(self) -> Path:
        return self.home.certs_dir / "device" / "keyfob-host"

    def start_servers(self) -> None:
        with self.step("mosquitto with mutual TLS, and an NTP server") as notes:
            self.broker = MosquittoBroker(
                self.home.broker_dir,
                identity_dir=self.broker_identity,
                ca_pem_path=self.broker_identity / "ca.pem",
                host_identity_dir=self.host_identity,
            )
            self.stack.enter_context(self.broker)
            self.ntp = self.stack.enter_context(NtpServer())
            self.client = self.stack.enter_context(
                HostClient(
                    "127.0.0.1",
                    self.broker.port,
                    self.host_identity,
                    self.broker_identity / "ca.pem",
                    server_name=BROKER,
                )
            )
            self.client.subscribe("devices/#")
            notes.append(f"{BROKER}:{self.broker.port}, {NTP}:{self.ntp.port}")

    def power_on(self) -> None:
        with self.step("power on a virtual ESP32 with erased flash") as notes:
            self.stack.callback(self.end_boards)
            self.board = VirtualBoard.up(self.home, KIND, BOARD)
            self.ref = open_board(KIND, name=BOARD, home=self.home)
            with Console(self.ref.stream_url) as console:
                notes.append(f"its ROM says: {console.wait_line('invalid header')}")

    def flash(self) -> None:
        image = demo_image(self.home, on_step=self.ui.step)
        with self.step("flash MicroPython with stock esptool") as notes:
            flashed = flash_board(self.ref, image)
            self.seen["image_bytes"] = flashed.firmware.size
            notes.append(f"{image.name}: {flashed.firmware.size} bytes, verified")

    def sync(self) -> None:
        with self.step("bring Keyfob's files to the board") as notes:
            report = sync_board(self.ref, reset=False)
            notes.append(report.summary())

    def provision(self) -> None:
        with self.step("provision identity and settings") as notes:
            settings = Settings(
                broker=f"{BROKER}:{self.broker.port}",
                ntp=(f"{NTP}:{self.ntp.port}",),
                app={"name": "sensor", "period_s": 1},
            )
            report = provision_board(self.ref, self.device_identity, settings, reset=False)
            notes.extend(report.summary().splitlines())

    def connect(self) -> None:
        self.board.dht(temperature_c=22.5, humidity_percent=41.0)
        self.console = self.stack.enter_context(Console(self.ref.stream_url))
        with self.step("the board boots and connects by itself") as notes:
            self.board.reset()
            for name in ("boot", "wifi.up", "clock.set", "store.loaded", "tls.up", "mqtt.up"):
                event = self.console.wait_event(name, timeout_s=_EVENT_TIMEOUT_S)
                self.seen[name] = event
                notes.append(_event_text(event))

    def converse(self) -> None:
        with self.step("a reading arrives at the host") as notes:
            reading = self.client.wait_message(f"devices/{DEVICE}/reading")
            self.seen["reading"] = json.loads(reading.payload)
            notes.append(f"{reading.topic} {reading.payload.decode()}")
        with self.step("a command goes to the board, its effect is seen") as notes:
            topic = f"devices/{DEVICE}/command"
            command = '{"color":[0,0,255]}'
            self.wait_subscribed()
            self.client.publish(topic, command)
            state = self.client.wait_message(
                f"devices/{DEVICE}/state",
                lambda one: json.loads(one.payload).get("color") == [0, 0, 255],
            )
            self.seen["pixel"] = self.board.neopixel()[0]
            notes.append(f"{topic} {command}")
            notes.append(f"{state.topic} {state.payload.decode()}")
            notes.append(f"its NeoPixel now shows {self.seen['pixel']}")
        if tuple(self.seen["pixel"]) != (0, 0, 255):
            raise KeyfobHostError(
                "demo.no-effect",
                "the board answered the command, but its pixel did not change",
                evidence=f"pixel {self.seen['pixel']}, wanted (0, 0, 255)",
                fix="make monitor BOARD=virtual-esp32",
                status=ExitStatus.BOARD,
            )

    def wait_subscribed(self) -> None:
        """Wait for the board's subscription: what is sent before it, nobody would get."""
        end = time.monotonic() + _EVENT_TIMEOUT_S
        while f"Sending SUBACK to {DEVICE}" not in self.broker.log():
            if time.monotonic() > end:
                raise KeyfobHostError(
                    "demo.not-subscribed",
                    "the board did not subscribe to its commands",
                    evidence=f"no SUBACK to {DEVICE} in {self.broker.log_path}",
                    fix=f"cat {self.broker.log_path}",
                    status=ExitStatus.NETWORK,
                )
            time.sleep(0.02)

    def break_it(self, breakage: Breakage) -> dict[str, Any]:
        """Make the mistake, and show what the board says of it."""
        with self.step(f"broken on purpose: {breakage.title}"):
            since = len(self.console.events)
            breakage.make(self)
            event = self.console.wait_event(
                "error",
                lambda one: one["code"] in breakage.codes,
                timeout_s=_EVENT_TIMEOUT_S,
                since=since,
            )
        told = load_device_errors()[event["code"]]
        self.ui.step(f"\n    error  {event['code']}")
        self.ui.step(f"    cause  {told.cause}")
        self.ui.step(f"    seen   {event.get('detail', '')}")
        self.ui.step(f"    fix    {told.fix}")
        return event

    def conclusion(self) -> str:
        tls, store = self.seen["tls.up"], self.seen["store.loaded"]
        return f"""
proved in {time.monotonic() - self.started:.1f} s
  - stock esptool wrote and verified an ESP32 MicroPython image, {self.seen["image_bytes"]} bytes
  - the identity {store["cert"]} came from slot {store["slot"]} of the LittleFS in that flash
  - its clock was unset, and was set by NTP before any TLS
  - {tls["version"]}, {tls["cipher"]}: each side verified the other
  - a reading and a command crossed real mosquitto, and the command had its effect
next
  make demo BREAK=wrong-name      break something, see what you are told; also
                                  {", ".join(name for name in BREAKAGES if name != "wrong-name")}
  make flash provision monitor    the same by hand, on a virtual board that stays
  make hil                        the hardware-in-the-loop suite
  make flash provision hil BOARD=esp32 PORT=/dev/ttyUSB0 FIRMWARE=ESP32_GENERIC.bin"""


def run_demo(home: Home, ui: Ui, breakage: str | None = None) -> dict[str, Any]:
    """Run the demonstration in ``home``/demo; what was seen, as data.

    Errors: ``demo.running`` when another run uses this bench, and those of every step.
    """
    bench = Home(home.ensure().root / "demo")
    lock = FileLock(home.root / "demo.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise KeyfobHostError(
            "demo.running",
            "another demonstration runs in this bench",
            evidence=f"{lock.lock_file} is locked",
            fix="wait for it, or use a bench of your own: KEYFOB_HOME=$(mktemp -d) make demo",
            status=ExitStatus.HOST,
        ) from error
    with ExitStack() as stack:
        stack.callback(lock.release)
        run = Demo(bench, ui, stack)
        load_kind(KIND)
        run.prepare()
        for part in (
            run.make_identities,
            run.start_servers,
            run.power_on,
            run.flash,
            run.sync,
            run.provision,
            run.connect,
            run.converse,
        ):
            part()
        ui.step(run.conclusion())
        if breakage:
            ui.step("")
            run.seen["broken"] = run.break_it(BREAKAGES[breakage])
    return run.seen


def _event_text(event: dict[str, Any]) -> str:
    fields = " ".join(
        f"{key}={value}" for key, value in event.items() if key not in ("t", "ev") and value != ""
    )
    return f"{event['t']:>6} ms  {event['ev']:<13}{fields}"


def _serve(run: Demo, identity: Identity) -> None:
    """Restart the broker with another certificate, which the board meets as it reconnects."""
    identity.write(run.broker_identity, force=True)
    run.broker.stop()
    run.broker.host_identity_dir = None  # the host's own client would refuse it as well
    run.broker.start()


def _wrong_name(run: Demo) -> None:
    _serve(run, run.authority.issue_broker("other.keyfob.test"))


def _wrong_ca(run: Demo) -> None:
    _serve(run, Authority.ephemeral("Somebody else's CA").issue_broker(BROKER))


def _expired(run: Demo) -> None:
    now = datetime.now(timezone.utc)
    _serve(
        run,
        run.authority.issue_broker(
            BROKER, not_before=now - timedelta(days=30), not_after=now - timedelta(days=1)
        ),
    )


def _no_time(run: Demo) -> None:
    run.ntp.mode = Mode.SILENT
    run.board.power(False)
    run.board.power(True)


def _no_wifi(run: Demo) -> None:
    run.board.wifi(False)


BREAKAGES = {
    "wrong-name": Breakage(
        "the broker's certificate is for another name", _wrong_name, ("x509.wrong-name",)
    ),
    "wrong-ca": Breakage(
        "the broker's certificate is from another CA", _wrong_ca, ("x509.untrusted",)
    ),
    "expired": Breakage("the broker's certificate expired yesterday", _expired, ("x509.expired",)),
    "no-time": Breakage(
        "the NTP server is silent, and the power was cut",
        _no_time,
        ("clock.no-answer", "clock.never-set"),
    ),
    "no-wifi": Breakage("the Wi-Fi is gone", _no_wifi, ("wifi.lost", "wifi.no-ap", "wifi.timeout")),
}
