"""``bench.toml``: the boards of a bench by name, each found whatever port it is on today.

One table a board: its kind, and one way to find it - USB serial number, MAC, location, URL,
a labgrid place - or ``virtual = true``. What every board needs of the bench (access point,
this machine's address) stands once. `load_bench` checks the file strictly and by itself;
whether a board is plugged in is found out by `resolve_port`. Passwords have no place in it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from keyfob_host.bench.finding_ports import Address, find_port
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home, find_home
from keyfob_host.ports import is_url
from keyfob_host.power.table import PowerTable
from keyfob_host.strict_toml import Pattern, Range, read_strict, refuse_field

FILE_NAME = "bench.toml"
ALL = "all"  # in place of names: every board of the file
_WHAT = "bench file"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")  # as of virtual boards
_WAYS = ("usb_serial", "mac", "location", "url", "place")

_Text = Annotated[str, Range(1, 200)]
_Mac = Annotated[str, Pattern(r"(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}", 'a MAC: "24:0a:c4:12:34:56"')]
_Location = Annotated[str, Pattern(r"\d+-\d+(\.\d+)*(:\d+\.\d+)?", 'a USB location: "1-1.4"')]
_Url = Annotated[
    str,
    Pattern(
        r"(rfc2217|socket)://[^\s/]+:\d+\S*|/\S+",
        '"rfc2217://host:port", "socket://host:port" or a device: "/dev/ttyUSB0"',
    ),
]


@dataclass(frozen=True)
class _BoardTable:
    kind: _Text | None = None
    usb_serial: _Text | None = None
    mac: _Mac | None = None
    location: _Location | None = None
    url: _Url | None = None
    place: _Text | None = None
    virtual: bool = False
    firmware: _Text | None = None
    power: PowerTable | None = None


@dataclass(frozen=True)
class _WifiTable:
    ssid: Annotated[str, Range(1, 32)]


@dataclass(frozen=True)
class _BenchTable:
    address: _Text | None = None
    coordinator: _Text | None = None


@dataclass(frozen=True)
class _Tables:
    board: dict[str, _BoardTable] = field(default_factory=dict)
    wifi: _WifiTable | None = None
    bench: _BenchTable | None = None


@dataclass(frozen=True)
class BenchEntry:
    """One board of the file. Exactly one of the ways to find it is there, or ``virtual``.

    ``kind`` is "" as long as nobody said it; `BenchFile.pick` refuses such a board.
    ``firmware``: the image that `keyfob flash` takes if none is named. ``power``: for
    `keyfob_host.power.open_power`, None where nothing can switch its supply. ``coordinator``:
    labgrid's, for a ``place``.
    """

    name: str
    kind: str
    usb_serial: str | None = None
    mac: str | None = None
    location: str | None = None
    url: str | None = None
    place: str | None = None
    virtual: bool = False
    firmware: Path | None = None
    power: PowerTable | None = None
    coordinator: str | None = None

    @property
    def address(self) -> Address:
        """How its port is found on this machine; nothing in it for a virtual board or a place."""
        return Address(self.usb_serial, self.mac, self.location, self.url)

    @property
    def found_by(self) -> str:
        """How it is found, in words."""
        if self.virtual:
            return "virtual"
        if self.url is not None:
            return "URL" if is_url(self.url) else "device"
        return f"labgrid place {self.place}" if self.place is not None else str(self.address)


@dataclass(frozen=True)
class BenchFile:
    """A ``bench.toml``: its boards in the file's order, and what they have in common.

    ``address``: this machine's, as boards reach it. ``coordinator``: labgrid's.
    """

    path: Path
    boards: tuple[BenchEntry, ...]
    wifi_ssid: str | None = None
    address: str | None = None
    coordinator: str | None = None

    def pick(self, names: Sequence[str]) -> tuple[BenchEntry, ...]:
        """The boards called ``names``, each once; ``all`` stands for every one of the file.

        Errors: ``bench.unknown-board``, ``bench.no-boards``, ``bench.kind-missing``.
        """
        if ALL in names:
            found = self.boards
        else:
            found = tuple(self.find(name) for name in dict.fromkeys(names))
        if not found:
            raise KeyfobHostError(
                "bench.no-boards", f"there is no board in {self.path.name}",
                evidence=str(self.path), fix="keyfob bench scan", status=ExitStatus.INPUT,
            )  # fmt: skip
        for one in found:
            check_kind(one, self.path)
        return found

    def find(self, name: str) -> BenchEntry:
        """The board ``name``; error ``bench.unknown-board`` with the nearest one."""
        known = {one.name: one for one in self.boards}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, 1)
        raise KeyfobHostError(
            "bench.unknown-board", f"there is no board {name!r} in {self.path.name}",
            evidence=f"{self.path} has: {', '.join(known) or 'none'}",
            fix="keyfob bench list" + (f"  # perhaps {near[0]} is meant" if near else ""),
            status=ExitStatus.USAGE,
        )  # fmt: skip


def bench_path(home: Home) -> Path:
    """Where the bench file of ``home`` is, if it has one."""
    return home.root / FILE_NAME


def load_bench(path: Path) -> BenchFile:
    """The file ``path``, checked.

    Errors: ``bench.no-file``, ``bench.password-in-file``, ``bench.ways``, ``toml.*`` and
    ``file.*`` (see `keyfob_host.strict_toml`).
    """
    if not path.exists():
        raise KeyfobHostError(
            "bench.no-file", "there is no bench file yet", evidence=str(path),
            fix="keyfob bench scan", status=ExitStatus.INPUT,
        )  # fmt: skip
    try:
        tables = read_strict(path, _Tables, what=_WHAT)
    except KeyfobHostError as error:
        if error.code == "toml.unknown-field" and ".password is no field" in error.cause:
            raise KeyfobHostError(
                "bench.password-in-file", "a password does not belong into the bench file",
                evidence=error.evidence.partition(";")[0],
                fix="take it out of the file, then: read -rs KEYFOB_WIFI_PASSWORD; "
                "export KEYFOB_WIFI_PASSWORD",
            ) from None  # fmt: skip
        raise
    bench = tables.bench or _BenchTable()
    boards = tuple(
        replace(_entry(path, name, table), coordinator=bench.coordinator)
        for name, table in tables.board.items()
    )
    _check_apart(path, boards)
    return BenchFile(
        path,
        boards,
        wifi_ssid=tables.wifi.ssid if tables.wifi else None,
        address=bench.address,
        coordinator=bench.coordinator,
    )


def find_entry(home: Home, name: str) -> BenchEntry | None:
    """The board ``name`` of the bench file of ``home``; None without such a file or board.

    Errors: those of `load_bench`, and ``bench.kind-missing``.
    """
    path = bench_path(home)
    boards = load_bench(path).boards if path.exists() else ()
    entry = next((one for one in boards if one.name == name), None)
    if entry is not None:
        check_kind(entry, path)
    return entry


def entry_names(home: Home) -> list[str]:
    """The names in the bench file of ``home``, none without one."""
    path = bench_path(home)
    return [one.name for one in load_bench(path).boards] if path.exists() else []


def bench_coordinator(home: Home) -> str | None:
    """labgrid's coordinator as the bench file of ``home`` names it."""
    path = bench_path(home)
    return load_bench(path).coordinator if path.exists() else None


