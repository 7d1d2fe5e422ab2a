"""One user of a board at a time: the second is told who holds it.

The lock is the operating system's own (filelock), so it ends with its holder however
that ends; beside it lies a note that says who that is. It binds Keyfob's suites only:
a terminal program that opens the port is not kept out.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.home import Home


def lock_path(home: Home, name: str, port: str | None) -> Path:
    """Where the lock of a board is.

    A virtual board belongs to its bench; a real one to the machine, whichever bench
    asks for it and by whatever link the port is named.
    """
    if port is None:
        return home.boards_dir / f"{name}.lock"
    real = os.path.realpath(port) if port.startswith("/") else port
    slug = re.sub(r"[^A-Za-z0-9]+", "-", real).strip("-")
    return home.runtime_dir.parent / f"port-{slug}.lock"


@contextmanager
def board_lock(path: Path, board: str) -> Iterator[None]:
    """Hold the board's lock; error ``board.in-use`` says who holds it already."""
    with explain_os_error(path, "lock the board"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(path, mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise _in_use(path, board) from None
    note = _note(path)
    try:
        write_atomic(
            note,
            json.dumps({"pid": os.getpid(), "command": _own_command(), "since_s": time.time()}),
        )
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _note(path: Path) -> Path:
    return path.with_suffix(".holder")


def _own_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _in_use(path: Path, board: str) -> KeyfobHostError:
    try:
        holder = json.loads(_note(path).read_text())
        who = f"pid {int(holder['pid'])}: {holder['command']}"
        since = f", for {time.time() - float(holder['since_s']):.0f} s"
        fix = f"wait for it (ps -p {int(holder['pid'])}), or give another board"
    except (OSError, ValueError, KeyError, TypeError):
        # Locked a moment ago, its note not yet written.
        who, since, fix = f"see: fuser -v {path}", "", "wait for it, or give another board"
    return KeyfobHostError(
        "board.in-use",
        f"the board {board} is in use by another run",
        evidence=f"{who}{since}",
        fix=fix,
        status=ExitStatus.HOST,
    )
