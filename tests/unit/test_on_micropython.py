"""Every device unit test once more, under MicroPython itself, of 64 and of 32 bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# These look at the firmware with the host's tools.
ON_THE_HOST = {
    "test_on_micropython.py",
    "test_errors_txt.py",
    "test_mqtt_sweep.py",
    "test_certificates_made.py",
}
FILES = sorted(path.name for path in HERE.glob("test_*.py") if path.name not in ON_THE_HOST)


@pytest.fixture(scope="session")
def micropython32() -> list[str]:
    """The words that start a 32-bit MicroPython, fetched once into the user's cache."""
    tool = HERE.parents[1] / "tools" / "micropython32.py"
    found = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@pytest.mark.parametrize("name", FILES)
def test_passes_on_micropython(name: str) -> None:
    check_passes([str(Path(sys.executable).with_name("micropython"))], name)


@pytest.mark.parametrize("name", FILES)
def test_passes_on_32_bit_micropython(name: str, micropython32: list[str]) -> None:
    check_passes(micropython32, name)


def check_passes(program: list[str], name: str) -> None:
    command = [*program, str(HERE / "run_micropython.py"), str(HERE / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
