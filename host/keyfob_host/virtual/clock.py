"""The clock of a virtual board, as libfaketime shows it to the MicroPython process.

A file holds the offset of the board's time from the host's, in seconds; libfaketime
reads it at each call, so the board's ``time.time()`` and mbedTLS see a change at
once. Millisecond ticks are not touched. Where libfaketime is missing (it exists for
Linux and macOS only) the board cannot be started: a TLS stack that does not see the
board's clock would judge certificates wrongly.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError

EPOCH_2000_S = 946_684_800  # 2000-01-01T00:00:00Z in Unix seconds


class BoardClock:
    """The board's time; a new one stands at 2000-01-01, as an ESP32's after power-on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Power-on: 2000-01-01T00:00:00Z, and time runs from there."""
        self.set(EPOCH_2000_S)

    def now(self) -> float:
        """The board's time in Unix seconds."""
        return time.time() + self._offset_s

    def set(self, unix_s: float) -> None:
        """Make it ``unix_s`` on the board now."""
        self._offset_s = unix_s - time.time()
        # Not write_atomic: its fsync costs more than a whole boot of the board, and
        # the file is worth nothing after a crash. The rename keeps readers from halves.
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{self._offset_s:+.6f}\n")
        temporary.replace(self._file)

    def environment(self, *, preload: bool = True) -> dict[str, str]:
        """The environment variables with which a process sees this clock.

        Without ``preload`` it must load a libfaketime of its own.
        """
        variable = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
        return {
            **({variable: str(_shared_library())} if preload else {}),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TZ": "UTC",
        }


def forget_process(pid: int) -> None:
    """Remove the names of libfaketime's shared memory, which stay when a process is killed.

    A process that runs has it open and goes on using it.
    """
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        with contextlib.suppress(OSError):
            (Path("/dev/shm") / name).unlink()  # noqa: S108  (its place, not ours)


def _shared_library() -> Path:
    """libfaketime's library, found without importing the package, which would re-execute us."""
    spec = importlib.util.find_spec("libfaketime")
    name = "libfaketime.1.dylib" if sys.platform == "darwin" else "libfaketime.so.1"
    for folder in (spec.submodule_search_locations or []) if spec else []:
        library = Path(folder) / "vendor" / "libfaketime" / "src" / name
        if library.is_file():
            return library
    raise KeyfobHostError(
        "host.no-libfaketime",
        "the library that gives a virtual board its own clock is not installed",
        evidence=f"{name} is not in the package libfaketime",
        fix=f"{sys.executable} -m pip install libfaketime==3.0.1",
        status=ExitStatus.HOST,
    )
