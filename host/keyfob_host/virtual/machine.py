"""A virtual board from power-on to power-off: what runs when, and what ends it.

States: ``off`` (no power), ``running`` (ROM passed, the MicroPython process runs),
``download`` (the ROM waits for esptool), ``bad-image`` (the ROM found nothing it can
start), ``dead`` (the MicroPython process ended in a way no program can end a chip).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

from keyfob_host.boards import BoardKind
from keyfob_host.virtual.chips import chip_of
from keyfob_host.virtual.clock import BoardClock, forget_process
from keyfob_host.virtual.console import Console
from keyfob_host.virtual.download import Downloader
from keyfob_host.virtual.flash import Flash, Partition
from keyfob_host.virtual.micropython import find_interpreter
from keyfob_host.virtual.network import Network
from keyfob_host.virtual.peripherals import Peripherals
from keyfob_host.virtual.process import ChipProcess
from keyfob_host.virtual.rom import Cause
from keyfob_host.virtual.rpc import RpcServer
from keyfob_host.virtual.serial_port import SerialLine
from keyfob_host.virtual.station_memory import StationMemory

_REBOOT_S = 1.0  # a chip that cannot boot tries again about every second
_BOOT_PINS_S = 0.18  # IO0 is looked at this long after EN rises, if it has not settled
_MAX_LOG_BYTES = 16 << 20  # a board that prints for ever starts its log afresh


class Machine:
    """One board. Everything happens in the asyncio loop that made it."""

    def __init__(self, kind: BoardKind, name: str, folder: Path) -> None:
        self.kind = kind
        self.name = name
        self.folder = folder
        self.state = "off"
        self.reason = ""
        self.boots = 0
        self.boot_ms: float | None = None
        self.chip = chip_of(kind)
        self.mac = self.chip.oui + hashlib.sha256(name.encode()).hexdigest()[:6]
        self.flash = Flash(folder / "flash.bin", kind.flash.size)
        self.clock = BoardClock(folder / "clock")
        memory = StationMemory(self.flash) if self.chip.remembers_station else None
        self.network = Network(self.mac, self.chip, memory)
        self.peripherals = Peripherals(self)
        self.process: ChipProcess | None = None
        self.interpreter = find_interpreter(kind, folder)
        self._loop = asyncio.get_running_loop()
        self._line: SerialLine | None = None
        self._console: Console | None = None
        self._rpc: RpcServer | None = None
        self._downloader: Downloader | None = None
        self._partitions: tuple[Partition, ...] = ()
        self._cause = 0
        self._started_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._en_low = False
        self._strapping: asyncio.TimerHandle | None = None
        self._lines = (False, False)
        self._log = (folder / "console.log").open("ab", buffering=0)

    def connect(self, line: SerialLine) -> None:
        """Where the console goes."""
        self._line = line

    def close(self) -> None:
        """Stop everything."""
        self.power_off()
        self.network.close()
        self.flash.close()
        self._log.close()

    # -- power and reset

    def power_off(self) -> None:
        """No power: the process is gone, the clock forgets, the flash stays."""
        self._halt()
        self.state, self.reason = "off", ""
        self.peripherals.power_off()

    def power_on(self) -> None:
        """Power: everything but the flash starts afresh."""
        self.power_off()
        self.clock.restart()
        self._start(self.chip.poweron)

    def enable_pin(self, *, download: bool = False) -> None:
        """The EN (RST) pin was low: as `power_on`, for all that a program can see."""
        self.power_off()
        self.clock.restart()
        self._start(self.chip.enable_pin, download=download)

    def restart(self, cause: Cause) -> None:
        """A reset from inside: the clock and RTC memory are kept."""
        self._halt()
        self._start(cause)

    def leave_download(self, *, to_application: bool) -> None:
        """esptool's last word: run the application, or be in the ROM's download mode afresh."""
        self._loop.call_soon(self._left_download, to_application)

    def _left_download(self, to_application: bool) -> None:
        self._halt()
        self._start(self.chip.software, download=not to_application)

    def _halt(self) -> None:
        for timer in (self._timer, self._strapping):
            if timer:
                timer.cancel()
        self._timer = self._strapping = None
        if self._downloader:
            self._downloader = None
        self._end_process()
        self.network.station_off()
        self.peripherals.reset()

    def _end_process(self) -> None:
        if self.process:
            self.process.kill()  # before its line closes: it must not see that
            forget_process(self.process.pid)
            self.process = None
        if self._rpc:
            self._rpc.close()
            self._rpc = None
        self._console = None

    def _start(self, cause: Cause, *, download: bool = False) -> None:
        self._started_s = self._loop.time()
        self._cause = cause.number
        self.boots += 1
        if download:
            self.state = "download"
            self._print(self.chip.download_banner(cause).encode())
            self._downloader = Downloader(self, self.chip.loader)
            return
        start = self.chip.boot(self.flash, self.kind, cause)
        self._print(start.text.encode())
        if start.reason:
            self.state, self.reason = "bad-image", start.reason
            self._timer = self._loop.call_later(_REBOOT_S, self._start, start.retry)
            return
        self._partitions = start.partitions
        self.network.started()
        self._run(raw_repl=False, soft=False)

    def _run(self, *, raw_repl: bool, soft: bool, typed: bytes = b"") -> None:
        """Start the MicroPython process."""
        self.state, self.reason = "running", ""
        environment = {"PATH": os.defpath, **self.interpreter.environment(self.clock)}
        console = Console(self._print, self.banner(), raw_repl=raw_repl)
        self.process = ChipProcess(
            self.interpreter.command,
            environment,
            console.output,
            self._process_ended,
            self.interpreter.ctrl_c,
        )
        console.chip = self.process
        rpc = RpcServer(
            self.process.wire, self.flash, self._find_call, self.power_cut, self.process.take_ctrl_c
        )
        console.quiet_s = lambda: rpc.idle_s
        console.input(typed)
        self._console, self._rpc, self._raw_repl = console, rpc, raw_repl
        self._soft = soft

    def banner(self) -> str:
        """The first lines of the friendly REPL, as the port prints them."""
        machine = self.chip.machine_name
        version = self.interpreter.version
        return f'{version}; {machine}\r\nType "help()" for more information.\r\n'

    def _process_ended(self, code: int) -> None:
        console, chip = self._console, self.process
        raw = console is not None and console.ended_in_raw_repl()
        if console:
            console.flush()
        typed = (chip.left if chip else b"") + (console.unsent() if console else b"")
        self._end_process_after(chip)
        if code == 0:
            self._soft_reset(raw, typed)
            return
        how = (
            f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit status {code}"
        )
        self.state, self.reason = "dead", f"the MicroPython process ended with {how}"
        self.network.station_off()
        self._print(f"\r\nkeyfob: {self.reason}; `keyfob board reset` starts it again\r\n".encode())

    def _end_process_after(self, chip: ChipProcess | None) -> None:
        if self._rpc:
            self._rpc.close()
            self._rpc = None
        if chip:
            forget_process(chip.pid)
        self.process = self._console = None

    def _soft_reset(self, raw_repl: bool, typed: bytes) -> None:
        """Run the program anew; ``typed`` is still in the UART's buffer."""
        self._print(b"MPY: soft reboot\r\n")
        if self.chip.soft_reset_number is not None:
            self._cause = self.chip.soft_reset_number
        self.peripherals.soft_reset()
        self._run(raw_repl=raw_repl, soft=True, typed=typed)

    def power_cut(self) -> None:
        """The supply failed during a flash operation."""
        # What was printed before has left a chip's UART by then.
        if self.process and self._console:
            self.process.drain()
            self._console.flush()
        self.power_off()
        self.reason = "the power was cut during a flash operation, as ordered"

    # -- the serial line

    def _print(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop the board
            if self._log.tell() > _MAX_LOG_BYTES:
                self._log.truncate(0)
            self._log.write(data)
        if self._line is not None:
            self._line.print(data)

    def reply(self, data: bytes) -> None:
        """Bytes of the download protocol, which do not belong into the console's log."""
        if self._line is not None:
            self._line.print(data)

    def receive(self, data: bytes) -> None:
        """Bytes from the serial line."""
        if self._downloader is not None:
            self._downloader.receive(data)
        elif self._console is not None:
            self._console.input(data)

    def control_lines(self, dtr: bool, rts: bool) -> None:
        """The two transistors of a development board: DTR and RTS onto EN and IO0.

        EN is low with RTS alone, IO0 with DTR alone. A real EN rises slowly, and IO0 is
        looked at when it is up; tools rely on that when they set the lines one by one
        and pass through both-on. So here: in that state the board waits for the next
        change, for as long as the slowest tool needs.
        """
        self._lines = (dtr, rts)
        if self.state == "off":
            return
        if rts and not dtr:
            self._en_low = True
            self._halt()
        elif self._en_low:
            if dtr and rts:
                if self._strapping is None:
                    self._strapping = self._loop.call_later(_BOOT_PINS_S, self._en_rose)
            else:
                self._en_rose()

    def _en_rose(self) -> None:
        self._en_low = False
        dtr, rts = self._lines
        self.enable_pin(download=dtr and not rts)

    # -- what the chip asks

    def _find_call(self, name: str) -> Any:
        own = getattr(self, f"rpc_{name}", None)
        return own or getattr(self.peripherals, f"rpc_{name}", None)

    def rpc_hello(self) -> dict[str, Any]:
        if self.process:
            forget_process(self.process.pid)
        facts = {
            "flash": str(self.flash.path),
            "mac": self.mac,
            "reset_cause": self._cause,
            "raw_repl": self._raw_repl,
            "soft": self._soft,
            "machine": self.chip.machine_name,
            "build": self.chip.build,
            "banner": self.banner(),
        }
        return {**facts, **self.chip.layout(self.flash, self._partitions)}

    def rpc_mounted(self) -> None:
        self.boot_ms = (self._loop.time() - self._started_s) * 1000
        if self._console:
            self._console.booting()

    def rpc_repl(self) -> None:
        if self._console:
            self._console.repl_follows()

    def rpc_soft_reset(self) -> None:
        """SystemExit in boot.py or main.py."""
        typed = b""
        if self.process:
            self.process.drain()
            typed = self.process.unread_input()
        if self._console:
            self._console.flush()
            typed += self._console.unsent()
        raw = self._raw_repl
        self._end_process()
        self._soft_reset(raw, typed)

    def rpc_reset(self) -> None:
        if self.process:
            self.process.drain()
        self.restart(self.chip.software)

    def rpc_deepsleep(self, time_ms: int) -> None:
        self._halt()
        self.state, self.reason = "off", "deep sleep"
        if time_ms > 0:
            self._timer = self._loop.call_later(time_ms / 1000, self.restart, self.chip.deepsleep)

    def rpc_set_clock(self, s: int, us: int) -> None:
        self.clock.set(s + us / 1e6)

    async def rpc_resolve(self, host: str, port: int, type: int = 0) -> dict[str, Any]:
        return await self.network.resolve(host, port, type)

    def rpc_wlan(self, interface: int, do: str, **arguments: Any) -> Any:
        return self.network.wlan(interface, do, **arguments)
