"""The measurements: rates, instructions and write calls; the smallest heap is in `heap`.

Rates and instructions are those of the 64-bit MicroPython that is a Python extension
module; what Python itself does cancels out, because each figure is the difference
between a run with n and a run with 2n messages. Instructions are user-mode ones, as
callgrind counts them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from keyfob_host.relay import Fault, TcpRelay

# Isolated and without `site`, so that there is little start-up to cancel.
_RUN = """import sys
sys.path.append({!r})
from micropython_run import run_main
sys.argv[0] = "micropython"
run_main(sys.argv)
"""
_LIMIT_S = 60.0
# Instructions are counted over a link with a way to go, as every board's is: on the
# loopback the answer is there at once or not, as it happens, and waiting costs most.
_LINK_S = 0.001
_TRIES = 3
_SOCKET_WRITE = re.compile(r"^(?:\d+ +)?(?:write|send|sendto|sendmsg|writev)\((\d+)")


class Failed(Exception):
    """A device program did not come to its end."""


@dataclass(frozen=True)
class Subject:
    """One library on one transport. ``frozen``: an interpreter with its modules, if any."""

    library: str
    transport: str
    board: Path
    port: int
    frozen: Path | None = None

    def program(self, kind: str, *arguments: object) -> list[str]:
        """The words after the MicroPython that run it."""
        return ["-c", f"import {self.library}_{kind}", str(self.port), *map(str, arguments)]


def rate(subject: Subject, mode: str, count: int, window: int = 1) -> float:
    """Messages a second."""
    extra = subject.transport if subject.library != "keyfob" else window
    took_us = _run(_python(), subject, subject.program("rates", mode, count, extra), count)
    return count / (took_us / 1e6)


def instructions(subject: Subject, mode: str, count: int, window: int = 1) -> float:
    """Instructions a message, or a second when ``mode`` is idle.

    The least of some tries: on a busy machine the link's answers come late, and each of
    those costs a wait that says nothing about the client.
    """
    found = []
    for _ in range(_TRIES):
        seen = [_callgrind(subject, mode, size, window)[0] for size in (count, 2 * count)]
        found.append((seen[1] - seen[0]) / count)
    return min(found)


def profile(subject: Subject, mode: str, count: int, window: int = 1) -> str:
    """The functions that take most instructions a message, from the same difference."""
    with tempfile.TemporaryDirectory() as scratch:
        tables = []
        for size in (count, 2 * count):
            out = Path(scratch, f"callgrind.{size}")
            _callgrind(subject, mode, size, window, out)
            tables.append(_by_function(out))
    names = {name: (tables[1][name] - tables[0].get(name, 0)) / count for name in tables[1]}
    lines = sorted(names.items(), key=lambda item: -item[1])[:40]
    return "\n".join(f"{each:10.0f}  {name}" for name, each in lines)


def writes(subject: Subject, count: int, window: int = 1) -> float:
    """System calls that write to a socket, for each publish."""
    seen = []
    for size in (count, 2 * count):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch, "strace")
            trace = ["strace", "-f", "-e", "trace=write,sendto,sendmsg,writev", "-o", str(out)]
            extra = subject.transport if subject.library != "keyfob" else window
            words = subject.program("rates", "publish", size, extra)
            _run([*trace, *_python()], subject, words, size)
            found = [_SOCKET_WRITE.match(line) for line in out.read_text().splitlines()]
            seen.append(sum(1 for match in found if match and int(match[1]) > 2))
    return (seen[1] - seen[0]) / count


@cache
def longest_waits_ms(subject: Subject) -> dict[str, float]:
    """By phase of `keyfob_turns`: the longest that another task had to wait for its turn."""
    found: dict[str, float] = {}
    for _ in range(_TRIES):  # the least: what the machine does beside is none of ours
        said = _said(_python(), subject, subject.program("turns", subject.transport))
        for phase, longest_us in re.findall(r"^turns (\w+) (\d+)", said, re.MULTILINE):
            longest_ms = int(longest_us) / 1000
            found[phase] = min(found.get(phase, longest_ms), longest_ms)
    return found


def _python() -> list[str]:
    folder = sysconfig.get_path("platlib")
    return [sys.executable, "-I", "-S", "-c", _RUN.format(folder)]


def _callgrind(
    subject: Subject, mode: str, count: int, window: int, out: Path | None = None
) -> tuple[int, float]:
    target = out or Path(os.devnull)
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={target}"]
    with tempfile.NamedTemporaryFile("r") as log, TcpRelay(("127.0.0.1", subject.port)) as link:
        link.fail(Fault("delay", delay_s=_LINK_S))
        tool.append(f"--log-file={log.name}")
        extra = subject.transport if subject.library != "keyfob" else window
        words = replace(subject, port=link.port).program("rates", mode, count, extra)
        took_us = _run([*tool, *_python()], subject, words, count)
        found = re.search(r"Collected : (\d+)", log.read())
    if not found:
        raise Failed("valgrind counted nothing")
    return int(found[1]), took_us


def _by_function(out: Path) -> dict[str, int]:
    command = ["callgrind_annotate", "--threshold=100", "--auto=no", str(out)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    table: dict[str, int] = {}
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(\S.*)", line)
        if found and "PROGRAM TOTALS" not in found[2]:
            name = re.sub(r"^\S*:", "", found[2])
            name = re.sub(r" \[\S*/", " [", name)
            table[name] = table.get(name, 0) + int(found[1].replace(",", ""))
    return table


def _run(start: list[str], subject: Subject, words: list[str], count: int) -> float:
    """Run a device program; the microseconds that it says it took."""
    sender = _Sender(subject, count) if "receive" in words else None
    try:
        said = _said(start, subject, words)
    finally:
        if sender:
            sender.stop()
    return float(re.findall(r"^bench (\d+)", said, re.MULTILINE)[0])


def _said(start: list[str], subject: Subject, words: list[str]) -> str:
    """What a device program printed, which came to its end."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [*start, *words], cwd=subject.board, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[0]
    finally:
        process.kill()
        process.wait()
    if not re.search(r"^bench \d", said, re.MULTILINE):
        raise Failed(f"{' '.join(words)} in {subject.board} failed:\n{said[-2000:]}")
    return said


class _Sender:
    """Sends the messages that a device asks for by a publish to ``bench/ready``."""

    def __init__(self, subject: Subject, count: int) -> None:
        self._count = count
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._send
        self._client.connect("127.0.0.1", _plain_port(subject))
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.loop_start()
        self._client.subscribe("bench/ready")
        ready.wait(5)

    def _send(self, *_: object) -> None:
        threading.Thread(target=self._send_all, daemon=True).start()

    def _send_all(self) -> None:
        for _ in range(self._count):
            self._client.publish("bench/in", b"x" * 64)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        time.sleep(0.05)


def _plain_port(subject: Subject) -> int:
    return int((subject.board.parent / "plain-port").read_text())
