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
import select
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
_SIGINT_GAP_S = 0.1  # a second SIGINT before the first was seen may end the process
_SETTLE_S = 0.006
_POLL_S = 0.001
_STOP_S = 1.0
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class ChipProcess:
    """One run of the program, from start to exit.

    ``on_output`` gets the console's bytes, ``on_exit`` the return code (negative: the
    signal) after the last of them, unless `kill` ended it. ``ctrl_c`` is the signal that
    interrupts its code (`micropython.ctrl_c_signal`).
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        environment: dict[str, str],
        on_output: Callable[[bytes], None],
        on_exit: Callable[[int], None],
        ctrl_c: signal.Signals,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_exit = on_exit
        self._ctrl_c = ctrl_c
        self._wanted = False  # a Ctrl-C waits
        self._last_signal_s = 0.0
        self._killed = False
        self.left = b""  # what it had not read when it ended by itself
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
            os.write(self.master, data)

    def unread_input(self) -> bytes:
        """Take back what was typed and not read yet."""
        count = self._unread()
        return os.read(self._slave, count) if count else b""

    def drain(self) -> None:
        """Pass on what the process has printed so far."""
        # Polling waits for what the terminal has not handed on yet; see `_unread`.
        select.select([self.master], [], [], 0)
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

    def take_ctrl_c(self) -> bool:
        """Whether a Ctrl-C waits; it is the caller's then, who answers a call with it."""
        wanted, self._wanted = self._wanted, False
        return wanted

    async def interrupt(self, quiet_s: Callable[[], float]) -> bool:
        """Ctrl-C: interrupt running code, or return False: a REPL reads, type it.

        ``quiet_s`` says for how long the process has asked nothing of the supervisor;
        while it asks, it takes no signal, but see `take_ctrl_c`.
        """
        self._wanted = True
        waits_since = None
        while self._wanted and self.process.poll() is None:
            now = time.monotonic()
            if not self._waits_for_input(quiet_s):
                waits_since = None
            elif now - (waits_since := waits_since or now) >= _SETTLE_S:
                self._wanted = False
                return False
            gap_s = _SIGINT_GAP_S if self._ctrl_c is signal.SIGINT else 0.0
            if (
                now - self._last_signal_s >= gap_s
                and self._takes_ctrl_c()
                and self._signal_safely(quiet_s)
            ):
                self._last_signal_s = now
                break
            await asyncio.sleep(_POLL_S)
        self._wanted = False
        return True

    def _waits_for_input(self, quiet_s: Callable[[], float]) -> bool:
        """Whether the REPL has read all that was typed, and sleeps until there is more."""
        return (
            not self._takes_ctrl_c()
            and self._repl_reads()
            and not self._unread()
            and quiet_s() > 0
            and self._state() in "S?"
        )

    def _repl_reads(self) -> bool:
        return not termios.tcgetattr(self._slave)[_LFLAG] & _CODE_RUNS

    def _unread(self) -> int:
        """How many typed bytes the process has not read yet."""
        # A terminal hands its input on in its own time (on Linux a work queue does), and
        # FIONREAD counts what has arrived; polling waits for the rest.
        select.select([self._slave], [], [], 0)
        count = fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(count, sys.byteorder)

    def _takes_ctrl_c(self) -> bool:
        """Whether SIGINT has a handler: MicroPython installs it while Ctrl-C interrupts."""
        if sys.platform != "linux":
            return not self._repl_reads()
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            caught = int(status.split("SigCgt:")[1].split()[0], 16)
            return bool(caught >> (signal.SIGINT - 1) & 1)
        return False

    def _state(self) -> str:
        """``S`` asleep, ``R`` running, ``T`` stopped, … and ``?`` where there is no /proc."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return "?"

    def _signal_safely(self, quiet_s: Callable[[], float]) -> bool:
        """Signal, unless it takes none any more or has begun to ask the supervisor."""
        try:
            os.kill(self.pid, signal.SIGSTOP)
            takes = self._stopped() and self._takes_ctrl_c() and quiet_s() > 0
            if takes:
                os.kill(self.pid, self._ctrl_c)
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            return True
        return takes

    def _stopped(self) -> bool:
        """Wait until it has stopped: on a busy machine that takes its turn."""
        deadline = time.monotonic() + _STOP_S
        while (state := self._state()) not in "TtZX?":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0001)
        return state not in "ZX"

    def _wait(self) -> None:
        code = self.process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        if self._killed:
            return
        self.drain()
        self.left = self.unread_input()
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
