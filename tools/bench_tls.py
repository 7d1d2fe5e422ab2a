#!/usr/bin/env python3
"""Measure Keyfob's own TLS engine: heap, instructions, sizes of its modules.

    python tools/bench_tls.py

A mutual handshake of TLS 1.2 with mosquitto, ECDHE-ECDSA-AES128-GCM-SHA256, chains of one
certificate, records of 512 bytes; then one that resumes it. Heap is that of the 32-bit
MicroPython, whose objects have the sizes of a board's, from .mpy files and from a ROMFS
image; it holds the program that drives the engine too, but no MQTT client. Instructions
are those of the 64-bit MicroPython, as callgrind counts them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "host")]

from certificates import CLIENT_AUTH, make_ca, make_leaf  # noqa: E402
from firmware_bench import Mosquitto, mutual_tls  # noqa: E402
from mpremote.romfs import VfsRomWriter  # noqa: E402

from keyfob_host.mpy import bytecode  # noqa: E402
from keyfob_host.virtual import micropython32  # noqa: E402

HOST = "broker.keyfob.test"
STORY = ROOT / "tools" / "bench" / "device" / "tls_story.py"
PACKAGES = ("", "tls", "pki", "crypto")
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
import tls_story
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
        lines = mutual_tls(folder, make_leaf(ca, HOST, (HOST,)), ca, "tls_version tlsv1.2")
        micropython32.fetch()
        with Mosquitto(folder / "broker", lines) as broker:
            report(folder, broker.port)
    print("\n.mpy sizes, bytes")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"  {size:6}  {name}")
    print(f"  {sum(sizes.values()):6}  in all")
    return 0


def build(folder: Path) -> dict[str, int]:
    """The package and the story in ``folder/files`` and in ``folder/image.romfs``; sizes."""
    writer = VfsRomWriter()
    sizes = {}
    sources = {"tls_story": STORY}
    package = ROOT / "firmware" / "keyfob"
    for part in PACKAGES:
        for path in sorted((package / part).glob("*.py")):
            sources[f"keyfob/{part}/{path.stem}".replace("//", "/")] = path
    for name, path in sources.items():
        data = bytecode(path, f"{name}.py")
        target = folder / "files" / f"{name}.mpy"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if name.count("/") == 2:
            sizes[name] = len(data)
    pack(writer, folder / "files")
    (folder / "image.romfs").write_bytes(bytes(writer.finalise()))
    (folder / "rom.py").write_text(_FROM_ROM.format(str(folder / "image.romfs")))
    return sizes


def pack(writer: VfsRomWriter, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            writer.opendir(path.name)
            pack(writer, path)
            writer.closedir()
        else:
            writer.mkfile(path.name, path.read_bytes())


def report(folder: Path, port: int) -> None:
    for kind in ("files", "rom"):
        smallest = smallest_heap(folder, kind, port)
        said = run(folder, kind, port, 256, "steps", 2)
        begin = int(re.search(r"begin (\d+)", said)[1])  # type: ignore[index]
        opened = [int(number) for number in re.findall(r"open \w+ (\d+)", said)]
        print(f"\n{'.mpy files' if kind == 'files' else 'ROMFS'}: smallest heap {smallest} KB")
        print(f"  before the handshake {begin}, connected {opened[0]}, resumed {opened[1]} bytes")
        steps: dict[str, int] = {}
        for phase, number in re.findall(r"step (\w+) (\d+)", said.split("open")[0]):
            steps[phase] = max(steps.get(phase, 0), int(number))
        for phase, most in steps.items():
            print(f"  {most:6}  {phase}")
    full = instructions(folder, port, 1)
    both = instructions(folder, port, 2)
    start = instructions(folder, port, 0)
    print(f"\ninstructions: full handshake {full - start:,}, resumed {both - full:,}", end="")
    print(f", {(full - start) / (both - full):.1f} times fewer")


def command(folder: Path, kind: str) -> list[str]:
    if kind == "files":
        return ["-c", "import sys; sys.path[:] = ['files']; import tls_story"]
    return [str(folder / "rom.py")]


def run(folder: Path, kind: str, port: int, heap_kb: float, how: str, count: int) -> str:
    """What the story says; empty if it does not come to its end."""
    words = [*micropython32.command(), "-X", f"heapsize={int(heap_kb * 1024)}"]
    words += [*command(folder, kind), str(port), str(folder), how, str(count)]
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if "bench done" in done.stdout else ""


def smallest_heap(folder: Path, kind: str, port: int) -> float | None:
    low, high = 8.0, float(_TOP_KB)
    if not run(folder, kind, port, high, "plain", 2):
        return None
    while high - low > _STEP_KB:
        middle = (low + high) / 2
        if run(folder, kind, port, middle, "plain", 2):
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
