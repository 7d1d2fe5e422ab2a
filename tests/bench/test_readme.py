"""The README's transcripts are what the commands print today."""

import subprocess
import sys
from pathlib import Path

import pytest

from keyfob_host.listeners import who_listens

ROOT = Path(__file__).parents[2]


@pytest.mark.mosquitto
@pytest.mark.timeout(300)
def test_every_transcript_in_the_readme_is_what_the_commands_print():
    for port in (8883, 11123):
        if who_listens(port):
            pytest.skip(f"port {port}, which the README's broker and time server take, is in use")
    run = subprocess.run(
        [sys.executable, "tools/transcripts.py", "--check", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
