"""The chip's requests to the supervisor: the other end of ``chip/_wire.py``.

A request is ``<BII`` operation, number, size and a payload; the answer ``<HHI`` status
(an errno, 0 for success), 1 if Ctrl-C ends the call, size and a payload. The chip waits
for each answer.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import inspect
import json
import socket
import struct
import sys
import termios
import time
import traceback
from collections.abc import Callable
from typing import Any

from keyfob_host.virtual.flash import SECTOR_BYTES, Flash, PowerCut

_REQUEST = struct.Struct("<BII")
_ANSWER = struct.Struct("<HHI")
_CALL, _PROGRAM, _ERASE, _HELD_CALL, _REWRITE = range(5)
_ANSWER_BYTES = 8192  # the chip's buffer


class RpcServer:
    """Serves one chip process over ``sock`` until it closes.

    ``calls`` maps a name to a function of the request's JSON arguments, which may
    return an awaitable; `OSError` from it becomes the chip's `OSError`. ``take_ctrl_c``
    says once whether a Ctrl-C waits; a call that it may end takes it with the answer.
    """

    def __init__(
        self,
        sock: socket.socket,
        flash: Flash,
        calls: Callable[[str], Callable[..., Any] | None],
        on_power_cut: Callable[[], None],
        take_ctrl_c: Callable[[], bool],
    ) -> None:
        self._sock = sock
        self._flash = flash
        self._calls = calls
        self._on_power_cut = on_power_cut
        self._take_ctrl_c = take_ctrl_c
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._last_s = 0.0
        self._busy = False
        self._held = True  # whether Ctrl-C must not end what is under way
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop serving; a request under way is dropped."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        if self._task:
            self._task.cancel()

    @property
    def idle_s(self) -> float:
        """Seconds since the last request ended; 0 from its first byte to its answer's last."""
        if self._busy or self._sock.fileno() < 0 or self._under_way():
            return 0.0
        return time.monotonic() - self._last_s

    def _under_way(self) -> int:
        """Bytes of a request not read here yet, or of an answer not read there yet."""
        asked = [termios.FIONREAD]
        if sys.platform == "linux":
            asked.append(termios.TIOCOUTQ)
        counts = (fcntl.ioctl(self._sock, number, b"\0" * 4) for number in asked)
        return sum(int.from_bytes(count, sys.byteorder) for count in counts)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._busy = True
        self._buffer += data
        if len(self._buffer) < _REQUEST.size:
            return
        operation, number, size = _REQUEST.unpack_from(self._buffer)
        if len(self._buffer) < _REQUEST.size + size:
            return
        payload = bytes(self._buffer[_REQUEST.size : _REQUEST.size + size])
        self._buffer.clear()
        self._serve(operation, number, payload)

    def _serve(self, operation: int, number: int, payload: bytes) -> None:
        try:
            if operation == _PROGRAM:
                self._flash.program(number, payload)
                self._answer(0)
            elif operation == _REWRITE:
                self._rewrite(number, payload)
                self._answer(0)
            elif operation == _ERASE:
                self._flash.erase(number, SECTOR_BYTES)
                self._answer(0)
            else:
                self._call(json.loads(payload), held=operation == _HELD_CALL)
        except PowerCut:
            self._on_power_cut()

    def _rewrite(self, offset: int, data: bytes) -> None:
        start = offset - offset % SECTOR_BYTES
        end = -(-(offset + len(data)) // SECTOR_BYTES) * SECTOR_BYTES
        whole = bytearray(self._flash.read(start, end - start))
        whole[offset - start : offset - start + len(data)] = data
        for sector in range(start, end, SECTOR_BYTES):
            self._flash.erase(sector, SECTOR_BYTES)
        self._flash.program(start, bytes(whole))

    def _call(self, arguments: dict[str, Any], *, held: bool) -> None:
        self._held = held
        function = self._calls(arguments.pop("op"))
        if function is None:
            self._answer(errno.ENOSYS)
            return
        try:
            result = function(**arguments)
        except PowerCut:
            raise
        except Exception as error:  # the chip waits for an answer, whatever went wrong
            self._failed(error)
            return
        if inspect.isawaitable(result):
            self._task = asyncio.ensure_future(self._later(result))
        else:
            self._result(result)

    async def _later(self, result: Any) -> None:
        try:
            self._result(await result)
        except Exception as error:
            self._failed(error)

    def _result(self, result: Any) -> None:
        text = json.dumps(result).encode()
        if len(text) > _ANSWER_BYTES:
            self._answer(errno.ENOMEM)
        else:
            self._answer(0, text)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno:
            self._answer(error.errno)
            return
        traceback.print_exception(error)  # into supervisor.log
        self._answer(errno.EINVAL)

    def _answer(self, status: int, payload: bytes = b"") -> None:
        self._busy = False
        self._last_s = time.monotonic()
        if self._sock.fileno() < 0:
            return
        ends = not self._held and self._take_ctrl_c()
        self._held = True
        try:
            self._sock.setblocking(True)  # the chip is waiting for exactly this
            self._sock.sendall(_ANSWER.pack(status, ends, len(payload)) + payload)
            self._sock.setblocking(False)
        except OSError:
            self.close()
