"""What can be asked of a virtual board over its control socket; one method a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.relay import Fault
from keyfob_host.virtual.machine import Machine
from keyfob_host.virtual.serial_port import SerialLine


class Commands:
    """The control socket's commands: ``do_NAME``; see `keyfob_host.virtual.board`."""

    def __init__(self, machine: Machine, line: SerialLine, stop: Callable[[], None]) -> None:
        self.ports: dict[str, str] = {}
        self._machine = machine
        self._line = line
        self._stop = stop

    def find(self, name: str) -> Callable[..., Any] | None:
        """The command ``name``, or None."""
        return getattr(self, f"do_{name}", None)

    def do_info(self) -> dict[str, Any]:
        machine = self._machine
        return {
            "name": machine.name,
            "kind": machine.kind.name,
            "state": machine.state,
            "reason": machine.reason,
            "pid": os.getpid(),
            "chip_pid": machine.process.pid if machine.process else None,
            **self.ports,
            "flash": str(machine.flash.path),
            "log": str(machine.folder / "console.log"),
            "mac": machine.mac,
            "client": self._line.client.kind if self._line.client else None,
            "clock_s": machine.clock.now() if machine.state == "running" else None,
            "wifi": {
                "access_point": machine.network.access_point_up,
                "status": machine.network.status,
                "connections": machine.network.live(),
            },
            "dht": machine.peripherals.dht,
            "fault": str(machine.network.fault) if machine.network.fault else None,
            "micropython": machine.interpreter.title,
            "boots": machine.boots,
            "boot_ms": machine.boot_ms,
            "flash_operations": machine.flash.operations,
        }

    def do_down(self) -> None:
        self._machine.power_off()
        self._stop()

    def do_power(self, on: bool) -> None:
        if not on:
            self._machine.power_off()
        elif self._machine.state == "off":
            self._machine.power_on()

    def do_reset(self) -> None:
        self._machine.enable_pin()

    def do_download(self) -> None:
        self._machine.enable_pin(download=True)

    def do_wifi(self, up: bool) -> None:
        self._machine.network.set_access_point(up)

    def do_clock(self, unix_s: float | None) -> None:
        if unix_s is None:
            self._machine.clock.restart()
        else:
            self._machine.clock.set(unix_s)

    def do_link(self, fault: dict[str, Any] | None) -> None:
        try:
            self._machine.network.set_fault(Fault(**fault) if fault else None)
        except (TypeError, ValueError) as error:
            raise KeyfobHostError(
                "board.bad-fault", "there is no such fault of a link",
                evidence=str(error), fix="keyfob board fault --help", status=ExitStatus.USAGE,
            ) from error  # fmt: skip

    def do_cut(self) -> int:
        return self._machine.network.cut()

    def do_dht(self, temperature_c: float | None, humidity_percent: float | None) -> None:
        if temperature_c is None or humidity_percent is None:
            self._machine.peripherals.dht = None
        else:
            self._machine.peripherals.dht = (temperature_c, humidity_percent)

    def do_pixels(self) -> dict[str, list[tuple[int, ...]]]:
        return {str(pin): colors for pin, colors in self._machine.peripherals.pixels.items()}

    def do_pin(self, n: int, level: int | None = None) -> int:
        if level is not None:
            self._machine.peripherals.inputs[n] = level
        return self._machine.peripherals.rpc_pin(n)

    def do_flash_fault(self, cut_after_writes: int | None, done: float = 0.5) -> None:
        self._machine.flash.cut_power_at(cut_after_writes, done)

    def do_throttle(self, baud: int | None) -> None:
        self._line.set_baud(baud)
