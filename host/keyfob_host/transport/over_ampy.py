"""The ampy back end: adafruit-ampy as a library, for devices and PTYs. All its use is here.

Taken from ampy is its ``Pyboard``: the plain raw REPL, code paced in small writes,
output and error output told apart. Not taken: its constructor (it hides why a port
cannot be opened and then waits without end), its way into the raw REPL (a soft reset
at every file), and ``ampy.files`` (32 bytes a command, no temporary name, no hash).
"""

from __future__ import annotations

import time
from typing import Any

from ampy.pyboard import Pyboard, PyboardError

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.transport import prompt
from keyfob_host.transport.base import RawReplTransport

_TIMEOUT_S = 10
# There is no flow control below: a command of one piece stays within a 256-byte buffer.
_PIECE_CHARS = 224


class _Repl(Pyboard):  # type: ignore[misc]
    """ampy's Pyboard on a port that is already open."""

    def __init__(self, port: Any) -> None:
        self.serial = port

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = _TIMEOUT_S,
        data_consumer: Any = None,
    ) -> bytes:
        return prompt.read_until(self.serial, ending, time.monotonic() + (timeout or _TIMEOUT_S))


def ampy_transport(url: str, *, baud: int, board: str) -> RawReplTransport:
    """Over devices and PTYs; not yet at the prompt. ``port.not-a-device`` for a URL."""
    if "://" in url:
        raise KeyfobHostError(
            "port.not-a-device", "ampy talks to devices only, not to network addresses",
            evidence=url, fix="use --via mpremote", status=ExitStatus.USAGE,
        )  # fmt: skip
    repl = _Repl(prompt.open_port(url, baud))
    return RawReplTransport(url, board, repl, PyboardError, _PIECE_CHARS)
