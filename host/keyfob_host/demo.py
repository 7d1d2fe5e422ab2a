"""The whole job, from an erased flash to a verified MQTT message and back.

Nothing here is special to the demonstration: each step is the call behind the command
of the same name, in a bench of its own below the user's (``demo/``), which is made anew
each time. What an earlier run left running, killed at whatever step, is ended first.
Which virtual board it is shown on is the caller's choice; what differs between them is
in their board files, and told as it is.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from keyfob_host.boards import (
    DEFAULT_KIND,
    BoardKind,
    BoardRef,
    kind_names,
    load_kind,
    open_board,
)
from keyfob_host.broker import MosquittoBroker
from keyfob_host.console import Console
from keyfob_host.demo_breakages import BREAKAGES, Breakage
from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.after_failure import diagnosed, opinion, sightings
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.hil.interrupts import interrupts_unwrapped
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import SyncReport, sync_board
from keyfob_host.ui import Ui
from keyfob_host.virtual.board import VirtualBoard, running

BOARD = "demo"
DEVICE = "sensor-01"
BROKER = "broker.keyfob.test"
NTP = "ntp.keyfob.test"

_EVENT_TIMEOUT_S = 30.0
_NO_MEMORY = "tls.no-memory"
# With erased flash an ESP8266's ROM only says where it gave up; the others say what they read.
_ROM_GIVES_UP = {"esp8266": "ets_main.c"}


class Demo:
    """One run: the parts as they come to life, and what was seen of them."""

    def __init__(self, home: Home, ui: Ui, stack: ExitStack, kind: BoardKind) -> None:
        self.home = home
        self.kind = kind
        self.ui = ui
        self.stack = stack
        self.started = time.monotonic()
        self.number = 0
        self.seen: dict[str, Any] = {"board": kind.name}

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
        with self.step(f"power on a virtual {self.chip} with erased flash") as notes:
            self.stack.callback(self.end_boards)
            self.board, _ = VirtualBoard.start(
                self.home, self.kind.name, BOARD, powered=True, fresh=True, on_step=self.ui.step
            )
            self.ref = open_board(self.kind.name, name=BOARD, home=self.home)
            with Console(self.ref.stream_url) as console:
                line = console.wait_line(_ROM_GIVES_UP.get(self.kind.chip, "invalid header"))
            notes.append(f"its ROM says: {line.strip()}")
            self.seen["micropython"] = self.board.info()["micropython"]
            notes.append(f"its program is played by a MicroPython here: {self.seen['micropython']}")

    def flash(self) -> None:
        image = default_image(self.kind, self.home, on_step=self.ui.step)
        what = "MicroPython" if self.kind.image else "a stand-in for MicroPython"
        with self.step(f"flash {what} with stock esptool") as notes:
            # Ctrl-C: nobody is to mend a board that goes with the demonstration.
            with interrupts_unwrapped():
                flashed = flash_board(self.ref, image)
            self.seen["image_bytes"] = flashed.firmware.size
            notes.append(f"{image.name}: {flashed.firmware.size} bytes, verified")

    def sync(self) -> None:
        with self.step("bring Keyfob's files to the board") as notes:
            report = self.sync_as_it_can(notes)
            self.seen["sync"] = report.as_dict()
            notes.append(report.summary())

    def sync_as_it_can(self, notes: list[str]) -> SyncReport:
        """As the board file says; plain files where what plays the chip has no ROMFS."""
        try:
            return sync_board(self.ref, reset=False)
        except KeyfobHostError as error:
            if error.code != "sync.no-romfs":
                raise
            notes.append(f"no ROMFS image, plain files: {error.evidence}")
            return sync_board(self.ref, to="files", reset=False)

    def provision(self) -> None:
        with self.step("provision identity and settings") as notes:
            settings = Settings(
                broker=f"{BROKER}:{self.broker.port}",
                ntp=(f"{NTP}:{self.ntp.port}",),
                app={"period_s": 1},
            )
            report = provision_board(self.ref, self.device_identity, settings, reset=False)
            notes.extend(report.summary().splitlines())

    def connect(self) -> None:
        self.board.dht(temperature_c=22.5, humidity_percent=41.0)
        self.console = self.stack.enter_context(Console(self.ref.stream_url))
        with self.step("the board boots and connects by itself") as notes:
            self.board.reset()
            for name in ("boot", "wifi.up", "clock.set", "store.loaded", "tls.up", "mqtt.up"):
                event = self.wait_for(name)
                self.seen[name] = event
                notes.append(_event_text(event))

    def wait_for(self, name: str) -> dict[str, Any]:
        """The event ``name``; if it does not come, what the doctor says is in the way."""
        try:
            return self.console.wait_event(name, timeout_s=_EVENT_TIMEOUT_S)
        except KeyfobHostError as error:
            if error.code != "console.no-event":
                raise
            failures = [one for one in self.console.events if one["ev"] == "error"]
            told = self._not_connected(name, failures) if failures else error
            own_fix = told.fix
            diagnosed(told, self.sightings, on_step=self.ui.step)
            if failures and failures[-1]["code"] == _NO_MEMORY:
                told.fix = own_fix  # it is this machine that lacks something
            raise told from None

    def _not_connected(self, name: str, failures: list[dict[str, Any]]) -> KeyfobHostError:
        code, detail = failures[-1]["code"], failures[-1].get("detail", "")
        told = load_device_errors()[code]
        fix = told.fix
        if code == _NO_MEMORY and not self.seen["sync"]["image"]:
            fix = (
                "run it on x86-64 Linux with a Debian mirror, without KEYFOB_MICROPYTHON: a "
                "32-bit MicroPython with ROMFS is fetched there; or on an ESP32: make demo"
            )
        return KeyfobHostError(
            "demo.not-connected",
            f"the board does not get as far as {name}: {told.cause}",
            evidence=f"{code} ({detail}), {len(failures)} errors in {_EVENT_TIMEOUT_S:g} s; "
            f"played by {self.seen['micropython']}",
            fix=fix,
            status=ExitStatus.BOARD,
        )

    def sightings(self) -> Sightings:
        """For the doctor: the board's log and files, the broker, and what is between them."""
        return sightings(self.ref, self.home)

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
                fix=f"make monitor BOARD={self.kind.name}",
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
        """Make the mistake, and show what the board says of it, and what the doctor."""
        with self.step(f"broken on purpose: {breakage.title}"):
            since = len(self.console.events)
            breakage.make(self)
            event = self.console.wait_event(
                "error",
                lambda one: one["code"] in breakage.codes,
                timeout_s=_EVENT_TIMEOUT_S,
                since=since,
            )
            found = opinion(self.sightings)
        told = load_device_errors()[event["code"]]
        self.ui.step("")
        for label, text in (
            ("error", event["code"]),
            ("cause", told.cause),
            ("seen", event.get("detail", "")),
            ("doctor", "\n           ".join(found.lines())),
            ("fix", found.fix or told.fix),
        ):
            self.ui.step(f"    {label:<7}{text}")
        return {**event, "diagnosis": found.as_dict()}

    @property
    def chip(self) -> str:
        """As people write it: ``ESP8266``."""
        return self.kind.chip.upper()

    def conclusion(self) -> str:
        tls, store, board = self.seen["tls.up"], self.seen["store.loaded"], self.kind.name
        proved = [
            f"stock esptool wrote and verified {self._image()}, {self.seen['image_bytes']} bytes",
            f"the identity {store['cert']} came from slot {store['slot']} of the LittleFS in that "
            "flash",
            "its clock was unset, and was set by NTP before any TLS",
            f"{tls['version']}, {tls['cipher']}: each side verified the other",
            "a reading and a command crossed real mosquitto, and the command had its effect",
        ]
        if self.kind.tls.engine == "keyfob":
            proved.insert(4, f"that TLS is Keyfob's own, in MicroPython ({self._code()})")
        chosen = "" if board == DEFAULT_KIND else f" BOARD={board}"
        firmware = "ESP8266_GENERIC-FLASH_2M_ROMFS" if self.chip == "ESP8266" else "ESP32_GENERIC"
        real = f"BOARD={self.kind.chip} PORT=/dev/ttyUSB0 FIRMWARE={firmware}.bin"
        others = ", ".join(name for name in BREAKAGES if name != "wrong-name")
        following = [
            (f"make demo{chosen} BREAK=wrong-name", "break something, see what you are told; also"),
            ("", others),
            (f"make flash provision monitor{chosen}", "the same by hand, on a board that stays"),
            (f"make hil{chosen}", "the hardware-in-the-loop suite"),
        ]
        width = max(len(command) for command, _ in following)
        return "\n".join(
            [
                f"\nproved in {time.monotonic() - self.started:.1f} s",
                *(f"  - {line}" for line in proved),
                "next",
                *(f"  {command:<{width}}  {text}" for command, text in following),
                f"  make flash provision hil {real}",
            ]
        )

    def _image(self) -> str:
        """What was flashed: a real image where the board file names one."""
        if self.kind.image is None:
            return f"a stand-in with the layout of MicroPython's {self.chip} image"
        return f"an {self.chip} MicroPython image"

    def _code(self) -> str:
        where = "in a ROMFS image in that flash" if self.seen["sync"]["image"] else "plain files"
        return f"{where}; {self.seen['micropython']}"


