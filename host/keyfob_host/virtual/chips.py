"""What tells one virtual chip from another: its ROM, and the numbers of its MicroPython port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keyfob_host.boards import BoardKind
from keyfob_host.virtual import loaders, rom, rom8266
from keyfob_host.virtual.download import Loader
from keyfob_host.virtual.flash import Flash, Partition
from keyfob_host.virtual.rom import Boot, Cause


@dataclass(frozen=True)
class Statuses:
    """The port's numbers for a Wi-Fi station's state (``network.STAT_*``)."""

    idle: int
    connecting: int
    got_ip: int
    no_ap_found: int
    wrong_password: int
    beacon_timeout: int


@dataclass(frozen=True)
class Chip:
    """A chip and the MicroPython port for it."""

    machine_name: str  # as the REPL's banner has it
    build: str  # ``sys.implementation._build``
    oui: str  # the first half of its MAC address
    boot: Callable[[Flash, BoardKind, Cause], Boot]
    download_banner: Callable[[Cause], str]
    loader: Loader
    poweron: Cause
    enable_pin: Cause
    software: Cause
    watchdog: Cause
    deepsleep: Cause
    soft_reset_number: int | None  # machine.reset_cause() after Ctrl-D; None: as it was
    layout: Callable[[Flash, tuple[Partition, ...]], dict[str, Any]]  # for the port's `hello`
    statuses: Statuses
    no_such_host: int  # what getaddrinfo raises
    etimedout: int  # as the port's C library numbers it
    remembers_station: bool  # whether Wi-Fi settings are kept in flash, and used at each start


_ESP32 = Chip(
    machine_name="Virtual ESP32 with ESP32",
    build="ESP32_GENERIC",
    oui="240ac4",
    boot=rom.boot,
    download_banner=rom.download_banner,
    loader=loaders.ESP32,
    poweron=rom.POWERON,
    enable_pin=rom.POWERON,
    software=rom.SOFTWARE,
    watchdog=rom.TASK_WATCHDOG,
    deepsleep=rom.DEEPSLEEP,
    soft_reset_number=5,
    layout=lambda _flash, partitions: {
        "partitions": [(p.type, p.subtype, p.offset, p.size, p.label) for p in partitions]
    },
    statuses=Statuses(1000, 1001, 1010, 201, 202, 200),
    no_such_host=-202,
    etimedout=116,
    remembers_station=False,
)
_ESP8266 = Chip(
    machine_name="Virtual ESP8266 with ESP8266",
    build="ESP8266_GENERIC",
    oui="5ccf7f",
    boot=rom8266.boot,
    download_banner=rom8266.download_banner,
    loader=loaders.ESP8266,
    poweron=rom8266.POWERON,
    enable_pin=rom8266.ENABLE_PIN,
    software=rom8266.SOFTWARE,
    watchdog=rom8266.WATCHDOG,
    deepsleep=rom8266.DEEPSLEEP,
    soft_reset_number=None,
    layout=lambda flash, _partitions: {
        "flash_size": rom8266.flash_bytes(flash),
        "user_start": rom8266.USER_START,
        "romfs": rom8266.romfs(flash),
    },
    statuses=Statuses(0, 1, 5, 3, 2, 1),
    no_such_host=-2,
    etimedout=110,
    remembers_station=True,
)


def chip_of(kind: BoardKind) -> Chip:
    """The chip of a virtual board kind; every other than the ESP8266 is played as an ESP32."""
    return _ESP8266 if kind.chip == "esp8266" else _ESP32
