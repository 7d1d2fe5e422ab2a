"""The serial port of a virtual board: RFC 2217, plain TCP and a PTY onto one line.

One client at a time, whichever came first; others are turned away until it leaves.
Only RFC 2217 carries the control lines. What the board prints while nobody listens
is lost, as on a UART. Parity and stop bits are accepted and change nothing; the baud
rate slows the line down only when asked to (`SerialLine.set_baud`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from serial import rfc2217

_MAX_UNREAD = 1 << 20
_PTY_POLL_S = 0.02
_BUSY = b"\r\nkeyfob: another program has this board's serial port open\r\n"


class Client(Protocol):
    """One way of being connected."""

    kind: str

    def send(self, data: bytes) -> None: ...


class SerialLine:
    """The line between the board and the one client that holds it."""

    def __init__(
        self, to_board: Callable[[bytes], None], on_lines: Callable[[bool, bool], None]
    ) -> None:
        self._to_board = to_board
        self._on_lines = on_lines
        self.client: Client | None = None
        self._up = _Pace(self._deliver_up)
        self._down = _Pace(self._deliver_down)

    def set_baud(self, baud: int | None) -> None:
        """Slow the line to ``baud`` (10 bits a byte), or let it run."""
        self._up.bytes_per_s = self._down.bytes_per_s = None if baud is None else baud / 10

    def claim(self, client: Client) -> bool:
        """Take the line; False when another client has it."""
        if self.client is not None and self.client is not client:
            return False
        self.client = client
        return True

    def release(self, client: Client) -> None:
        """Give the line back; both control lines fall, as when a cable is pulled."""
        if self.client is client:
            self.client = None
            self._on_lines(False, False)

    def from_client(self, client: Client, data: bytes) -> None:
        """Bytes that ``client`` sent; ignored unless it holds the line."""
        if client is self.client:
            self._up.put(data)

    def lines(self, client: Client, dtr: bool, rts: bool) -> None:
        """The control lines, as ``client`` sets them."""
        if client is self.client:
            self._on_lines(dtr, rts)

    def print(self, data: bytes) -> None:
        """Bytes that the board sent."""
        if self.client is not None:
            self._down.put(data)

    def _deliver_up(self, data: bytes) -> None:
        self._to_board(data)

    def _deliver_down(self, data: bytes) -> None:
        if self.client is not None:
            self.client.send(data)


class _Pace:
    """Passes bytes on at once, or at ``bytes_per_s``."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self.bytes_per_s: float | None = None
        self._deliver = deliver
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes) -> None:
        if self.bytes_per_s is None and not self._waiting:
            self._deliver(data)
            return
        self._waiting.append(data)
        if self._timer is None:
            self._next()

    def _next(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        data = self._waiting.popleft()
        portion = len(data) if self.bytes_per_s is None else max(1, int(self.bytes_per_s / 100))
        part, rest = data[:portion], data[portion:]
        if rest:
            self._waiting.appendleft(rest)
        self._deliver(part)
        delay = 0.0 if self.bytes_per_s is None else len(part) / self.bytes_per_s
        self._timer = asyncio.get_running_loop().call_later(delay, self._next)


class SocketClient(asyncio.Protocol):
    """A TCP connection as it is: pyserial's ``socket://``."""

    kind = "socket"

    def __init__(self, line: SerialLine) -> None:
        self.line = line
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport
        if not self.line.claim(self):
            self.refuse()

    def refuse(self) -> None:
        if self.transport:
            self.transport.write(_BUSY)
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.line.release(self)

    def data_received(self, data: bytes) -> None:
        self.line.from_client(self, data)

    def send(self, data: bytes) -> None:
        if self.transport and self.transport.get_write_buffer_size() < _MAX_UNREAD:
            self.transport.write(data)


class Rfc2217Client(SocketClient):
    """A TCP connection in RFC 2217's telnet, control lines included."""

    kind = "rfc2217"

    def __init__(self, line: SerialLine) -> None:
        super().__init__(line)
        self._port = _Uart(lambda dtr, rts: self.line.lines(self, dtr, rts))
        self._manager: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.line.client is self:
            port: Any = self._port  # not a serial.Serial, but all the manager asks of one
            connection: Any = self
            self._manager = rfc2217.PortManager(port, connection)

    def write(self, data: bytes) -> None:
        """Bytes of the telnet protocol itself, from the port manager."""
        if self.transport:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._manager is not None:
            typed = b"".join(self._manager.filter(data))
            if typed:
                self.line.from_client(self, typed)

    def send(self, data: bytes) -> None:
        super().send(data.replace(b"\xff", b"\xff\xff"))  # IAC doubled, RFC 854


class _Uart:
    """What the port manager takes for a ``serial.Serial``."""

    def __init__(self, on_lines: Callable[[bool, bool], None]) -> None:
        self._on_lines = on_lines
        self.baudrate, self.bytesize, self.parity, self.stopbits = 115200, 8, "N", 1
        self.xonxoff = self.rtscts = self.break_condition = False
        self.cts = self.dsr = self.cd = True
        self.ri = False
        self._dtr = self._rts = False

    @property
    def dtr(self) -> bool:
        return self._dtr

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self._dtr = value
        self._on_lines(self._dtr, self._rts)

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, value: bool) -> None:
        self._rts = value
        self._on_lines(self._dtr, self._rts)

    def reset_input_buffer(self) -> None:
        """Nothing is kept here that could be thrown away."""

    reset_output_buffer = reset_input_buffer


class PtyClient:
    """A pseudo-terminal; its clients come and go without telling, so it is looked at."""

    kind = "pty"

    def __init__(self, line: SerialLine, link: Path) -> None:
        self.line = line
        self._loop = asyncio.get_running_loop()
        self._pending = bytearray()
        self._turned_away = False
        self._master, slave = os.openpty()
        tty.setraw(slave)  # before anyone opens it: an echo would be typed into the board
        self.device = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN | select.POLLHUP)
        temporary = link.with_name(link.name + ".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.device)
        temporary.replace(link)
        self._look()

    def close(self) -> None:
        """Hang up on whoever has it open."""
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._master)
        self._master = -1

    def _look(self) -> None:
        """Wait for a client; a hung-up terminal is always ready, so it cannot be awaited."""
        if self._master < 0:
            return
        events = sum(event for _, event in self._poll.poll(0))
        if events & select.POLLHUP and not events & select.POLLIN:
            self._turned_away = False
        elif self.line.claim(self):
            self._loop.add_reader(self._master, self._readable)
            return
        elif not self._turned_away:
            self._turned_away = True
            with contextlib.suppress(OSError):
                os.write(self._master, _BUSY)
        self._loop.call_later(_PTY_POLL_S, self._look)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 1 << 16)
        except BlockingIOError:
            return
        except OSError:  # EIO: the client has closed it
            self._pending.clear()
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            self.line.release(self)
            self._look()
            return
        self.line.from_client(self, data)

    def send(self, data: bytes) -> None:
        if len(self._pending) < _MAX_UNREAD:
            self._pending += data
        self._flush()

    def _flush(self) -> None:
        try:
            del self._pending[: os.write(self._master, self._pending)]
        except BlockingIOError:
            pass
        except OSError:
            self._pending.clear()
        if self._pending:
            self._loop.add_writer(self._master, self._flush)
        else:
            self._loop.remove_writer(self._master)
