"""A serial port behind an RFC 2217 server: opened without moving its lines, cheap to wait on.

pyserial's own client sets DTR and RTS when it opens, which resets a board; it agrees on all
settings anew, in a tenth of a second and more, each time a time limit changes, which esptool
does for every block; it waits for answers about DTR and RTS that a port without these lines
never gives; and it calls every failure a lack of RFC 2217. Here opening leaves the lines
alone, settings are sent when they change, and `NotServed` says what happened.

Made for pyserial's own class and labgrid's version of it. What is not checked: that the
server really set what it says it set.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import socket
import time
import warnings
from typing import Any, Literal

import serial
from serial import rfc2217
from serial.serialutil import Timeout

# esp_rfc2217_server takes the next client some 3 seconds after the last one left.
_ANSWER_TIMEOUT_S = 8.0
_AGAIN_S = (0.3, 0.7)  # others turn it away as long as they let go of the last one
_LINE_PAUSE_S = 0.1  # servers and boards take the lines one at a time
_MAX_SAID = 200
# A server that is gone without a word is noticed after these three together.
_KEEPALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3))
_LINES = (
    rfc2217.SET_CONTROL_DTR_ON, rfc2217.SET_CONTROL_DTR_OFF,
    rfc2217.SET_CONTROL_RTS_ON, rfc2217.SET_CONTROL_RTS_OFF,
)  # fmt: skip
_LOST = "the server closed the connection"

Why = Literal[
    "address",  # not rfc2217://host:port
    "no-host",  # the name is not known
    "refused",  # nobody listens there
    "unreachable",  # the machine does not answer
    "closed",  # the server took the connection and closed it at once
    "silent",  # it took the connection and does not answer
    "not-rfc2217",  # it answers something else
    "settings",  # it does not set the baud rate
]


class NotServed(serial.SerialException):
    """The port could not be opened; ``said`` is what the server sent instead, as text."""

    def __init__(self, why: Why, detail: str, said: str = "") -> None:
        super().__init__(detail)
        self.why = why
        self.said = said


_Base: Any = rfc2217.Serial  # most of what is used of it is not in its type stubs


class Serial(_Base):  # type: ignore[misc]
    """For ``rfc2217://host:port``, with the options of pyserial's URLs.

    ``lines_set`` and ``lines_confirmed`` count the changes of DTR and RTS that were asked for,
    and those that the server says it made.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.lines_set = 0
        self.lines_confirmed = 0
        self._opening = False
        self._left = False  # the server, the connection
        self._left_at_once = False
        self._agreed: tuple[Any, ...] = ()
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Errors: `NotServed`."""
        for pause_s in (*_AGAIN_S, None):
            try:
                self._open()
                return
            except NotServed as error:
                if error.why != "closed" or pause_s is None:
                    raise
            time.sleep(pause_s)

    def _open(self) -> None:
        self._opening, self._left, self._left_at_once = True, False, False
        try:
            with warnings.catch_warnings():  # it starts its thread in the way of Python 2
                warnings.simplefilter("ignore", DeprecationWarning)
                super().open()
        except OSError as error:  # pyserial's own is one, and it lets the socket's through
            raise self._not_served(error) from None
        finally:
            self._opening = False
        with contextlib.suppress(OSError):  # gone already: reading will tell
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                if hasattr(socket, name):
                    self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def close(self) -> None:
        if self._opening:
            self._left_at_once = self._left
        super().close()

    def read(self, size: int = 1) -> bytes:
        """What came before the connection was lost is read first; then it is an error."""
        if not self.is_open:
            raise serial.PortNotOpenError()
        limit = Timeout(self._timeout)
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._read_buffer.get(timeout=limit.time_left())
            except queue.Empty:
                break
            if piece is None:  # the end, for whoever reads next too
                self._read_buffer.put(None)
                if not data:
                    raise serial.SerialException(_LOST)
                break
            data += piece
        return bytes(data)

    @property
    def in_waiting(self) -> int:
        if not self.is_open:
            raise serial.PortNotOpenError()
        waiting: int = self._read_buffer.qsize() - self._left
        if self._left and waiting <= 0:
            raise serial.SerialException(_LOST)
        return waiting

    def rfc2217_set_control(self, value: bytes) -> None:
        """Not waited for: ser2net never answers for a port that has no such line."""
        self._rfc2217_options["control"].set(value)
        if value in _LINES:
            self.lines_set += 1
            time.sleep(_LINE_PAUSE_S)

    def from_url(self, url: str) -> tuple[str, int]:
        try:
            address: tuple[str, int] = super().from_url(url)
        except TypeError:
            raise NotServed("address", "no number of a port in it") from None
        except serial.SerialException as error:
            raise NotServed("address", str(error).rpartition(']]": ')[2]) from None
        if "timeout=" not in url:
            self._network_timeout = _ANSWER_TIMEOUT_S
        return address

    def _telnet_read_loop(self) -> None:
        super()._telnet_read_loop()
        self._left = True
        for option in self._telnet_options if self._opening else ():
            # Nothing more to agree on, so that `open` does not wait for it.
            option.state, option.active = rfc2217.INACTIVE, False

    def _reconfigure_port(self) -> None:
        if self._left:
            raise serial.SerialException(_LOST)
        wanted = (
            self._baudrate, self._bytesize, self._parity, self._stopbits,
            self._rtscts, self._xonxoff,
        )  # fmt: skip
        if self._write_timeout is not None:
            raise NotImplementedError("writing has no time limit over RFC 2217")  # as pyserial's
        if self._opening or wanted != self._agreed:
            super()._reconfigure_port()
            self._agreed = wanted

    def _update_dtr_state(self) -> None:
        if not self._opening:
            super()._update_dtr_state()

    def _update_rts_state(self) -> None:
        if not self._opening:
            super()._update_rts_state()

    def _telnet_process_subnegotiation(self, suboption: bytes) -> None:
        begins = rfc2217.COM_PORT_OPTION + rfc2217.SERVER_SET_CONTROL
        if suboption[:2] == begins and suboption[2:3] in _LINES:
            self.lines_confirmed += 1
        super()._telnet_process_subnegotiation(suboption)

    def _not_served(self, error: OSError) -> NotServed:
        first = error.__context__ if isinstance(error, serial.SerialException) else None
        if isinstance(first, NotServed):
            return first
        if self._read_buffer is None or isinstance(first, OSError):
            return NotServed(_why(first), str(first or error))
        said, agrees = self._said(), any(one.active for one in self._telnet_options or ())
        if self._left_at_once or not isinstance(error, serial.SerialException):
            return NotServed("closed", _LOST, said)
        if "parameter" in str(error):
            return NotServed("settings", f"it does not take {self._baudrate} baud", said)
        if said or agrees:
            return NotServed("not-rfc2217", "what answers is not RFC 2217", said)
        return NotServed("silent", f"no answer in {self._network_timeout:g} s")

    def _said(self) -> str:
        data = bytearray()
        with contextlib.suppress(queue.Empty):
            while len(data) < _MAX_SAID:
                data += self._read_buffer.get_nowait() or b""
        return data.decode("utf-8", "replace").strip()


def serial_for_url(port: str, **options: Any) -> Any:
    """As pyserial's, but with `Serial` for ``rfc2217://``."""
    if port.lower().startswith("rfc2217:"):
        return Serial(port, **options)
    return serial.serial_for_url(port, **options)


def _why(error: BaseException | None) -> Why:
    if isinstance(error, socket.gaierror):
        return "no-host"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    # Reset so soon that the socket's own settings were refused.
    gone = isinstance(error, ConnectionError) or getattr(error, "errno", 0) == errno.EINVAL
    return "closed" if gone else "unreachable"
