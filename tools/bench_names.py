#!/usr/bin/env python3
"""Count the names that a board interns until it is connected, with full and short names.

    python tools/bench_names.py

The firmware runs from .mpy files in a 32-bit MicroPython of the unix port, with an
application that only connects: over Keyfob's own engine, mutual TLS 1.2, mosquitto. New
to an ESP8266 is what `keyfob_host.rom_names` has not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from certificates import make_ca, make_leaf  # noqa: E402
from firmware_bench import FIRMWARE, Board, Mosquitto, mutual_tls  # noqa: E402

from keyfob_host.mpy import BoardFile, board_files  # noqa: E402
from keyfob_host.names import merge_names  # noqa: E402
from keyfob_host.ntp import NtpServer  # noqa: E402
from keyfob_host.rom_names import IN_ESP8266_ROM, IN_EVERY_ROM, STATIC  # noqa: E402
from keyfob_host.virtual import micropython32  # noqa: E402

HOST = "localhost"
_LIMIT_S = 60
_IN_ROM = frozenset((*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM))
_BOOT = "import micropython\nmicropython.qstr_info(1)\nprint('begun')\n"
_APP = """
import micropython
from keyfob.client import Client


async def run(config):
    async with Client(config) as client:
        await client.connected()
        await client.publish("names", b"")
        micropython.qstr_info(1)
        raise SystemExit
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch, NtpServer() as ntp:
        folder = Path(scratch)
        source = folder / "source"
        shutil.copytree(FIRMWARE, source, ignore=shutil.ignore_patterns("__pycache__"))
        (source / "apps" / "names_app.py").write_text(_APP)
        files = board_files(source)
        ca = make_ca()
        lines = mutual_tls(folder / "broker", make_leaf(ca, HOST, (HOST,)), ca)
        micropython32.fetch()
        with Mosquitto(folder / "broker", lines) as broker:
            for title, those in (("full", files), ("short", merge_names(source, files))):
                board = make_board(folder / title, those)
                board.settle(HOST, broker.port, ntp.port)
                board.provision([ca])
                report(title, interned(board), sum(len(file.data) for file in those))
    return 0


def make_board(folder: Path, files: list[BoardFile]) -> Board:
    board = Board(folder)
    shutil.rmtree(folder)
    for file in files:
        target = folder / file.path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    (folder / "boot.py").write_text(_BOOT)
    return board


def interned(board: Board) -> set[str]:
    """What the program interned, and the program that plays the board did not."""
    path = board.folder / "keyfob.json"
    settings = json.loads(path.read_text())
    settings["tls"] = {"engine": "keyfob", "versions": ["1.2"]}
    settings["app"] = {"name": "names_app"}
    path.write_text(json.dumps(settings))
    here = ROOT / "tests" / "bench"
    words = [*micropython32.command(), "-X", "heapsize=4m", str(here / "run_firmware.py")]
    done = subprocess.run(
        [*words, str(here / "shims"), str(board.folder)],
        capture_output=True, text=True, timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    before, begun, after = done.stdout.partition("\nbegun\n")
    if not begun or "qstr pool" not in after:
        sys.exit(done.stdout + done.stderr)
    return names(after) - names(before)


def names(said: str) -> set[str]:
    """Those in what ``micropython.qstr_info(1)`` prints."""
    return {line[2:-1] for line in said.splitlines() if line[:2] == "Q(" and line[-1:] == ")"}


def report(title: str, found: set[str], size: int) -> None:
    new = found - _IN_ROM
    modules = {name for name in new if name.startswith(("keyfob.", "apps."))}
    pieces = {piece for name in modules for piece in name.split(".")}
    kinds = Counter(
        "modules" if name in modules
        else "files" if name.endswith(".mpy")
        else "parts of modules' names" if name in pieces
        else "other strings" if not name.isidentifier()
        else "other names"
        for name in new
    )  # fmt: skip
    print(f"{title} names: {len(found)} interned, {len(new)} new to an ESP8266, {size} bytes")
    for kind, count in kinds.most_common():
        print(f"  {count:5}  {kind}")


if __name__ == "__main__":
    sys.exit(main())
