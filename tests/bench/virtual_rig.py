"""What the tests of virtual boards share: stock tools, the board's log, its console."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from keyfob_host.virtual import VirtualBoard

IMAGE_OFFSET = 0x1000
WAIT_S = 20.0  # for what should take milliseconds, on a machine that is busy


def tool(*arguments: str | Path, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
    """Run a stock tool of this environment as a program: ``tool("mpremote", "connect", …)``."""
    program, *rest = arguments
    return subprocess.run(
        [str(Path(sys.executable).with_name(str(program))), *map(str, rest)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def mpremote(board: VirtualBoard, *arguments: str | Path) -> str:
    """What stock mpremote printed; it must succeed."""
    done = tool("mpremote", "connect", board.info()["pty"], *arguments)
    assert done.returncode == 0, f"mpremote {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def log(board: VirtualBoard) -> str:
    """All that the board has printed so far."""
    return Path(board.info()["log"]).read_bytes().decode(errors="replace")


def wait_for_log(board: VirtualBoard, text: str, times: int = 1) -> str:
    """Wait until the board has printed ``text`` so many times; all it printed."""
    wait_until(lambda: log(board).count(text) >= times, lambda: f"{text!r} in: {log(board)!r}")
    return log(board)


def wait_until(done: Callable[[], bool], what: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; it fails with ``what`` in words."""
    end = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < end, f"waited {WAIT_S} s in vain for {what()}"
        time.sleep(0.01)


class SerialConsole:
    """The board's serial port over its plain socket."""

    def __init__(self, board: VirtualBoard) -> None:
        host, _, port = board.info()["socket_url"].removeprefix("socket://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self.seen = b""

    def __enter__(self) -> SerialConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read_until(self, ending: bytes) -> bytes:
        """What came up to and with ``ending``."""
        end = time.monotonic() + WAIT_S
        while ending not in self.seen:
            assert time.monotonic() < end, f"waited in vain for {ending!r}, got {self.seen!r}"
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                more = b""
            assert more, f"waited in vain for {ending!r}, got {self.seen!r}"
            self.seen += more
        text, _, self.seen = self.seen.partition(ending)
        return text + ending

    def closed(self) -> bytes:
        """Wait until the board closes the connection; what came before."""
        while more := self._socket.recv(1 << 16):
            self.seen += more
        return self.seen

    def run(self, code: str) -> bytes:
        """Run ``code`` in the raw REPL, and be in the friendly one again; what it printed."""
        self.send(b"\x03\x01")
        self.read_until(b"raw REPL; CTRL-B to exit\r\n>")
        self.send(code.encode() + b"\x04")
        self.read_until(b"OK")
        output = self.read_until(b"\x04")[:-1]
        error = self.read_until(b"\x04")[:-1]
        self.send(b"\x02")
        self.read_until(b">>> ")
        assert not error, error.decode()
        return output.replace(b"\r\n", b"\n")
