"""esptool run as a program: its progress passed on, its end certain.

One process at a time, in a session of its own, so that Ctrl-C reaches Keyfob alone,
which then ends esptool and says what state the board is in. What esptool's words
mean is for `keyfob_host.flash.failures`.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

# Stage ("connect", "erase", "write", "verify") and per cent done in it.
Progress = Callable[[str, float], None]

# A whole-chip erase is silent for as long as the slowest flash chips take.
SILENCE_TIMEOUT_S = 150.0
_EXIT_TIMEOUT_S = 15.0  # from the end of its output to its exit
_END_TIMEOUT_S = 3.0  # from a signal to its exit
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_STAGES = (
    ("Connecting", "connect", 0.0),
    ("Erasing flash", "erase", 0.0),
    ("erased successfully", "erase", 100.0),
    ("Flash will be erased", "write", 0.0),
    ("Writing at", "write", 0.0),
    ("Verifying written data", "verify", 0.0),
    ("Hash of data verified", "verify", 100.0),
)


@dataclass(frozen=True)
class EsptoolRun:
    """How it ended: exit status, all it printed, and the last stage it was in."""

    status: int
    output: str
    stage: str
    timed_out: bool = False


def run_esptool(
    arguments: list[str],
    *,
    on_progress: Progress | None = None,
    silence_timeout_s: float = SILENCE_TIMEOUT_S,
) -> EsptoolRun:
    """Run ``esptool ARGUMENTS`` to its end; it is ended when it stays silent too long.

    On a port behind an RFC 2217 server `keyfob_host.flash.esptool_remote` runs it.

    Whatever exception ends this function (Ctrl-C above all) ends esptool first.
    """
    environment = dict(os.environ, PYTHONUNBUFFERED="1", NO_COLOR="1", COLUMNS="160")
    remote = any(argument.startswith("rfc2217:") for argument in arguments)
    program = "keyfob_host.flash.esptool_remote" if remote else "esptool"
    process = subprocess.Popen(
        [sys.executable, "-m", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    follower = _Follower(on_progress)
    grace_s = 0.0
    try:
        timed_out = not _follow(process, follower, silence_timeout_s)
        grace_s = 0.0 if timed_out else _EXIT_TIMEOUT_S
    finally:
        _end(process, grace_s)
    return EsptoolRun(process.returncode, follower.output, follower.stage, timed_out)


class _Follower:
    """Collects output and turns its lines into progress."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.output = ""
        self.stage = "connect"
        self._line = ""
        self._on_progress = on_progress
        self._last: tuple[str, int] | None = None

    def feed(self, text: str) -> None:
        self.output += text
        self._line += text
        *whole, self._line = re.split(r"[\r\n]+", self._line)
        for line in whole:
            self._read(line)

    def _read(self, line: str) -> None:
        found = next((one for one in _STAGES if one[0] in line), None)
        if found is None:
            return
        _, stage, percent = found
        self.stage = stage
        match = _PERCENT.search(line)
        done = float(match[1]) if match else percent
        if self._on_progress and self._last != (stage, int(done)):
            self._last = (stage, int(done))
            self._on_progress(stage, done)


def _follow(process: subprocess.Popen[bytes], follower: _Follower, silence_s: float) -> bool:
    """Feed the follower until the output ends: True; False if it was silent too long."""
    stream = process.stdout
    if stream is None:
        return True
    with stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(silence_s):
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                return True
            follower.feed(chunk.decode("utf-8", "replace"))
    return False


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Wait ``grace_s`` for the process to exit by itself, then end it, gently first."""
    for number in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            process.send_signal(number)
        try:
            process.wait(grace_s if number is None else _END_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()
