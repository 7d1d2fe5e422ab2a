"""The MicroPython process that runs a virtual board's program, on a terminal of its own.

Starts it, ends it with the supervisor whatever happens, reports how it ended, and
delivers Ctrl-C the way a chip takes it: as an interrupt to running code, as a
character to a REPL that waits for input.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LFLAG, _CC = 3, 6
# MicroPython's REPL sets the terminal's local modes to 0 while it reads. This one
# does nothing without ICANON, and so tells "code runs" from "the REPL reads".
_CODE_RUNS = termios.ECHOK
_CTRL_C_GAP_S = 0.1  # a second SIGINT before the first was seen ends the process
_CTRL_C_SETTLE_S = 0.006
_ARRIVAL_S = 0.1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class ChipProcess:
    """One run of the program, from start to exit.

    ``on_output`` gets the console's bytes, ``on_exit`` the return code (negative: the
    signal) after the last of them, unless `kill` ended it.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        environment: dict[str, str],
        on_output: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_exit = on_exit
        self._last_sigint_s = 0.0
        self._killed = False
        self._typed = 0  # bytes, since the last `unread_input`
        self.master, self._slave = os.openpty()
        _make_raw(self._slave)
        os.set_blocking(self.master, False)
        self.wire, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command(theirs.fileno()),
                stdin=self._slave,
                stdout=self._slave,
                stderr=self._slave,
                env=environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=_before_exec,
            )
        self.pid = self.process.pid
        self._loop.add_reader(self.master, self.drain)
        threading.Thread(target=self._wait, daemon=True).start()

    def write(self, data: bytes) -> None:
        """Type ``data``; what does not fit into the terminal's buffer is lost, as on a UART."""
        with contextlib.suppress(OSError):
            self._typed += os.write(self.master, data)

    def unread_input(self) -> bytes:
        """Take back what was typed to the program and not read by it.

        What is written to a terminal arrives at its other end a little later, so this
        waits until all is there; or, because the program may have read some, a moment.
        """
        unread = bytearray()
        deadline = time.monotonic() + _ARRIVAL_S
        os.set_blocking(self._slave, False)
        try:
            while True:
                with contextlib.suppress(OSError):
                    unread += os.read(self._slave, 1 << 16)
                if len(unread) >= self._typed or time.monotonic() > deadline:
                    self._typed = 0
                    return bytes(unread)
                time.sleep(0.0005)
        finally:
            os.set_blocking(self._slave, True)

    def drain(self) -> None:
        """Pass on what the process has printed so far."""
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""
            if not data:
                self._loop.remove_reader(self.master)
                return
            if not self._killed:
                self._on_output(data)

    def kill(self) -> None:
        """End it at once; `on_exit` is not called."""
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        self._close()

    async def interrupt(self, quiet_s: Callable[[], float]) -> bool:
        """Ctrl-C: interrupt running code, or return False: a REPL reads, type it.

        ``quiet_s`` says for how long the process has asked nothing of the supervisor;
        while it asks, it takes no interrupt though code runs.
        """
        since = time.monotonic()
        while self.process.poll() is None:
            now = time.monotonic()
            if self._takes_sigint():
                if now - self._last_sigint_s >= _CTRL_C_GAP_S and self._signal_safely():
                    self._last_sigint_s = now
                    return True
            elif (
                self._repl_reads()
                and not self._unread()  # else it has yet to see what was typed before
                and min(now - since, quiet_s()) >= _CTRL_C_SETTLE_S
            ):
                return False
            await asyncio.sleep(0.001)
        return True

    def _repl_reads(self) -> bool:
        return not termios.tcgetattr(self._slave)[_LFLAG] & _CODE_RUNS

    def _unread(self) -> int:
        """How many typed bytes the process has not read yet."""
        count = fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(count, sys.byteorder)

    def _takes_sigint(self) -> bool:
        """Whether a handler is installed: MicroPython installs one while code runs only."""
        if sys.platform != "linux":
            return not self._repl_reads()
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            return bool(caught >> (signal.SIGINT - 1) & 1)
        return False

    def _signal_safely(self) -> bool:
        """SIGINT, unless the handler was removed meanwhile: without one it kills."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP)
            self._wait_until_stopped()
        try:
            takes = self._takes_sigint()
            if takes:
                os.kill(self.pid, signal.SIGINT)
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            return True
        return takes

    def _wait_until_stopped(self) -> None:
        with contextlib.suppress(OSError):  # no /proc: the gap stays, a few microseconds wide
            for _ in range(200):
                state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state in "TtZX":
                    return
                time.sleep(0.0001)

    def _wait(self) -> None:
        code = self.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        if self._killed:
            return
        self.drain()
        self._killed = True
        self._close()
        self._on_exit(code)

    def _close(self) -> None:
        if self.master >= 0:
            self._loop.remove_reader(self.master)
            os.close(self.master)
            os.close(self._slave)
            self.master = -1


def _before_exec() -> None:
    """Make the terminal the controlling one, and die with the supervisor."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _make_raw(terminal: int) -> None:
    """Bytes pass unchanged in both directions, nothing is echoed, no signals."""
    modes = termios.tcgetattr(terminal)
    modes[0] = modes[1] = 0
    modes[_LFLAG] = _CODE_RUNS
    modes[_CC][termios.VMIN] = 1
    modes[_CC][termios.VTIME] = 0
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
