"""From whatever a board is doing to its raw REPL, and back.

Both back ends come through here: mpremote interrupts a program once and waits, ampy
twice, which is not enough for a program that catches KeyboardInterrupt, is still in
``boot.py``, or floods the line. Here Ctrl-C is repeated until the raw REPL answers a
question only it can answer, so nothing left over in any buffer is taken for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import sys
import termios
import time
from typing import Any

from keyfob_host.rfc2217_port import serial_for_url
from keyfob_host.transport import failures

_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_FIRST_WAIT_S = 0.15
_LONGEST_WAIT_S = 1.2
_REBOOT_WAIT_S = 3.0  # boot.py of a board that has much to do; then Ctrl-C again
_KEPT_BYTES = 4096

# A serial port that gives no byte for this long in the middle of a raw-paste is dead.
READ_TIMEOUT_S = 10.0


def open_port(url: str, baud: int) -> Any:
    """The port, open and ours alone. Errors: ``port.*``."""
    try:
        return serial_for_url(
            url, baudrate=baud, timeout=READ_TIMEOUT_S, inter_byte_timeout=1, exclusive=True
        )
    except (OSError, ValueError) as error:  # pyserial: an unknown URL scheme is a ValueError
        raise failures.port_not_opened(url, error) from None


def read_until(port: Any, ending: bytes, deadline: float) -> bytes:
    """Bytes up to and with ``ending``; without it if ``deadline`` (monotonic) comes first.

    Reads byte by byte and never past ``ending``: what follows belongs to the next reader.
    """
    data = bytearray()
    pause = 0.0005
    while not data.endswith(ending):
        if port.in_waiting:
            data += port.read(1)
            pause = 0.0005
        elif time.monotonic() >= deadline:
            break
        else:
            time.sleep(pause)
            pause = min(pause * 2, 0.01)
    return bytes(data)


def enter_raw_repl(port: Any, url: str, board: str, *, soft_reset: bool, timeout_s: float) -> None:
    """Interrupt what runs and get the raw REPL, its ``>`` still to be read.

    Errors: ``board.silent``, ``board.no-firmware``, ``board.no-prompt`` and the
    others of `failures.no_prompt`.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    _interrupt(port, url, board, began, deadline)
    if soft_reset:
        port.write(b"\x04")
        # The board answers OK, "soft reboot", runs boot.py, then shows the banner. If it
        # does not, boot.py hangs or the board came back at its friendly prompt.
        seen = _read_some(port, _BANNER, min(deadline, time.monotonic() + _REBOOT_WAIT_S))
        if _BANNER not in seen or not _answers(port):
            _interrupt(port, url, board, began, max(deadline, time.monotonic() + timeout_s / 2))


def leave_raw_repl(port: Any) -> None:
    """Stop what may still run there and go back to the friendly prompt."""
    port.write(b"\r\x03\x02")
    port.flush()


def _interrupt(port: Any, url: str, board: str, began: float, deadline: float) -> None:
    seen = bytearray()
    wait = _FIRST_WAIT_S
    while True:
        port.write(b"\r\x03")
        # Let the interrupt arrive before Ctrl-A: a program that reads its input would eat it.
        seen += _read_some(port, b">>> ", time.monotonic() + wait / 3)
        port.write(b"\r\x01")
        answer = _read_some(port, _BANNER, time.monotonic() + wait)
        seen += answer
        if _BANNER in answer and _answers(port):
            return
        del seen[:-_KEPT_BYTES]
        if time.monotonic() >= deadline:
            raise failures.no_prompt(url, board, bytes(seen), time.monotonic() - began)
        wait = min(wait * 1.6, _LONGEST_WAIT_S)


def _read_some(port: Any, ending: bytes, deadline: float) -> bytes:
    """What comes until ``ending`` is in it and the line is quiet, or until ``deadline``."""
    data = bytearray()
    while time.monotonic() < deadline:
        waiting = _waiting(port)
        if waiting:
            data += port.read(min(waiting, 4096))
        elif ending in data:
            break
        else:
            time.sleep(0.001)
    return bytes(data)


def _waiting(port: Any) -> int:
    """How many bytes can be read at once.

    pyserial's ``socket://`` says 1 for any number (3.5); read one by one, a program that
    floods the line is never caught up with.
    """
    with contextlib.suppress(AttributeError, OSError):  # rfc2217:// has no file
        count = fcntl.ioctl(port.fileno(), termios.FIONREAD, b"\0" * 4)
        if any(count):
            return int.from_bytes(count, sys.byteorder)
    return int(port.in_waiting)  # also for its error when the other side has hung up


def _answers(port: Any) -> bool:
    """Does the raw REPL run code? Everything before its answer is swallowed."""
    nonce = secrets.token_hex(4)
    port.write(f"print('{nonce}')\x04".encode())
    ending = f"OK{nonce}\r\n\x04\x04".encode()
    return read_until(port, ending, time.monotonic() + 1.0).endswith(ending)
