"""Hostile records and handshake messages of TLS 1.2: whatever comes, a `KeyfobError`.

A sample by default; the marker `slow` runs 1,000,000 under CPython, 500,000 of each, and
50,000 under a 32-bit MicroPython with the heap of an ESP8266.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import board_files
import pytest
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors" / "tls12.txt"
PROGRAM = """import tls12_flight
tls12_flight.main({!r}, sys.argv[1:])
"""
WHAT = ("messages", "records")
slow = [pytest.mark.slow, pytest.mark.timeout(14_400)]


@pytest.mark.parametrize(
    ("count", "seed"), [(2000, 2), pytest.param(500_000, 3, marks=slow)], ids=["sample", "all"]
)
@pytest.mark.parametrize("what", WHAT)
def test_on_cpython(what: str, count: int, seed: int) -> None:
    """In an interpreter of its own, which loads the engine's modules once and keeps them."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import device_support, gc; "
        "import keyfob, tls12_flight; "
        "gc.collect = lambda: 0; keyfob.unload = lambda *_, **__: None; "
        f"tls12_flight.main({str(VECTORS)!r}, sys.argv[1:])"
    )
    check_fuzz([sys.executable, "-c", program], what, count, seed)


def check_fuzz(command: list[str], what: str, count: int, seed: int) -> None:
    command = [*command, what, str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    said = done.stdout.split()
    assert said[:2] == [what, str(count)] and count // 3 < int(said[-1]) <= count


@pytest.fixture(scope="module")
def rom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware and what breaks things as a ROMFS image, and a program that maps it."""
    program = PROGRAM.format(str(VECTORS))
    root = tmp_path_factory.mktemp("fuzz")
    return board_files.make_rom(root, program, [HERE / "tls12_flight.py"])


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
    check_fuzz([*micropython32, "-X", "heapsize=38k", str(rom)], what, count, seed)
