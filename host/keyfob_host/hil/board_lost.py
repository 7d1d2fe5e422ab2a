"""A board that goes away while it is tested: its cable was pulled, or its process ended.

What fails from then on says nothing about the board, so it is an error and no failure, and
every case tells the same. Not seen: a board that is there and silent, which is a failure.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from keyfob_host.boards import BoardRef
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.ports import is_url
from keyfob_host.remote_ports import how_to_bring_back

_CODE = "hil.board-lost"


def why_lost(
    ref: BoardRef, console: KeyfobHostError | None, *, is_own: bool
) -> KeyfobHostError | None:
    """Why nothing comes from the board any more, None if it is there.

    ``console``: what its console ended with. ``is_own``: the next run starts it anew.
    """
    if ref.virtual is not None:
        try:
            ref.virtual.info()
        except KeyfobHostError as error:
            again = shlex.join(["keyfob", "hil", "run", "--board", ref.kind.name])
            return _lost(ref, _words(error), again if is_own else error.fix)
    if console is not None and console.code == _CODE:
        return console  # looked for before
    if console is not None:
        return _lost(ref, _words(console), how_to_bring_back(ref.stream_url))
    if ref.virtual is None and not is_url(ref.port) and not Path(ref.port).exists():
        return _lost(ref, f"there is no serial port {ref.port}", how_to_bring_back(ref.port))
    return None


def _words(error: KeyfobHostError) -> str:
    return ": ".join(one for one in (error.code, error.cause, error.evidence) if one)


def _lost(ref: BoardRef, seen: str, fix: str) -> KeyfobHostError:
    return KeyfobHostError(
        _CODE,
        f"the board {ref.name} went away while it was tested",
        evidence=seen,
        fix=fix,
        status=ExitStatus.BOARD,
    )
