"""What hangs on this machine, held against the bench file, and the lines that it lacks.

A port is new, or that of a board which the file names, or left out with a reason. Lines are
only ever added: a new table at the end, or the kind in a table that has none yet. So names,
kinds and remarks of a person stay as they are, and a second scan changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from serial.tools.list_ports_common import ListPortInfo

from keyfob_host.bench.chip_macs import Asked, kind_of, known_chip
from keyfob_host.bench.file import FILE_NAME, BenchEntry, load_bench
from keyfob_host.bench.finding_ports import Address, fits, is_board, lasting_address, own_mac
from keyfob_host.bench.state import where
from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded, write_atomic
from keyfob_host.flash.flashing import Chip
from keyfob_host.home import Home
from keyfob_host.ports import is_url
from keyfob_host.printable import LINE_CHARS, printable
from keyfob_host.virtual import running

_HEAD = """\
# The boards of this bench; who has which: keyfob bench list. Names and kinds are yours to change.
# What real boards need of the bench (their Wi-Fi password comes from KEYFOB_WIFI_PASSWORD):
#
# [wifi]
# ssid = "workshop"
#
# [bench]
# address = "192.0.2.10"    # this machine's, as boards reach it
"""
_NO_KIND = '# kind = "…"    # keyfob bench scan --probe asks the chip'
_WAYS = {
    "usb_serial": "its serial number",
    "mac": "its chip's MAC",
    "location": "where it is plugged in",
    "url": "its device, which may be another one's tomorrow",
}


@dataclass(frozen=True)
class Seen:
    """One port, virtual board, or board of the file.

    ``state``: "new", "known" (the file has it), "absent" (only the file has it), "left out".
    ``table``: the TOML of a new one. ``kind``: "" if nobody said it. ``notes``: why so.
    """

    state: str
    name: str
    port: str | None
    kind: str
    found_by: str
    notes: tuple[str, ...] = ()
    table: str = ""
    kind_found: str = ""  # for a board of the file that has none


@dataclass
class Scan:
    """What was found. ``asked``: what chips answered, by device."""

    entries: Sequence[BenchEntry]
    home: Home
    ports: Sequence[ListPortInfo]
    kind: str = ""
    asked: dict[str, Asked] = field(default_factory=dict)

    def to_ask(self) -> list[str]:
        """The ports whose chips can tell something that is not known."""
        new = [port.device for port in self.ports if self._is_new(port) or self._may_be(port)]
        here = [one for one in self.entries if one.place is None and not one.virtual]
        unknown = [one for one in here if not one.kind]
        theirs = [where(one, self.home, self.ports)[0] for one in unknown]
        devices = dict.fromkeys([*new, *(port for port in theirs if port is not None)])
        return [device for device in devices if self._chip(device) is None]

    def seen(self) -> list[Seen]:
        """New ones and ports first, then the boards of the file that are not there."""
        found: list[Seen] = []
        taken = [one.name for one in self.entries]
        for port in self.ports:
            entry = self._entry_of(port)
            if entry is not None:
                found.append(self._known(entry, port.device))
            elif self._is_new(port):
                found.append(self._new(port, taken))
                taken.append(found[-1].name)
            else:
                found.append(self._left_out(port))
        for board in running(self.home):
            if board.name not in taken:
                with suppress(KeyfobHostError):  # ended meanwhile
                    found.append(_new_virtual(board.name, str(board.info()["kind"])))
                    taken.append(board.name)
        there = {one.name for one in found}
        found += [self._not_on_usb(one) for one in self.entries if one.name not in there]
        return found

    def _is_new(self, port: ListPortInfo) -> bool:
        return self._is_nobody_s(port) and not self._may_be(port)

    def _is_nobody_s(self, port: ListPortInfo) -> bool:
        return is_board(port) and self._entry_of(port) is None and self._relay_of(port) is None

    def _may_be(self, port: ListPortInfo) -> list[str]:
        """The boards that go by their MAC and may be on this port: its chip was not asked."""
        if not self._is_nobody_s(port) or own_mac(port) or self._chip(port.device) is not None:
            return []
        by_mac = [one for one in self.entries if one.mac is not None]
        return [one.name for one in by_mac if where(one, self.home, self.ports)[0] is None]

    def _entry_of(self, port: ListPortInfo) -> BenchEntry | None:
        return next((one for one in self.entries if self._is_on(one, port)), None)

    def _is_on(self, entry: BenchEntry, port: ListPortInfo) -> bool:
        if entry.url is not None:
            return not is_url(entry.url) and os.path.realpath(entry.url) == port.device
        chip = self._chip(port.device)
        if entry.mac is not None and chip is not None and chip.mac == entry.mac:
            return True
        if entry.mac is not None:
            return where(entry, self.home, self.ports)[0] == port.device
        return entry.address.count == 1 and fits(entry.address, port)

    def _relay_of(self, port: ListPortInfo) -> BenchEntry | None:
        """The board whose power a relay on that port switches."""
        return next(
            (
                one
                for one in self.entries
                if one.power is not None
                and one.power.driver == "relay"
                and (fits(one.power.address, port) or one.power.url == port.device)
            ),
            None,
        )

    def _chip(self, device: str) -> Chip | None:
        asked = self.asked.get(device)
        return asked.chip if asked else known_chip(device, self.home)

    def _known(self, entry: BenchEntry, port: str) -> Seen:
        chip, notes = self._chip(port), self._why_no_chip(port)
        kind = "" if entry.kind or chip is None else kind_of(chip)
        if chip is not None and entry.kind and kind_of(chip) not in ("", entry.kind):
            notes = (f"its chip is an {chip.name}, the file says {entry.kind}: left as it is",)
        return Seen("known", entry.name, port, entry.kind or kind, entry.found_by, notes,
                    kind_found=kind)  # fmt: skip

    def _new(self, port: ListPortInfo, taken: Sequence[str]) -> Seen:
        chip = self._chip(port.device)
        kind = kind_of(chip) if chip else self.kind
        address, why = lasting_address(port, self.ports)
        if why and chip is not None and chip.mac:
            address = Address(mac=chip.mac)
        remarks = [f"{why}: it goes by {_WAYS[_way(address)]}"] if why else []
        if chip is not None and not kind:
            remarks.append(f"there is no board kind for its chip, {chip.name}")
        name = _name(kind, chip, taken)
        title = printable(f"{port.description}, on {port.device}", limit=LINE_CHARS)
        table = _table(name, kind, address, [title, *remarks])
        notes = (*remarks, *self._why_no_chip(port.device))
        return Seen("new", name, port.device, kind, str(address), notes, table)

    def _why_no_chip(self, device: str) -> tuple[str, ...]:
        asked = self.asked.get(device)
        return () if asked is None or asked.chip else (asked.why_not,)

    def _left_out(self, port: ListPortInfo) -> Seen:
        relay, may_be = self._relay_of(port), self._may_be(port)
        if relay is not None:
            why = f"the relay that switches {relay.name}"
        elif may_be:
            why = f"may be {' or '.join(may_be)}, by its MAC: keyfob bench scan --probe"
        else:
            why = "no adapter that boards are known to have; if it is one, write it in by hand"
        what = printable(str(port.description), limit=LINE_CHARS)
        return Seen("left out", "", port.device, "", what, (why, *self._why_no_chip(port.device)))

    def _not_on_usb(self, entry: BenchEntry) -> Seen:
        if entry.virtual or entry.place is not None:
            return Seen("known", entry.name, None, entry.kind, entry.found_by)
        port, why = where(entry, self.home, self.ports)
        if port is not None:  # by URL, or no USB port
            return self._known(entry, port)
        return Seen("absent", entry.name, None, entry.kind, entry.found_by, (why,))


def plan(path: Path, found: Sequence[Seen]) -> tuple[str, str]:
    """The text of the bench file ``path`` as it is ("" if there is none), and as it is to be.

    Errors: ``bench.cannot-add`` for a file that is written in another way than tables.
    """
    before = read_bounded(path, "read the bench file").decode() if path.exists() else ""
    after = before
    for one in found:
        if one.kind_found:
            header = re.compile(
                rf"^([ \t]*\[\s*board\s*\.\s*(['\"]?){re.escape(one.name)}\2\s*\].*)$", re.M
            )
            after, count = header.subn(rf'\1\nkind = "{one.kind_found}"', after, count=1)
            if not count:
                raise _cannot_add(path, f'board {one.name}: kind = "{one.kind_found}"')
    tables = [one.table for one in found if one.table]
    if not tables:
        return before, after
    return before, "\n".join([after.rstrip("\n") + "\n" if after.strip() else _HEAD, *tables])


def write_bench(path: Path, text: str) -> None:
    """Write the file ``path`` anew; ``bench.cannot-add`` if it would be no bench file any more."""
    try:
        with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as folder:
            trial = Path(folder) / FILE_NAME
            trial.write_text(text)
            load_bench(trial)
    except KeyfobHostError as error:
        raise _cannot_add(path, error.cause) from error
    write_atomic(path, text)


def _cannot_add(path: Path, seen: str) -> KeyfobHostError:
    return KeyfobHostError(
        "bench.cannot-add", "what was found cannot be added to the file as it is written",
        evidence=f"{path}: {seen}",
        fix="keyfob bench scan --dry-run --bench new.toml  # and write in by hand what it shows",
    )  # fmt: skip


def _new_virtual(name: str, kind: str) -> Seen:
    lines = (f"[board.{_key(name)}]", f'kind = "{kind}"', "virtual = true", "")
    return Seen("new", name, None, kind, "virtual", (), "\n".join(lines))


def _table(name: str, kind: str, address: Address, remarks: Sequence[str]) -> str:
    lines = [f"# {remark}" for remark in remarks]
    lines.append(f"[board.{_key(name)}]")
    lines.append(f'kind = "{kind}"' if kind else _NO_KIND)
    way = _way(address)
    # The escapes of JSON are those of TOML.
    lines.append(f"{way} = {json.dumps(getattr(address, way), ensure_ascii=False)}")
    return "\n".join([*lines, ""])


def _way(address: Address) -> str:
    return next(way for way in _WAYS if getattr(address, way) is not None)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _name(kind: str, chip: Chip | None, taken: Sequence[str]) -> str:
    """A name that nobody has: by the end of the chip's MAC, else the first free number."""
    base = kind or "board"
    if chip is not None and chip.mac:
        named = f"{base}-{chip.mac.replace(':', '')[-6:]}"
        if named not in taken:
            return named
    return next(
        name for number in range(1, len(taken) + 2) if (name := f"{base}-{number}") not in taken
    )
