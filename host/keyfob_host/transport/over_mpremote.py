"""The mpremote back end. Every use of mpremote as a library is in this file.

mpremote promises no stability as a library, so its version is pinned and this file
says what is taken from it: the raw-paste writer, which feeds a board no more than it
has room for. Its constructor is not called (it hides why a port cannot be opened),
nor its way into the raw REPL (see `keyfob_host.transport.prompt`), and its reader is
replaced because it may wait for ever on a PTY.
"""

from __future__ import annotations

import time
from typing import Any

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from keyfob_host.transport import prompt
from keyfob_host.transport.base import RawReplTransport
from keyfob_host.transport.upload import PIECE_CHARS

_RAW_BANNER_END = b"w REPL; CTRL-B to exit\r\n>"
_PROMPT_TIMEOUT_S = 10.0
# Without raw-paste nothing stops the host from overrunning a 256-byte UART buffer
# but the pace; at 115200 baud this is what the line carries.
_PLAIN_PIECE_BYTES = 128
_PLAIN_PAUSE_S = 0.011


class _Repl(SerialTransport):  # type: ignore[misc]
    """mpremote's transport on a port that is already open."""

    def __init__(self, port: Any, url: str) -> None:
        self.serial = port
        self.device_name = url
        self.in_raw_repl = False
        self.use_raw_paste = True
        self.mounted = False
        self.is_pty = False

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = _PROMPT_TIMEOUT_S,
        data_consumer: Any = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        limit = timeout_overall or timeout or _PROMPT_TIMEOUT_S
        return prompt.read_until(self.serial, ending, time.monotonic() + limit)

    def exec_raw_no_follow(self, command: bytes) -> None:
        """As mpremote's, but nothing is printed and nothing the board says is in an error."""
        if not self.read_until(1, b">").endswith(b">"):
            raise TransportError("no prompt")
        if self.use_raw_paste:
            self.serial.write(b"\x05A\x01")
            answer = self.serial.read(2)
            if answer == b"R\x01":
                self.raw_paste_write(command)
                return
            self.use_raw_paste = False
            # b"R\x00": known but off. Anything else: the request was taken for a line of code.
            if answer != b"R\x00" and not self.read_until(1, _RAW_BANNER_END).endswith(b">"):
                raise TransportError("no prompt")
        for at in range(0, len(command), _PLAIN_PIECE_BYTES):
            self.serial.write(command[at : at + _PLAIN_PIECE_BYTES])
            time.sleep(_PLAIN_PAUSE_S)
        self.serial.write(b"\x04")
        if self.serial.read(2) != b"OK":
            raise TransportError("code not accepted")


def mpremote_transport(url: str, *, baud: int, board: str) -> RawReplTransport:
    """Over devices, PTYs, ``socket://`` and ``rfc2217://``; not yet at the prompt."""
    repl = _Repl(prompt.open_port(url, baud), url)
    return RawReplTransport(url, board, repl, TransportError, PIECE_CHARS)
