"""The README's transcripts are what the commands print today."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tied import tied

ROOT = Path(__file__).parents[2]
# The defaults of `keyfob broker up` and `keyfob ntp up`, which the README shows.
PORTS = ((socket.SOCK_STREAM, 8883), (socket.SOCK_DGRAM, 11123))


def is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.mark.mosquitto
@pytest.mark.timeout(300)
def test_every_transcript_in_the_readme_is_what_the_commands_print():
    """Its broker and time server, whose ports are everybody's, are ended with it."""
    for kind, port in PORTS:
        if not is_free(kind, port):
            pytest.skip(f"port {port}, which the README's broker or time server takes, is in use")
    with tempfile.TemporaryDirectory(prefix="kf") as folder:  # short: lines are folded
        command = [sys.executable, "tools/transcripts.py", "--check", "README.md"]
        with tied(
            ["--bench", f"{folder}/*/.keyfob", *command],
            cwd=ROOT, env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as run:  # fmt: skip
            assert run.stdout
            told = run.stdout.read()
            assert run.wait() == 0, told
