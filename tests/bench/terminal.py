"""A program on a terminal of its own, typed at and read like a person does."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
import tty
from pathlib import Path

WAIT_S = 20.0


class Terminal:
    """``command`` runs on it until the context ends."""

    def __init__(self, command: list[str], folder: Path | None = None, **environment: str) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = b""
        self.log = b""

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, ending: str) -> str:
        """What came up to and with ``ending``."""
        end, deadline = ending.encode(), time.monotonic() + WAIT_S
        while end not in self.seen:
            left_s = deadline - time.monotonic()
            assert left_s > 0 and self._read(left_s), f"no {ending!r}: {self.log[-3000:].decode()}"
        text, _, self.seen = self.seen.partition(end)
        return (text + end).decode()

    def _read(self, limit_s: float) -> bool:
        if not select.select([self._master], [], [], limit_s)[0]:
            return False
        try:
            more = os.read(self._master, 1 << 16)
        except OSError:  # the program ended
            return False
        self.seen += more
        self.log += more
        return bool(more)

    def ended(self) -> int:
        """Wait for the program's end; its exit status."""
        deadline = time.monotonic() + WAIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it runs on: {self.log[-3000:].decode()}"
            self._read(0.1)
        return self.process.returncode

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
