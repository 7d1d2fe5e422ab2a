"""The driver ``relay``: a USB relay board of the LCUS kind, one to eight channels.

It is a serial port (9600 baud, 8N1) that takes frames of four bytes: 0xA0, the channel from
1, 1 to close its contact or 0 to open it, and the sum of the three modulo 256. It answers
nothing, so what is known is that the frame left this machine. The relay keeps its state
until it loses its own supply; then its normally closed contact is closed.
"""

from __future__ import annotations

import time

import serial

from keyfob_host.bench.finding_ports import Address, find_port
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import check_port, is_url, port_busy
from keyfob_host.power.switch import PowerSwitch

_BAUD = 9600
_START = 0xA0
_WRITE_TIMEOUT_S = 5.0
# Boards on other channels of the same relay switch theirs in between.
_BUSY_S = 5.0
_BUSY_STEP_S = 0.05
# Some adapters report the last byte as sent before it has left.
_LEAVE_S = 0.05


class RelaySwitch(PowerSwitch):
    """Channel ``channel`` of the relay at ``address``, found anew for each switching.

    ``closed_is_on``: the board hangs on the normally open contact.
    """

    def __init__(self, address: Address, channel: int, *, closed_is_on: bool = True) -> None:
        self._address = address
        self._channel = channel
        self._closed_is_on = closed_is_on

    def off(self) -> None:
        self._send(frame(self._channel, closed=not self._closed_is_on))

    def on(self) -> None:
        self._send(frame(self._channel, closed=self._closed_is_on))

    def _send(self, data: bytes) -> None:
        port = find_port(self._address, "the relay")
        check_port(port, alone=False)
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                _write(port, data)
            except (OSError, ValueError) as error:  # pyserial's own exception is an OSError
                is_busy = "lock" in str(error) or "busy" in str(error)
                if is_busy and time.monotonic() < end:
                    time.sleep(_BUSY_STEP_S)
                    continue
                raise port_busy(port) if is_busy else _not_sent(port, error) from error
            return


def frame(channel: int, *, closed: bool) -> bytes:
    """The four bytes that close or open the contact of ``channel``."""
    head = (_START, channel, int(closed))
    return bytes((*head, sum(head) % 256))


def _write(port: str, data: bytes) -> None:
    exclusive = None if is_url(port) else True
    line = serial.serial_for_url(
        port, baudrate=_BAUD, write_timeout=_WRITE_TIMEOUT_S, exclusive=exclusive
    )
    with line:
        line.write(data)
        line.flush()
        time.sleep(_LEAVE_S)


def _not_sent(port: str, error: Exception) -> KeyfobHostError:
    return KeyfobHostError(
        "power.relay-not-told", f"nothing can be sent to the relay on {port}",
        evidence=str(error), fix=f"ls -l {port}; unplug the relay and plug it in again",
        status=ExitStatus.HOST,
    )  # fmt: skip
