#!/usr/bin/env python3
"""Measure Keyfob's own TLS engine: heap, instructions, sizes of its modules.

    python tools/bench_tls.py

Mutual handshakes with mosquitto, ECDSA, AES-128-GCM, chains of one certificate, records of
512 bytes: TLS 1.2 in full, then resumed, and TLS 1.3 in full. Heap is that of the 32-bit
MicroPython, whose objects have the sizes of a board's, from .mpy files and from a ROMFS
image, both with the names that an ESP8266 gets; it holds the program that drives the
engine too, but no MQTT client. A step's figure is what is live after it, without
garbage. Instructions are those of the 64-bit MicroPython, as callgrind counts them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from certificates import CLIENT_AUTH, make_ca, make_leaf  # noqa: E402
from firmware_bench import FIRMWARE, Mosquitto, mutual_tls  # noqa: E402

from keyfob_host import romfs  # noqa: E402
from keyfob_host.mpy import board_files  # noqa: E402
from keyfob_host.names import merge_names  # noqa: E402
from keyfob_host.virtual import micropython32  # noqa: E402

HOST = "broker.keyfob.test"
STORY = ROOT / "tools" / "bench" / "device" / "tls_story.py"
# What is measured: of which version, which connection in a row.
CASES = (("TLS 1.2 in full", 12, 0), ("TLS 1.2 resumed", 12, 1), ("TLS 1.3 in full", 13, 0))
_PACKAGES = ("/keyfob/tls/", "/keyfob/pki/", "/keyfob/crypto/")
_TOP_KB = 96
_STEP_KB = 0.25
_LIMIT_S = 60
# Maps the image, so that it is no part of the heap, and runs the story from it.
_FROM_ROM = """import ffi, os, sys, uctypes, vfs
def mount(path):
    libc = ffi.open("libc.so.6")
    size = os.stat(path)[6]
    handle = libc.func("i", "open", "si")(path, 0)
    at = libc.func("i", "mmap", "iIiiiI")(0, size, 1, 1, handle, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at & 0xFFFFFFFF, size)), "/rom")
    sys.path[:] = ["/rom"]
mount({!r})
del mount, ffi, uctypes, vfs
import keyfob.tls_story
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sizes = build(folder)
        ca = make_ca()
        pair = make_leaf(ca, "sensor-01", usage=CLIENT_AUTH)
        for name, content in (("ca", ca.der), ("cert", pair.der), ("key", pair.key_der())):
            (folder / f"{name}.der").write_bytes(content)
        (folder / "now").write_text(str(int(time.time())))
        lines = mutual_tls(folder, make_leaf(ca, HOST, (HOST,)), ca)
        micropython32.fetch()
        with Mosquitto(folder / "broker", lines) as broker:
            report(folder, broker.port)
    print("\n.mpy sizes, bytes")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"  {size:6}  {name}")
    print(f"  {sum(sizes.values()):6}  in all")
    return 0


def build(folder: Path) -> dict[str, int]:
    """The firmware and the story in ``folder/files`` and in ``folder/image.romfs``; sizes."""
    source = folder / "source"
    shutil.copytree(FIRMWARE, source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STORY, source / "keyfob")
    files = merge_names(source, board_files(source))
    for file in files:
        target = folder / "files" / file.path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    _, packed = romfs.split(files)
    (folder / "image.romfs").write_bytes(romfs.build(packed).data)
    (folder / "rom.py").write_text(_FROM_ROM.format(str(folder / "image.romfs")))
    return {file.path[1:-4]: len(file.data) for file in files if file.path.startswith(_PACKAGES)}


def report(folder: Path, port: int) -> None:
    for kind in ("files", "rom"):
        print("\n.mpy files" if kind == "files" else "\nROMFS")
        for title, version, which in CASES:
            report_case(folder, kind, port, title, version, which)
    full = instructions(folder, port, 1)
    both = instructions(folder, port, 2)
    start = instructions(folder, port, 0)
    print(f"\ninstructions: full handshake {full - start:,}, resumed {both - full:,}", end="")
    print(f", {(full - start) / (both - full):.1f} times fewer")


def report_case(folder: Path, kind: str, port: int, title: str, version: int, which: int) -> None:
    smallest = smallest_heap(folder, kind, port, version, which + 1)
    said = run(folder, kind, port, 256, version, "steps", which + 1)
    begin = int(re.search(r"begin (\d+)", said)[1])  # type: ignore[index]
    opened = re.findall(r"open \w+ (\d+)", said)[which]
    steps: dict[str, int] = {}
    for phase, number in re.findall(r"step (\w+) (\d+)", said.split("open ")[which]):
        steps[phase] = max(steps.get(phase, 0), int(number))
    print(f"  {title}: smallest heap {smallest} KB, peak {max(steps.values())}", end="")
    print(f", connected {opened}, before it all {begin} bytes")
    print("   ", ", ".join(f"{phase} {most}" for phase, most in steps.items()))


def command(folder: Path, kind: str) -> list[str]:
    if kind == "files":
        return ["-c", "import sys; sys.path[:] = ['files']; import keyfob.tls_story"]
    return [str(folder / "rom.py")]


def run(
    folder: Path, kind: str, port: int, heap_kb: float, version: int, how: str, count: int
) -> str:
    """What the story says; empty if it does not come to its end."""
    words = [*micropython32.command(), "-X", f"heapsize={int(heap_kb * 1024)}"]
    words += [*command(folder, kind), str(port), str(folder), str(version), how, str(count)]
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if "bench done" in done.stdout else ""


def smallest_heap(folder: Path, kind: str, port: int, version: int, count: int) -> float | None:
    low, high = 8.0, float(_TOP_KB)
    if not run(folder, kind, port, high, version, "plain", count):
        return None
    while high - low > _STEP_KB:
        middle = (low + high) / 2
        if run(folder, kind, port, middle, version, "plain", count):
            high = middle
        else:
            low = middle
    return high


def instructions(folder: Path, port: int, count: int) -> int:
    """User-mode instructions of a process with ``count`` handshakes."""
    micropython = Path(sys.executable).with_name("micropython")
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    # A larger heap would cost more to collect than a board's, whose objects are half as large.
    words = [
        "-X",
        "heapsize=128k",
        *command(folder, "files"),
        str(port),
        str(folder),
        "12",
        "plain",
        str(count),
    ]
    done = subprocess.run(
        [*tool, sys.executable, str(micropython), *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
