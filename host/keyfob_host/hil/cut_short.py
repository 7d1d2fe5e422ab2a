"""Provisioning that loses its board on the way: in a process of its own, which is ended then.

Whoever waits for a board cannot tell a dead one from one that takes long over its flash, and
waits a minute for each answer; here it is known when the power went. Whether the board was
provisioned is for the caller to find out, from the board.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from keyfob_host.boards import BoardRef
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import Settings, provision_board

_POLL_S = 0.02


def provision_until(
    ref: BoardRef, identity: Identity, settings: Settings, is_over: Callable[[], bool]
) -> None:
    """Give the board ``identity`` and ``settings``, until that is done or ``is_over``."""
    with TemporaryDirectory(prefix="keyfob-") as folder:
        path = identity.write(Path(folder) / "identity")
        # Not forked: the bench's relay and time servers are threads of this process.
        work = get_context("spawn").Process(target=_provision, args=(ref, path, settings))
        work.start()
        try:
            while work.is_alive() and not is_over():
                work.join(_POLL_S)
        finally:
            work.kill()
            work.join()


def _provision(ref: BoardRef, identity: Path, settings: Settings) -> None:
    with contextlib.suppress(KeyfobHostError):
        provision_board(ref, identity, settings, checked=False, reset=False)
