"""The board under test, as stories see it: power, reset, settings, events, and its surroundings.

Stories ask for what they want done and never which kind of board it is. What only a
virtual board lets itself be done to (power, Wi-Fi, its sensor) skips the story on
another one, with the reason.
"""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from keyfob_host.boards import BoardKind, BoardRef, Engine
from keyfob_host.console import Console, Event
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.esptool_run import run_esptool
from keyfob_host.flash.flashing import flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.hil.board_lost import why_lost
from keyfob_host.hil.capabilities import POWER, POWER_AT_WRITE, SENSOR, WIFI, why_not
from keyfob_host.hil.cut_short import exec_until, provision_until
from keyfob_host.hil.event_log import EventLog, Predicate
from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.interrupts import interrupts_unwrapped
from keyfob_host.hil.supply import Supply
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.sync import sync_board
from keyfob_host.transport import Transport, open_transport
from keyfob_host.virtual import VirtualBoard

# Long enough for a real ESP32 that joins a real access point; a story that passes
# does not wait for it.
EVENT_TIMEOUT_S = 40.0
_BOOT_S = 5.0  # from power to its first words
_CUT_SHOWS_S = 2.0
_POLL_S = 0.02
_START_S = 10.0  # a board that booted and met no error is connected by then
# On the board itself: what is read through the console is in every record of it.
_SPOIL = """\
with open('/id/active') as f:
 p='/id/%%s/%s'%%f.read()
with open(p,'rb') as f:
 d=bytearray(f.read())
d[-1]^=1
with open(p,'wb') as f:
 f.write(d)
"""
_ROOM_TEMPERATURE_C, _ROOM_HUMIDITY_PERCENT = 21.0, 40.0


