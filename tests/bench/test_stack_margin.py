"""Every everyday story of a virtual ESP8266 leaves stack to spare; see tools/bench_stack.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob_host.virtual import micropython32

LEAST_BYTES = 600
TOOL = Path(__file__).parents[2] / "tools" / "bench_stack.py"


@pytest.mark.mosquitto
@pytest.mark.slow
def test_no_story_comes_near_the_end_of_the_stack() -> None:
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")
    done = subprocess.run(
        [sys.executable, str(TOOL)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\| (.+) \| ([\d,-]+) \| ([\d,-]+) \|$", done.stdout, re.MULTILINE)
    assert len(rows) == 16
    for name, of_all, of_ours in rows:
        least = min(int(one.replace(",", "")) for one in (of_all, of_ours))
        assert least >= LEAST_BYTES, f"{name}: {least} bytes left"
