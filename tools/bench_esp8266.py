#!/usr/bin/env python3
"""Measure the whole program on a virtual ESP8266: the heap that it wants and leaves.

    python tools/bench_esp8266.py [--write] [--only WORD]

The boards are those of `keyfob board up virtual-esp8266`, flashed, synced and provisioned
as a user's are, with another size of heap where one is looked for; mosquitto asks for the
board's certificate (TLS 1.2, ECDHE-ECDSA-AES128-GCM-SHA256). A heap is large enough in
which the application connects and publishes, does so again with the session resumed after
its connection was cut, and once more in full after the broker was restarted, and never
lacks memory on the way. Free heap is what the program itself reads behind a garbage
collection after a publication, in a copy of the firmware with those lines added. Prints
tables; with ``--write`` also puts them into ``tools/RESULTS_ESP8266.md``. It judges
nothing and is no test.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import micropython32  # beside this script
from bench import rig

sys.path.insert(0, str(rig.ROOT / "tests" / "bench"))

from virtual_rig import SerialConsole

from keyfob_host.boards import SyncTo, load_kind, open_board
from keyfob_host.broker import MosquittoBroker
from keyfob_host.data import data_path
from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.ntp import NtpServer
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board
from keyfob_host.virtual import VirtualBoard

_RESULTS = rig.ROOT / "tools" / "RESULTS_ESP8266.md"
_KIND = "virtual-esp8266"
_NAME = "broker.keyfob.test"
_DEVICE_ID = "sensor-01"
_CHIP_BYTES = load_kind(_KIND).heap_bytes
_STEP_BYTES = 256
_TOP_BYTES = 80 << 10  # with 64 KB free the firmware keeps what it would drop
_LEAST_BYTES = 16 << 10  # that a board file may name
_WAIT_S = 20.0
_POLL_S = 0.05
_HEAP_LINE = re.compile(r"^heap_bytes = \d+$", re.MULTILINE)
_NO_MEMORY = ("no-memory", "MemoryError", "memory allocation failed")
_STAGES = (
    "smallest heap in which it connects and publishes",
    "… and once more, cut off, its session resumed",
    "… and once more in full, the broker restarted",
)
_LABELS = (
    *_STAGES,
    "heap in use while connected",
    "… of that MicroPython's own",
    "… of that modules",
    "… of that the connection",
    "free heap while connected, of 38 KB",
    "free heap at the prompt behind Ctrl-C, of 38 KB",
)
# What the copy of an application has in addition, behind each publication.
_READING = '    import gc\n    gc.collect()\n    emit("heap", free=gc.mem_free())\n'


@dataclass(frozen=True)
class Program:
    """``app`` of the firmware's, its code brought ``to`` the file system or a ROMFS image."""

    title: str
    app: str
    to: SyncTo


_PROGRAMS = (
    Program("blocking client, ROMFS", "sensor_small", "romfs"),
    Program("blocking client, plain files", "sensor_small", "files"),
    Program("asyncio client, ROMFS", "sensor", "romfs"),
    Program("asyncio client, plain files", "sensor", "files"),
)


@dataclass(frozen=True)
class Bench:
    """What all boards connect to."""

    folder: Path
    broker: MosquittoBroker
    ntp: NtpServer
    device: Identity

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")