class BenchBoard:
    """One for the run. ``identity`` and ``settings`` are the bench's own, and `restore` gives
    each story a board that has them. ``wait_subscribed`` is `BenchBroker.wait_subscribed`.
    ``is_own``: it exists for suites alone, and nobody misses what is on it. ``supply``: of a
    board on a cable, if it can be switched.
    """

    def __init__(
        self,
        ref: BoardRef,
        identity: Identity,
        settings: Settings,
        evidence: Evidence,
        wait_subscribed: Callable[[str], None],
        *,
        is_own: bool,
        supply: Supply | None = None,
    ) -> None:
        self.ref = ref
        self._supply = supply
        self._is_own = is_own
        self.device_id = identity.name
        self.identity = identity
        self.log = EventLog(evidence)
        self.must_restart = True  # its program is not in the state it boots with
        self._own_identity = identity
        self._own_settings = _with_tls(settings, ref.kind)
        self._evidence = evidence
        self._wait_subscribed = wait_subscribed
        self._console: Console | None = None
        self._undo: list[Callable[[], None]] = []
        self._must_provision = True

    # -- life

    def restore(self) -> None:
        """Undo what the last story did: powered, provisioned as the bench's, its program running.

        Whether it is connected depends on how the last story ended: see `connected`. Errors:
        ``hil.board-lost``, those of `provision`.
        """
        self._find_again()
        self.undo()
        self._attach()
        if self._must_provision:
            self.provision()
        elif self.must_restart:
            self.reset()
        else:
            self.log.begin()

    def undo(self) -> None:
        """Undo what was done to its surroundings: power, access point, sensor."""
        while self._undo:
            self._undo.pop()()

    def lost(self) -> KeyfobHostError | None:
        """Why nothing comes from it any more; None if it is there, or off for a story."""
        is_let_go = self._console is None and self.log.gone is None
        return None if is_let_go else why_lost(self.ref, self.log.gone, is_own=self._is_own)

    def close(self) -> None:
        """Undo what is left to undo, and let go of the port."""
        self.undo()
        self._detach()

    @contextmanager
    def repl(self) -> Iterator[Transport]:
        """The board's prompt, its program interrupted; `reset` to have it run again."""
        self.must_restart = True
        with self._port_to_others(), open_transport(self.ref) as transport:
            yield transport

    # -- what a story does to it

    def provision(
        self,
        identity: Identity | None = None,
        more: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Give it ``identity`` and settings, and reset it; what is not given is the bench's own.

        ``settings`` are fields of `keyfob_host.provision.settings.Settings`:
        ``broker="host:8883"``, ``wifi_password="wrong"``; ``more`` are settings by dotted key
        beside the bench's own. The next story starts with the bench's own again. Nothing is
        checked: a board is given here what a broker must refuse.
        """
        given = replace(self._own_settings, **settings)
        given = replace(given, extra={**given.extra, **(more or {})})
        self.identity = identity or self._own_identity
        self._must_provision = identity is not None or given != self._own_settings
        with self._port_to_others():
            provision_board(self.ref, self.identity, given, checked=False, reset=False)
        self.reset()

    def use_engine(self, engine: Engine, **tls: Any) -> None:
        """Bring it that TLS engine, Keyfob's own or mbedTLS, and give it the settings ``tls`` of
        it; for this story."""
        if engine != self.ref.kind.tls.engine:
            self._undo.append(lambda: self._sync(self.ref.kind.tls.engine))
            self._sync(engine)
        self.provision(more={"tls.engine": engine, **{f"tls.{key}": tls[key] for key in tls}})

    def fingerprint(self) -> str:
        """Its certificate as ``store.loaded`` tells it: 16 hex digits of the SHA-256."""
        return hashlib.sha256(self.identity.cert_der()).hexdigest()[:16]

    def secrets(self) -> list[str]:
        """What must never be printed: its Wi-Fi password, pieces of its key in hex and base64."""
        key = self.identity.key_der_for(self.ref.kind.tls.engine)
        middle = key[len(key) // 2 :][:12]  # no header that other keys have too
        forms = [middle.hex(), *(b64encode(middle[skip:])[:12].decode() for skip in range(3))]
        return [self._own_settings.wifi_password or "", *forms]

    def spoil(self, name: str) -> None:
        """Flip the last bit of ``name`` (``key.der``) in its active identity, and reset it."""
        self._must_provision = True
        with self.repl() as repl:
            repl.exec(_SPOIL % name, doing=f"spoiling {name}")
        self.reset()

    def reset(self) -> None:
        """Restart it as its reset button does; returns at once."""
        console = self._attach()
        self.must_restart = False
        self.log.begin(boot=True)
        if self.ref.virtual is not None:
            self.ref.virtual.reset()
        else:
            # Over the prompt and not by EN: not every board has that line, and the
            # console stays open to catch the first words.
            console.write(b"\x03\x03")
            time.sleep(0.3)
            console.write(b"\x02import machine; machine.reset()\r")

    def connected(self, timeout_s: float = EVENT_TIMEOUT_S) -> None:
        """Return once it is connected to the broker and takes commands.

        It is reset if it was not about to connect by itself.
        """
        __tracebackhide__ = True
        is_up = self.log.is_connected() or (
            self.log.is_starting() and self.log.find("mqtt.up", None, _START_S) is not None
        )
        if not is_up:
            self.reset()
            self.wait_event("mqtt.up", timeout_s)
        self._wait_subscribed(self.device_id)

    def needs_sensor(self, timeout_s: float = 10.0) -> None:
        """Return once it published a reading; skip on a real board whose sensor is not wired."""
        __tracebackhide__ = True
        self.connected()
        if self.log.find("publish", lambda one: one["topic"].endswith("/reading"), timeout_s):
            return
        if self.ref.virtual is None and self.events("app.sensor-failed"):
            pytest.skip(f"no DHT22 answers on its pin {self._own_settings.app['dht_pin']}")
        raise self._evidence.failure(f"it published no reading within {timeout_s:g} s")

    def needs_key(self, key_type: str) -> None:
        """Skip on a kind that cannot sign with a key of that type."""
        if key_type not in self.ref.kind.tls.keys:
            pytest.skip(f"a {self.ref.kind.title} has no memory to sign with {key_type}")

    def needs_version(self, version: str) -> None:
        """Skip on a kind whose board is not given that version of TLS (``1.3``)."""
        if version not in self.ref.kind.tls.versions:
            pytest.skip(f"a {self.ref.kind.title} has no memory for TLS {version}")

    # -- what it says

    def mark(self) -> None:
        """From here on waits and `events` look only at what comes."""
        self.log.begin()

    def wait_event(
        self,
        name: str,
        timeout_s: float = EVENT_TIMEOUT_S,
        *,
        where: Predicate | None = None,
        **fields: Any,
    ) -> Event:
        """The next event ``name`` (``error``, ``clock.*``, "": any) whose ``fields`` are as given.

        Events are consumed in their order: a later wait looks at later events only.
        """
        __tracebackhide__ = True

        def fits(event: Event) -> bool:
            same = all(event.get(key) == value for key, value in fields.items())
            return same and (where is None or where(event))

        wanted = f"event {name or 'of any name'}" + "".join(
            f" {key}={value!r}" for key, value in fields.items()
        )
        return self.log.wait(name, fits, timeout_s, wanted + (" (fitting)" if where else ""))

    def wait_error(self, code: str, timeout_s: float = EVENT_TIMEOUT_S) -> Event:
        """The next ``error`` event with ``code`` (``x509.*`` stands for any of them)."""
        __tracebackhide__ = True
        if not code.endswith(".*"):
            return self.wait_event("error", timeout_s, code=code)
        return self.log.wait(
            "error", lambda one: str(one["code"]).startswith(code[:-1]), timeout_s, f"error {code}"
        )

    def wait_rom_refusal(self) -> None:
        """What the boot ROM says of a flash without firmware; a real ESP8266 says it at
        74880 baud, which nobody here reads."""
        __tracebackhide__ = True
        if self.ref.kind.chip != "esp8266":
            self.wait_line("invalid header: 0xffffffff")
        elif self.ref.virtual is not None:
            self.wait_line("ets_main.c")

    def wait_line(self, text: str, timeout_s: float = EVENT_TIMEOUT_S) -> str:
        """The first console line with ``text`` in it since the story began or the last reset."""
        __tracebackhide__ = True
        return self.log.wait_line(text, timeout_s)

    def events(self, name: str = "") -> list[Event]:
        """Events since the story began or the last reset, all or those called ``name``."""
        return self.log.events(name)

    # -- what only a virtual board lets itself be done to

    def power(self, on: bool) -> None:
        """Cut its power, or give it back."""
        self.must_restart = not on
        self.log.begin(boot=True)
        if self.ref.virtual is not None:
            virtual = self.ref.virtual
            if not on:
                self._undo.append(lambda: virtual.power(True))
            virtual.power(on)
        elif self._supply is None:
            pytest.skip(why_not(POWER))
        elif on:
            self._power_on(self._supply)
        else:
            self._undo.append(lambda: self.power(True))
            self._detach()
            self._supply.off()

    def wifi(self, up: bool) -> None:
        """Switch its access point off or on."""
        virtual = self._virtual(why_not(WIFI))
        if not up:
            self._undo.append(lambda: virtual.wifi(True))
        virtual.wifi(up)

    def dht(self, temperature_c: float | None, humidity_percent: float | None = 40.0) -> None:
        """What its sensor measures; None: the sensor does not answer."""
        virtual = self._virtual(why_not(SENSOR))
        self._undo.append(lambda: virtual.dht(_ROOM_TEMPERATURE_C, _ROOM_HUMIDITY_PERCENT))
        virtual.dht(temperature_c, humidity_percent)

    def pixels(self) -> list[tuple[int, ...]]:
        """The colours its NeoPixels show."""
        return self._virtual("its pixels cannot be read back").neopixel()

    def erase(self) -> None:
        """Erase its whole flash with stock esptool, and start it."""
        virtual = self._virtual("erasing and flashing a real board again takes minutes")
        if not self._is_own:
            pytest.skip("the board's own identity, put aside on it, would be erased too")
        self._must_provision = True
        with self._port_to_others():
            virtual.download_mode()
            chip = ["--chip", self.ref.kind.chip, "--port", self.ref.stream_url]
            run = run_esptool([*chip, "--before", "no-reset", "--after", "no-reset", "erase-flash"])
        if run.status:
            raise self._evidence.failure(f"esptool could not erase the flash:\n{run.output}")
        self.log.begin()
        virtual.reset()

    def flash_and_sync(self) -> None:
        """Write MicroPython with stock esptool, then Keyfob's files."""
        with self._port_to_others():
            flash_board(self.ref, default_image(self.ref.kind), erase=False)
            sync_board(self.ref, reset=False)

    def set_clock(self, unix_s: float) -> None:
        """Make it ``unix_s`` by its clock while its program runs."""
        virtual = self._virtual("nothing sets its clock while its program runs")
        self.must_restart = True
        virtual.set_clock(unix_s)

    def cut_power_at_write(self, number: int) -> None:
        """Cut its power in the middle of its ``number``-th write to flash, or erase, from now."""
        virtual = self._virtual(why_not(POWER_AT_WRITE))
        self.must_restart = True
        self._undo.append(lambda: virtual.power(True))
        self._undo.append(lambda: virtual.flash_fault(None))
        virtual.flash_fault(number)

    def has_lost_power(self) -> bool:
        """Whether the write came for which `cut_power_at_write` waited."""
        return bool(self._virtual(why_not(POWER_AT_WRITE)).info()["state"] == "off")

    def provision_until_cut(self, identity: Identity) -> bool:
        """Give it ``identity`` over a `cut_power_at_write`; whether that came in between."""
        self._must_provision = True
        with self._port_to_others():
            provision_until(self.ref, identity, self._own_settings, self.has_lost_power)
        return self.has_lost_power()

    def exec_until_cut(self, program: str) -> None:
        """Have it run ``program`` at its prompt over a `cut_power_at_write`, which comes in
        between: a failure of the case otherwise."""
        with self._port_to_others():
            said = exec_until(self.ref, program, self.has_lost_power)
        end = time.monotonic() + _CUT_SHOWS_S
        while not self.has_lost_power():  # whoever has the port may see it first
            if time.monotonic() > end:
                raise self._evidence.failure(f"it still has power, and its program ended:\n{said}")
            time.sleep(_POLL_S)

    # -- inside

    def _sync(self, engine: Engine) -> None:
        with self._port_to_others():
            sync_board(self.ref, engine=engine, prune=True, reset=False)

    def _virtual(self, reason: str) -> VirtualBoard:
        if self.ref.virtual is None:
            pytest.skip(reason)
        return self.ref.virtual

    def _power_on(self, supply: Supply) -> None:
        self.ref = replace(self.ref, port=supply.on())
        self._attach()
        end = time.monotonic() + _BOOT_S
        while not self.events("boot"):
            if time.monotonic() > end:
                # It booted before its port was there to be read.
                self.reset()
                return
            time.sleep(0.05)

    def _find_again(self) -> None:
        """Take a board that went away up again, if it is back; else ``hil.board-lost``."""
        lost = self.lost()
        if lost is None:
            return
        self._detach()
        self.log.end(lost)
        try:
            self._attach()
        except KeyfobHostError as error:
            raise lost from error
        self.must_restart = True

    def _attach(self) -> Console:
        if self._console is None:
            self._console = Console(
                self.ref.stream_url,
                baud=self.ref.kind.serial.baud,
                on_line=self.log.add,
                on_gone=self.log.end,
            )
            self.log.end(None)
        return self._console

    def _detach(self) -> None:
        if self._console is not None:
            self._console.close()
            self._console = None

    @contextmanager
    def _port_to_others(self) -> Iterator[None]:
        """The port has one user at a time: let go of it for as long as another one works."""
        self._detach()
        try:
            with interrupts_unwrapped():
                yield
        finally:
            self._attach()


def _with_tls(settings: Settings, kind: BoardKind) -> Settings:
    """``settings`` with the kind's own of TLS: what is not given stays as a board has it."""
    tls: dict[str, Any] = {"tls.engine": kind.tls.engine}
    if kind.tls.engine == "keyfob":
        tls["tls.versions"] = list(kind.tls.versions)
    return replace(settings, extra={**tls, **settings.extra})
