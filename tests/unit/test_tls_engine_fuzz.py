"""Hostile records and handshake messages of TLS 1.2: whatever comes, a `KeyfobError`.

A sample by default; the marker `slow` runs 1,000,000 under CPython and 50,000 under a
32-bit MicroPython with the heap of an ESP8266.
"""

from __future__ import annotations

import gc
import subprocess
from pathlib import Path

import pytest
import tls12_flight
from mpremote.romfs import VfsRomWriter
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below

from keyfob_host.mpy import bytecode

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors" / "tls12.txt"
# Maps the image, so that it is no part of the heap, as ROMFS on a board.
PROGRAM = """import ffi, os, sys, uctypes, vfs
def mount(path):
    libc = ffi.open("libc.so.6")
    handle = libc.func("i", "open", "si")(path, 0)
    size = os.stat(path)[6]
    at = libc.func("i", "mmap", "iIiiiI")(0, size, 1, 1, handle, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at & 0xFFFFFFFF, size)), "/rom")
    sys.path[:] = ["/rom"]
mount({!r})
del mount, ffi, uctypes, vfs
import tls12_flight
tls12_flight.main({!r}, sys.argv[1:])
"""
WHAT = ("messages", "records")
slow = [pytest.mark.slow, pytest.mark.timeout(14_400)]


@pytest.mark.parametrize(
    ("count", "seed"), [(400, 2), pytest.param(500_000, 3, marks=slow)], ids=["sample", "all"]
)
@pytest.mark.parametrize("what", WHAT)
def test_on_cpython(what: str, count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # 30 ms each, in a process of pytest's
    fuzz = getattr(tls12_flight, f"fuzz_{what}")
    with tls12_flight.Shortcuts():
        refused = fuzz(tls12_flight.load(), seed, count)
    assert count // 3 < refused < count


@pytest.fixture(scope="module")
def rom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware and what breaks things as a ROMFS image, and a program that maps it."""
    root = tmp_path_factory.mktemp("fuzz")
    firmware = HERE.parents[1] / "firmware"
    sources = {path.relative_to(firmware): path for path in firmware.glob("keyfob/**/*.py")}
    sources[Path("tls12_flight.py")] = HERE / "tls12_flight.py"
    for name, source in sources.items():
        target = root / "files" / name.with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytecode(source, str(name)))
    writer = VfsRomWriter()
    pack(writer, root / "files")
    (root / "image.romfs").write_bytes(bytes(writer.finalise()))
    (root / "run.py").write_text(PROGRAM.format(str(root / "image.romfs"), str(VECTORS)))
    return root / "run.py"


def pack(writer: VfsRomWriter, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            writer.opendir(path.name)
            pack(writer, path)
            writer.closedir()
        else:
            writer.mkfile(path.name, path.read_bytes())


@pytest.mark.parametrize(
    ("count", "seed"), [(100, 4), pytest.param(25_000, 5, marks=slow)], ids=["sample", "all"]
)
@pytest.mark.parametrize("what", WHAT)
def test_on_32_bit_micropython_with_an_esp8266s_heap(
    what: str,
    count: int,
    seed: int,
    rom: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    command = [*micropython32, "-X", "heapsize=38k", str(rom), what, str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    said = done.stdout.split()
    assert said[:2] == [what, str(count)] and count // 3 < int(said[-1]) <= count
