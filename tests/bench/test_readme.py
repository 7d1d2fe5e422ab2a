"""The README's transcripts are what the commands print today."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.mosquitto
@pytest.mark.timeout(300)
def test_every_transcript_in_the_readme_is_what_the_commands_print():
    run = subprocess.run(
        [sys.executable, "tools/transcripts.py", "--check", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