class Story:
    """One power-on of a board with ``heap_bytes``, as the events on its console tell it."""

    def __init__(self, bench: Bench, name: str, heap_bytes: int) -> None:
        kind = bench.folder / str(heap_bytes) / f"{_KIND}.toml"
        if not kind.exists():
            text = (data_path("boards") / f"{_KIND}.toml").read_text()
            kind.parent.mkdir(exist_ok=True)
            kind.write_text(_HEAP_LINE.sub(f"heap_bytes = {heap_bytes}", text))
        self._bench = bench
        self.board = VirtualBoard.up(bench.home, str(kind), name, powered=False)
        self._log = Path(self.board.info()["log"])
        self._start = self._log.stat().st_size
        self._seen = 0  # events

    def __enter__(self) -> Story:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.down()

    def play(self) -> int:
        """How many of `_STAGES` it comes through, without lacking memory in one."""
        self.board.power(True)
        if not self._publishes(is_resumed=False):
            return 0
        self.board.cut_connections()
        if not self._publishes(is_resumed=True):
            return 1
        self._bench.broker.restart()
        return 3 if self._publishes(is_resumed=False) else 2

    def free_bytes(self) -> list[int]:
        """Of each connection until now, what the program read behind its first publication."""
        found = []
        for event in self._events():
            if event["ev"] == "tls.up":
                found.append(0)
            elif event["ev"] == "heap" and found and not found[-1]:
                found[-1] = event["free"]
        return found

    def _publishes(self, is_resumed: bool) -> bool:
        """Wait for a connection and for what is published over it."""
        end_s = time.monotonic() + _WAIT_S
        while time.monotonic() < end_s:
            new = self._events()[self._seen :]
            kinds = [event["ev"] for event in new]
            if "tls.up" in kinds and "publish" in kinds[kinds.index("tls.up") :]:
                self._seen += len(new)
                return new[kinds.index("tls.up")]["resumed"] is is_resumed
            if any(words in self.said() for words in _NO_MEMORY):
                return False
            time.sleep(_POLL_S)
        return False

    def _events(self) -> list[dict]:
        whole = self.said()
        lines = whole[: whole.rfind("\n") + 1].splitlines()
        return [json.loads(line[3:]) for line in lines if line.startswith("kf {")]

    def said(self) -> str:
        return self._log.read_bytes()[self._start :].decode(errors="replace")


def main() -> int:
    options = _options()
    micropython32.command()
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as scratch, _bench(Path(scratch)) as b:
        empty = _free_without_keyfob(b)
        lines = _table(b, options.only or "", _CHIP_BYTES - empty)
        what = "Free at the prompt of a board without Keyfob"
        lines += ["", f"{what}: {empty:,} of {_CHIP_BYTES:,} bytes."]
    text = f"`tools/bench_esp8266.py`, {rig.processor()}. "
    text += "; ".join(one for one in rig.versions() if "umqtt" not in one) + ".\n\n"
    text += "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULTS.write_text(_INTRODUCTION + text)
    return 0


@contextmanager
def _bench(folder: Path) -> Iterator[Bench]:
    authority = Authority.ephemeral(common_name="Bench CA")
    (folder / "ca.pem").write_bytes(authority.cert_pem())
    identity = authority.issue_broker(_NAME).write(folder / "id" / _NAME)
    host = authority.issue_host().write(folder / "id" / "host")
    broker = MosquittoBroker(
        folder / "broker", identity_dir=identity, ca_pem_path=folder / "ca.pem",
        host_identity_dir=host,
    )  # fmt: skip
    with broker, NtpServer() as ntp:
        yield Bench(folder, broker, ntp, authority.issue_device(_DEVICE_ID))


def _table(bench: Bench, only: str, own_bytes: int) -> list[str]:
    """``own_bytes``: of the heap, what MicroPython takes without Keyfob."""
    lines = [
        f"| bytes | {' | '.join(one.title for one in _PROGRAMS)} |",
        "|---|" + "---:|" * len(_PROGRAMS),
    ]
    columns = [_column(bench, one, own_bytes) if only in one.title else [] for one in _PROGRAMS]
    for row, label in enumerate(_LABELS):
        cells = [column[row] if column else "-" for column in columns]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _column(bench: Bench, program: Program, own_bytes: int) -> list[str]:
    _tell(program.title)
    name = f"{program.app}-{program.to}".replace("_", "-")
    _install(bench, name, program, data_path("firmware"))
    reached: dict[int, int] = {}
    smallest = [_smallest(bench, name, stage, reached) for stage in range(1, 1 + len(_STAGES))]
    _install(bench, name, program, _with_reading(bench, program.app))
    in_chip = smallest[0] is not None and smallest[0] <= _CHIP_BYTES
    heap_bytes = _CHIP_BYTES if in_chip else _TOP_BYTES
    with Story(bench, name, heap_bytes) as story:
        story.play()
        free = [count for count in story.free_bytes() if count]
        if not free:
            _tell(story.said())
        prompt = _free_at_prompt(story.board)
    cells = [f"more than {_TOP_BYTES:,}" if one is None else f"{one:,}" for one in smallest]
    less = heap_bytes - _CHIP_BYTES
    cells.append(f"{heap_bytes - free[0]:,}" if free else "-")
    if in_chip and free:
        parts = (own_bytes, heap_bytes - prompt - own_bytes, prompt - free[0])
        cells += [f"{part:,}" for part in parts]
    else:
        cells += ["-"] * 3
    left = f"{free[0] - less:,}" if free else "-"
    cells.append(left if in_chip or not free else f"({left})")
    cells.append(f"{prompt:,}" if in_chip else "-")
    _tell(" | ".join(cells))
    return cells


