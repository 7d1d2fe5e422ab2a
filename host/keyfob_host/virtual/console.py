"""Between a chip process and the serial line: what makes its console a board's.

The unix MicroPython differs from a board in four ways, made good here: it leaves
newlines to the terminal, its banner names the host, it starts in the friendly REPL
even when a soft reset must end in the raw one, and it cannot take Ctrl-C as a byte.
A line feed that a program writes to ``sys.stdout.buffer`` gets a carriage return
too, which a board would not add.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import Enum, auto

from keyfob_host.virtual.process import ChipProcess

_LONE_LF = re.compile(rb"(?<!\r)\n")
_PROMPT = b">>> "
_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_CTRL_A, _CTRL_C = b"\x01", b"\x03"
_FLUSH_S = 0.01
_MAX_QUEUED = 1 << 16


class Phase(Enum):
    """How far the program is; it decides where typed bytes go."""

    LOADING = auto()  # not ours yet: bytes wait
    BOOTING = auto()  # _boot, boot.py, main.py
    BANNER = auto()  # the friendly REPL's banner is coming: bytes wait
    RAW_BANNER = auto()  # the raw REPL's
    REPL = auto()


class Console:
    """The console of one `ChipProcess`; ``emit`` gets what a board would print."""

    def __init__(self, emit: Callable[[bytes], None], banner: str, *, raw_repl: bool) -> None:
        self.phase = Phase.LOADING
        self.chip: ChipProcess | None = None
        self.quiet_s: Callable[[], float] = lambda: 1.0
        self._emit = emit
        self._banner = banner.encode()
        self._raw_repl = raw_repl
        self._queue = bytearray()
        self._held = bytearray()
        self._last = b""
        self._tail = b""
        self._their_banner = b""
        self._interrupting: asyncio.Task[None] | None = None
        self._flusher: asyncio.TimerHandle | None = None

    # -- from the chip

    def output(self, data: bytes) -> None:
        """Bytes that the process printed."""
        # What was typed a moment before the REPL began may have been answered by it
        # already (a terminal hands on its input in its own time): the rest is output.
        if self.phase is Phase.BANNER:
            self._held += data
            banner, found, rest = bytes(self._held).partition(_PROMPT)
            if found:
                self._their_banner = banner
                self._held.clear()
                self._banner_seen()
                self._more(rest)
        elif self.phase is Phase.RAW_BANNER:
            self._held += data
            _, found, rest = bytes(self._held).partition(_RAW_BANNER + b">")
            if found:
                self._held.clear()
                self._to_repl(found)
                self._more(rest)
        else:
            self._tail = (self._tail + data)[-4:]
            self._held += data
            self._release(keep=self.phase is Phase.REPL)

    def _more(self, rest: bytes) -> None:
        if rest:
            self.output(rest)

    def repl_follows(self) -> None:
        """The program ended: what is printed next is the REPL's banner."""
        if self.chip is not None:
            self.chip.drain()
            self._queue[:0] = self.chip.unread_input()
        self.flush()
        self.phase = Phase.BANNER

    def ended_in_raw_repl(self) -> bool:
        """Whether the process, exiting, was in the raw REPL: the last it printed says so."""
        return self._tail.endswith((b"OK\r\n", b"\x04\x04")) or (
            self.phase is not Phase.REPL and self._raw_repl
        )

    def flush(self) -> None:
        """Let go of whatever was held back as a possible start of a banner."""
        self._release(keep=False)

    def _banner_seen(self) -> None:
        if self._raw_repl:
            self.phase = Phase.RAW_BANNER
            if self.chip is not None:
                self.chip.write(_CTRL_A)
        else:
            self._to_repl(self._banner + _PROMPT)

    def _to_repl(self, text: bytes) -> None:
        self.phase = Phase.REPL
        self._emit(text)
        self._last = text[-1:]
        self._pump()

    def _release(self, *, keep: bool) -> None:
        """Emit what is held, with newlines and banner as a board prints them."""
        if self._flusher:
            self._flusher.cancel()
            self._flusher = None
        data = bytes(self._held)
        if self._their_banner:
            data = data.replace(self._their_banner, self._banner)
        kept = b""
        if keep and self._their_banner:
            kept = _partial_end(data, self._their_banner)
            data = data[: len(data) - len(kept)]
        self._held[:] = kept
        if kept:
            self._flusher = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        if data:
            before = b"\r" if self._last == b"\r" else b""
            text = _LONE_LF.sub(b"\r\n", before + data)[len(before) :]
            self._last = data[-1:]
            self._emit(text)

    # -- to the chip

    def input(self, data: bytes) -> None:
        """Bytes from the serial line."""
        self._queue += data
        del self._queue[_MAX_QUEUED:]
        self._pump()

    def unsent(self) -> bytes:
        """What was typed and not handed on."""
        return bytes(self._queue)

    def booting(self) -> None:
        """The program is ours now; Ctrl-C may reach it."""
        self.phase = Phase.BOOTING
        self._pump()

    def _pump(self) -> None:
        """Hand on what was typed, up to a Ctrl-C, which takes its time."""
        if self.chip is None or (self._interrupting and not self._interrupting.done()):
            return
        holds = self.phase is Phase.BOOTING and self._raw_repl
        if self.phase not in (Phase.REPL, Phase.BOOTING):
            return
        at = self._queue.find(_CTRL_C)
        if not holds:
            typed = bytes(self._queue if at < 0 else self._queue[:at])
            del self._queue[: len(typed)]
            if typed:
                self.chip.write(typed)
            at = 0 if at >= 0 else -1
        if at >= 0:
            del self._queue[at]
            self._interrupting = asyncio.ensure_future(self._interrupt(self.chip))

    async def _interrupt(self, chip: ChipProcess) -> None:
        if not await chip.interrupt(self.quiet_s):
            if self.phase in (Phase.BANNER, Phase.RAW_BANNER):
                self._queue[:0] = _CTRL_C  # the program ended meanwhile; the REPL's turn comes
            else:
                chip.write(_CTRL_C)
        asyncio.get_running_loop().call_soon(self._pump)


def _partial_end(data: bytes, banner: bytes) -> bytes:
    """The end of ``data`` that may be the start of ``banner``."""
    start = data.rfind(banner[:1])
    while start >= 0 and len(data) - start < len(banner):
        if banner.startswith(data[start:]):
            return data[start:]
        start = data.rfind(banner[:1], 0, start)
    return b""