def check_kind(entry: BenchEntry, path: Path) -> None:
    """Refuse a board whose kind nobody said yet: ``bench.kind-missing``."""
    if not entry.kind:
        raise KeyfobHostError(
            "bench.kind-missing", f"{path.name} does not say what kind of board {entry.name} is",
            evidence=f"{path}: board.{entry.name} has no kind",
            fix="keyfob bench scan --probe  # asks the chip; or write: kind = \"esp32\"",
        )  # fmt: skip


def resolve_port(
    entry: BenchEntry, home: Home | None = None, on_step: Callable[[str], None] | None = None
) -> str:
    """Today's port of the board: a device or a URL, as ``--port`` takes it.

    A virtual board's is that of the running one of its name. By MAC, chips are asked that
    were not yet since they were plugged in, which restarts their boards; one that is in use
    is left alone; ``on_step`` is told of each. Errors: ``port.not-plugged-in``,
    ``port.ambiguous``, ``board.not-up``, those of labgrid.
    """
    if entry.virtual:
        from keyfob_host.virtual import VirtualBoard

        return str(VirtualBoard.attach(home or find_home(), entry.name).info()["pty"])
    if entry.place is not None:
        # labgrid is an extra, which only its users have installed.
        from keyfob_host.hil.labgrid.place import resolve

        return resolve(entry.place, entry.coordinator)
    if entry.mac is not None:
        from keyfob_host.bench.chip_macs import find_mac

        return find_mac(entry.mac, f"board {entry.name}", home or find_home(), on_step=on_step)
    return find_port(entry.address, f"board {entry.name}")


