"""Work that loses its board on the way: in a process of its own, which is ended then.

Whoever waits for a board cannot tell a dead one from one that takes long over its flash, and
waits a minute for each answer; here it is known when the power went. How far the work came is
for the caller to find out, from the board.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keyfob_host.boards import BoardRef
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import Settings, provision_board
from keyfob_host.transport import open_transport

_POLL_S = 0.02
_EXEC_LIMIT_S = 120.0


def provision_until(
    ref: BoardRef, identity: Identity, settings: Settings, is_over: Callable[[], bool]
) -> None:
    """Give the board ``identity`` and ``settings``, until that is done or ``is_over``."""
    with TemporaryDirectory(prefix="keyfob-") as folder:
        path = identity.write(Path(folder) / "identity")
        _until(is_over, _provision, ref, path, settings)


def exec_until(ref: BoardRef, program: str, is_over: Callable[[], bool]) -> str:
    """Have the board run ``program`` at its prompt, until that is done or ``is_over``; what it
    said, or why it ended."""
    ours, theirs = get_context("spawn").Pipe(duplex=False)
    with ours:
        with theirs:
            _until(is_over, _exec, ref, program, theirs)
        try:
            return str(ours.recv())
        except EOFError:  # it was ended before
            return ""


def _until(is_over: Callable[[], bool], work: Callable[..., None], *arguments: Any) -> None:
    # Not forked: the bench's relay and time servers are threads of this process.
    process = get_context("spawn").Process(target=work, args=arguments)
    with _deaf_to_ctrl_c():
        process.start()
    try:
        while process.is_alive() and not is_over():
            process.join(_POLL_S)
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started in the body never hears Ctrl-C: it is ended by who started it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers are the main thread's to set
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exec(ref: BoardRef, program: str, told: Connection) -> None:
    try:
        with open_transport(ref) as board:
            told.send(board.exec(program, timeout_s=_EXEC_LIMIT_S).decode(errors="replace"))
    except KeyfobHostError as error:
        told.send(f"{error.cause}: {error.evidence}")


def _provision(ref: BoardRef, identity: Path, settings: Settings) -> None:
    with contextlib.suppress(KeyfobHostError):
        provision_board(ref, identity, settings, checked=False, reset=False)