def run_demo(
    home: Home, ui: Ui, breakage: str | None = None, *, board: str = DEFAULT_KIND
) -> dict[str, Any]:
    """Run the demonstration on the kind ``board`` in ``home``/demo; what was seen, as data.

    Errors: ``demo.not-virtual``, ``demo.running`` when another run uses this bench, and
    those of every step.
    """
    kind = _virtual_kind(board)
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
        run = Demo(bench, ui, stack, kind)
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


def _virtual_kind(name: str) -> BoardKind:
    kind = load_kind(name)
    if not kind.virtual:
        virtual = [one for one in kind_names() if load_kind(one).virtual]
        raise KeyfobHostError(
            "demo.not-virtual",
            "the demonstration is for virtual boards: it erases the board and breaks its network",
            evidence=f"{name} is a real board; virtual ones: {', '.join(virtual)}",
            fix=f"for the same on a real board: make flash provision hil BOARD={name} "
            "PORT=/dev/ttyUSB0 FIRMWARE=FILE.bin",
            status=ExitStatus.USAGE,
        )
    return kind


def _event_text(event: dict[str, Any]) -> str:
    fields = " ".join(
        f"{key}={value}" for key, value in event.items() if key not in ("t", "ev") and value != ""
    )
    return f"{event['t']:>6} ms  {event['ev']:<13}{fields}"