def _entry(path: Path, name: str, table: _BoardTable) -> BenchEntry:
    """The checked board; fields that must agree with each other are refused with their names."""
    from keyfob_host.boards import kind_names, load_kind

    def refuse(what: str, value: object, wanted: str) -> KeyfobHostError:
        return refuse_field(path, f"board.{name}{what}", value, wanted, what=_WHAT)

    kinds = kind_names()
    if not _NAME.fullmatch(name) or name == ALL:
        raise refuse("", name, "up to 32 of a-z, 0-9, dot, dash, underscore, and not all")
    kind = table.kind or ""
    if kind.endswith(".toml"):  # a kind of one's own, beside the bench file
        kind = str(path.parent / kind)
    if kind and kind not in kinds and not kind.endswith(".toml"):
        near = difflib.get_close_matches(kind, kinds, 1)
        raise refuse(".kind", kind, f"perhaps {near[0]}" if near else f"one of {', '.join(kinds)}")
    if name in kinds and kind not in ("", name):
        raise refuse("", name, f"another name, or kind {name}: that is what a board {name} is")
    ways = [way for way in _WAYS if getattr(table, way) is not None]
    if len(ways) + table.virtual != 1:
        raise _ways(path, name, [*ways, *["virtual"] * table.virtual])
    if kind and load_kind(kind).virtual != table.virtual:
        wanted = "true for a virtual kind" if not table.virtual else "false for a real kind"
        raise refuse(".virtual", table.virtual, wanted)
    power = table.power.at(table.location) if table.power else None
    fault = power.fault() if power else None
    if fault is not None:
        raise refuse(f".power.{fault[0]}", fault[1], fault[2])
    firmware = path.parent / Path(table.firmware).expanduser() if table.firmware else None
    return BenchEntry(
        name, kind, table.usb_serial, table.mac and table.mac.lower(), table.location, table.url,
        table.place, table.virtual, firmware, power,
    )  # fmt: skip


def _ways(path: Path, name: str, given: Sequence[str]) -> KeyfobHostError:
    """``bench.ways``: nothing to find the board by, or more than one thing."""
    place = refuse_field(path, f"board.{name}", "", "", what=_WHAT)  # knows the line
    has = f"has {' and '.join(given)}" if given else "has nothing that it is found by"
    return KeyfobHostError(
        "bench.ways", f"{_WHAT} {path.name}: board.{name} {has}",
        evidence=place.evidence.partition(f" board.{name}")[0] + f" board.{name} {has}; wanted: "
        f"exactly one of {', '.join(_WAYS)} and virtual", fix=place.fix,
    )  # fmt: skip


def _check_apart(path: Path, boards: Sequence[BenchEntry]) -> None:
    """No two names for one board: they would be locked and run as two."""
    seen: dict[str, str] = {}
    for one in boards:
        way = next((way for way in _WAYS if getattr(one, way) is not None), None)
        if way is None:
            continue
        other = seen.setdefault(f"{way} {getattr(one, way)}", one.name)
        if other != one.name:
            raise refuse_field(
                path, f"board.{one.name}.{way}", getattr(one, way),
                f"another than that of board {other}", what=_WHAT,
            )  # fmt: skip
