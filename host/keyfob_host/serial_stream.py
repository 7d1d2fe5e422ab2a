"""Bytes to and from a board's console: a serial device, a PTY, ``socket://`` or ``rfc2217://``.

Opening must not reset the board. On a real board DTR and RTS drive EN and IO0 through
two transistors that cancel each other while both lines are asserted, which is how
Linux opens a port; setting them one after the other would pulse EN. So they are left
alone, and hang-up-on-close is switched off, so that closing does not move them.
"""

from __future__ import annotations

import contextlib
import socket
import termios
from typing import Any, Protocol
from urllib.parse import urlsplit

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import check_port, is_url, port_busy, port_not_permitted
from keyfob_host.remote_ports import port_not_served
from keyfob_host.rfc2217_port import NotServed, serial_for_url

_CHUNK = 4096
_CONNECT_TIMEOUT_S = 5.0


class ByteStream(Protocol):
    """What `open_stream` returns. ``read`` gives ``b""`` when nothing came in time."""

    def read(self, timeout_s: float) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def open_stream(port: str, baud: int = 115200) -> ByteStream:
    """Open ``port`` for this process alone, without resetting the board.

    Errors: ``port.missing``, ``port.busy``, ``port.no-permission``, ``port.refused``;
    reading and writing raise ``OSError`` once the port has gone away.
    """
    if port.startswith("socket://"):
        return _Socket(port)
    check_port(port, alone=False)  # the lock below finds out who else is there
    return _Serial(port, baud)


class _Socket:
    """pyserial's own ``socket://`` reads a byte for each of its system calls."""

    def __init__(self, port: str) -> None:
        address = urlsplit(port)
        try:
            self._socket = socket.create_connection(
                (address.hostname or "", address.port or 0), _CONNECT_TIMEOUT_S
            )
        except (OSError, ValueError) as error:
            raise _refused(port, error) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the other side closed the connection")
        return data

    def write(self, data: bytes) -> None:
        self._socket.settimeout(_CONNECT_TIMEOUT_S)
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class _Serial:
    def __init__(self, port: str, baud: int) -> None:
        try:
            self._port: Any = serial_for_url(
                port, baudrate=baud, timeout=0, exclusive=None if is_url(port) else True
            )
        except (OSError, ValueError) as error:  # pyserial's own exception is an OSError
            raise _not_opened(port, error) from error
        if not is_url(port):
            self._keep_lines_on_close()

    def _keep_lines_on_close(self) -> None:
        with contextlib.suppress(termios.error):
            settings = termios.tcgetattr(self._port.fileno())
            settings[2] &= ~termios.HUPCL
            termios.tcsetattr(self._port.fileno(), termios.TCSANOW, settings)

    def read(self, timeout_s: float) -> bytes:
        self._port.timeout = timeout_s
        first: bytes = self._port.read(1)
        return first + self._port.read(min(self._port.in_waiting, _CHUNK)) if first else b""

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()


def _not_opened(port: str, error: Exception) -> KeyfobHostError:
    text = str(error)
    if isinstance(error, NotServed):
        return port_not_served(port, error)
    if is_url(port):
        return _refused(port, error)
    if "Permission denied" in text:
        return port_not_permitted(port)
    if "lock" in text or "busy" in text:
        return port_busy(port)
    return KeyfobHostError(
        "port.not-opened", f"{port} cannot be opened", evidence=text,
        fix=f"ls -l {port}; unplug the board and plug it in again", status=ExitStatus.HOST,
    )  # fmt: skip


def _refused(port: str, error: Exception) -> KeyfobHostError:
    return KeyfobHostError(
        "port.refused", f"nobody answers at {port}", evidence=str(error),
        fix="check the address; for a virtual board: keyfob board list",
        status=ExitStatus.HOST,
    )  # fmt: skip
