"""Where each board of a bench is now, and who holds it; what ``keyfob bench list`` shows.

Looks at the ports that the kernel has, at locks and at running virtual boards; of a place,
labgrid's coordinator is asked. Nothing is opened and no chip is asked: a board by its MAC is
found if its chip was asked since it was plugged in, and one behind a URL is taken to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serial.tools.list_ports_common import ListPortInfo

from keyfob_host.bench.chip_macs import known_chip
from keyfob_host.bench.file import BenchEntry
from keyfob_host.bench.finding_ports import fits
from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.lock import LockHolder, holder_of, lock_path
from keyfob_host.home import Home
from keyfob_host.ports import Holder, holders, is_url, socket_clients
from keyfob_host.virtual import running

SUITES = "virtual, of the suites"
_Up = tuple[Home, str, dict[str, Any]]  # where a virtual board is, its name, what it says


@dataclass(frozen=True)
class BoardState:
    """One board. ``port`` is None where there is none now, and ``why_not`` says why.

    ``lock``: the run of a suite that has it. ``users``: other programs with its port open.
    ``acquired``: who has it by labgrid. ``is_named``: whether it stands in the bench file.
    """

    name: str
    kind: str
    found_by: str
    port: str | None
    why_not: str = ""
    lock: LockHolder | None = None
    users: tuple[Holder, ...] = ()
    acquired: str = ""
    is_named: bool = True

    @property
    def held_by(self) -> str:
        """Who has it, in words; "free", or "" where there is nothing to hold."""
        if self.lock is not None:
            return self.lock.words
        if self.users:
            return ", ".join(str(user) for user in self.users)
        return self.acquired or ("" if self.why_not else "free")

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        lock = None if self.lock is None else asdict(self.lock)
        return {**asdict(self), "lock": lock, "held_by": self.held_by}


def states(
    entries: Sequence[BenchEntry], home: Home, ports: Sequence[ListPortInfo]
) -> list[BoardState]:
    """The boards of the file in its order, then running virtual boards that it does not name."""
    up = _running(home)
    # The bench's own before the one that suites have started under the same name.
    meant = {name: place for place, name, _ in reversed(up)}
    found = [
        _of_virtual(one, up, home) if one.virtual else _of_real(one, home, ports) for one in entries
    ]
    named = {(meant.get(one.name), one.name) for one in entries if one.virtual}
    for place, name, info in up:
        if (place, name) not in named:
            way = "virtual" if place == home else SUITES
            found.append(_with_info(name, str(info["kind"]), way, place, info, is_named=False))
    return found


def where(entry: BenchEntry, home: Home, ports: Sequence[ListPortInfo]) -> tuple[str | None, str]:
    """The port of a real board that hangs here or has a URL, or None and why; asks nobody."""
    if entry.url is not None:
        there = is_url(entry.url) or Path(entry.url).exists()
        return (entry.url, "") if there else (None, "not plugged in")
    found = [port.device for port in ports if fits(entry.address, port)]
    if not found and entry.mac is not None:
        chips = {port.device: known_chip(port.device, home) for port in ports}
        found = [device for device, chip in chips.items() if chip and chip.mac == entry.mac]
        if not found and None in chips.values():
            return None, "not asked yet: keyfob bench scan --probe"
    if len(found) > 1:
        return None, f"{len(found)} ports fit: {', '.join(found)}"
    return (found[0], "") if found else (None, "not plugged in")


def _of_real(entry: BenchEntry, home: Home, ports: Sequence[ListPortInfo]) -> BoardState:
    if entry.place is not None:
        return _of_place(entry, entry.place)
    port, why_not = where(entry, home, ports)
    if port is None:
        return BoardState(entry.name, entry.kind, entry.found_by, None, why_not)
    return BoardState(
        entry.name, entry.kind, entry.found_by, port,
        lock=holder_of(lock_path(home, entry.name, port)), users=tuple(_users(port)),
    )  # fmt: skip


def _of_place(entry: BenchEntry, place: str) -> BoardState:
    from keyfob_host.hil.labgrid.place import look

    try:
        state = look(place, entry.coordinator)
    except KeyfobHostError as error:
        return BoardState(entry.name, entry.kind, entry.found_by, None, error.cause)
    acquired = f"{state.holder} by labgrid, since {state.since}" if state.holder else ""
    return BoardState(entry.name, entry.kind, entry.found_by, state.port, acquired=acquired)


def _of_virtual(entry: BenchEntry, up: Sequence[_Up], home: Home) -> BoardState:
    for place, name, info in up:
        if name == entry.name:
            return _with_info(entry.name, entry.kind, entry.found_by, place, info)
    # A run that has just begun holds its board before that is up.
    places = (home, Home(home.root / "hil"))
    locks = (holder_of(lock_path(place, entry.name, None)) for place in places)
    return BoardState(
        entry.name, entry.kind, entry.found_by, None, "down",
        lock=next((lock for lock in locks if lock is not None), None),
    )  # fmt: skip


def _with_info(
    name: str, kind: str, way: str, place: Home, info: dict[str, Any], *, is_named: bool = True
) -> BoardState:
    pty, urls = str(info["pty"]), [str(info["socket_url"]), str(info["rfc2217_url"])]
    users = [*holders(pty), *(one for url in urls for one in socket_clients(url))]
    return BoardState(
        name, kind, way, pty, lock=holder_of(lock_path(place, name, None)),
        users=tuple(users) if info["client"] is not None else (), is_named=is_named,
    )  # fmt: skip


def _running(home: Home) -> list[_Up]:
    """The virtual boards of the bench, then those of its suites."""
    found: list[_Up] = []
    for place in (home, Home(home.root / "hil")):
        for board in running(place):
            with suppress(KeyfobHostError):  # ended meanwhile
                found.append((place, board.name, board.info()))
    return found


def _users(port: str) -> list[Holder]:
    return socket_clients(port) if is_url(port) else holders(port)