def _free_without_keyfob(bench: Bench) -> int:
    """Bytes free at the prompt of a board with MicroPython and nothing of Keyfob's."""
    with Story(bench, "empty", _CHIP_BYTES) as story:
        _flash(story.board)
        story.board.power(True)
        return _free_at_prompt(story.board)


def _install(bench: Bench, name: str, program: Program, source: Path) -> None:
    """Flash, sync and provision the board ``name`` as `keyfob` does."""
    with Story(bench, name, _CHIP_BYTES) as story:
        _flash(story.board)
        story.board.power(True)
        ref = replace(open_board(_KIND, name=name, home=bench.home), kind=load_kind(_KIND))
        sync_board(ref, source=source, to=program.to, reset=False)
        given = Settings(
            broker=f"{_NAME}:{bench.broker.port}", ntp=[f"ntp.keyfob.test:{bench.ntp.port}"],
            app={"name": program.app, "period_s": 1},
        )  # fmt: skip
        provision_board(ref, bench.device, given, reset=False)


def _flash(board: VirtualBoard) -> None:
    with Path(board.info()["flash"]).open("r+b") as flash:
        flash.write(esp8266_stand_in())


def _with_reading(bench: Bench, app: str) -> Path:
    """A copy of the firmware whose application tells what is free behind a publication."""
    folder = bench.folder / f"firmware-{app}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data_path("firmware"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "apps" / f"{app}.py"
    told = re.compile(r'^    emit\("publish".*\n', re.MULTILINE)
    text, count = told.subn(lambda found: found[0] + _READING, path.read_text())
    if count != 1:
        sys.exit(f"{path} tells publications at {count} places")
    path.write_text(text)
    return folder


def _smallest(bench: Bench, name: str, stage: int, reached: dict[int, int]) -> int | None:
    """Bytes of the smallest heap in which the program comes through ``stage``, three times
    in a row. ``reached``: what is known, by heap."""
    low, high = _LEAST_BYTES, _TOP_BYTES
    while high - low > _STEP_BYTES:
        middle = (low + high) // 2 // _STEP_BYTES * _STEP_BYTES
        if _stages(bench, name, middle, reached) >= stage:
            high = middle
        else:
            low = middle
    while high <= _TOP_BYTES:
        if all(_stages(bench, name, high, reached, again=True) >= stage for _ in range(3)):
            return high
        high += _STEP_BYTES
    return None


def _stages(
    bench: Bench, name: str, heap_bytes: int, reached: dict[int, int], again: bool = False
) -> int:
    if again or heap_bytes not in reached:
        with Story(bench, name, heap_bytes) as story:
            count = story.play()
        _tell(f"  {heap_bytes} bytes: {count} of {len(_STAGES)}")
        reached[heap_bytes] = min(count, reached.get(heap_bytes, count))
    return reached[heap_bytes]


def _free_at_prompt(board: VirtualBoard) -> int:
    with SerialConsole(board) as console:
        return int(console.run("import gc\ngc.collect()\nprint(gc.mem_free())"))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_INTRODUCTION = """\
# The whole program on an ESP8266

What the last run of `tools/bench_esp8266.py` said, of virtual ESP8266s: 32-bit MicroPython,
Keyfob's engine, the MQTT client and a sensor application, flashed, synced and provisioned with
`keyfob`'s own functions, mutual TLS 1.2 with mosquitto (ECDHE-ECDSA-AES128-GCM-SHA256). A chip
has 38,912 bytes of heap; that of the board is varied in steps of 256. A heap is counted in
which a step comes out well three times in a row and memory is never missing on the way: on the
edge it is a matter of luck. Heap in use is what the collector holds behind a collection after
a publication. MicroPython's own is what a board without Keyfob has in use, here with the
stand-ins of `machine`, `network` and the like, which are C in a chip; modules are what is still
there at the prompt, with their names; the connection is the rest. What only connecting takes is
gone by then; the smallest heap has room for it.
Where a program does not connect in 38 KB, it is measured in 80, and what would be left of 38
stands in brackets. The application is `sensor_small` with the blocking client, `sensor` with the
asyncio client.

"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update tools/RESULTS_ESP8266.md")
    parser.add_argument("--only", metavar="WORD", help="programs whose title has this word")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
