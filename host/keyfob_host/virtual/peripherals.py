"""What hangs on a virtual board's pins, and what of the chip is not flash, clock or link."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyfob_host.virtual.machine import Machine

Color = tuple[int, ...]


class Peripherals:
    """Pins, DHT sensor, NeoPixels, watchdog, RTC memory and NVS."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.dht: tuple[float, float] | None = (20.0, 50.0)
        self.inputs: dict[int, int] = {}
        self._nvs: dict[tuple[str, str], tuple[str, Any]] = {}
        self._watchdog: asyncio.TimerHandle | None = None
        self.power_off()

    def power_off(self) -> None:
        """RTC memory and the LEDs' colours go with the power."""
        self.reset()
        self._rtc_memory = ""
        self.pixels: dict[int, list[Color]] = {}

    def reset(self) -> None:
        """The chip's pins go back to inputs; the LEDs keep their last colours."""
        self.soft_reset()
        if self._watchdog:
            self._watchdog.cancel()
            self._watchdog = None

    def soft_reset(self) -> None:
        """As `reset`, but nothing stops a watchdog that was started."""
        self.outputs: dict[int, int] = {}

    def rpc_dht(self, n: int) -> tuple[float, float]:
        if self.dht is None:
            raise OSError(self._machine.chip.etimedout, "no sensor answers")
        return self.dht

    def rpc_neopixel(self, n: int, colors: list[list[int]]) -> None:
        self.pixels[n] = [tuple(color) for color in colors]

    def rpc_pin(self, n: int, level: int | None = None) -> int:
        if level is not None:
            self.outputs[n] = level
        return self.inputs.get(n, self.outputs.get(n, 0))

    def rpc_wdt(self, timeout_ms: int | None = None) -> None:
        if timeout_ms is not None:
            self._watchdog_ms = timeout_ms
        if self._watchdog:
            self._watchdog.cancel()
        loop = asyncio.get_running_loop()
        self._watchdog = loop.call_later(
            self._watchdog_ms / 1000, self._machine.restart, self._machine.chip.watchdog
        )

    def rpc_rtc_memory(self, data: str | None = None) -> str:
        if data is not None:
            self._rtc_memory = data
        return self._rtc_memory

    def rpc_nvs(self, space: str, key: str, kind: str, value: Any = None) -> Any:
        if value is not None:
            self._nvs[space, key] = (kind, value)
            return None
        found = self._nvs.get((space, key))
        if found is None or kind not in (found[0], "erase"):
            raise OSError(errno.ENOENT, "ESP_ERR_NVS_NOT_FOUND")
        if kind == "erase":
            del self._nvs[space, key]
            return None
        return found[1]
