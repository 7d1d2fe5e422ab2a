"""Every device unit test once more, under MicroPython itself."""

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


@pytest.mark.parametrize("name", FILES)
def test_passes_on_micropython(name: str) -> None:
    program = Path(sys.executable).with_name("micropython")
    command = [str(program), str(HERE / "run_micropython.py"), str(HERE / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
