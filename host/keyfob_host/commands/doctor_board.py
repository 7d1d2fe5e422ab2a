"""``keyfob doctor --board``: climb the ladder from the board to its broker."""

from __future__ import annotations

from pathlib import Path

from keyfob_host.boards import open_board
from keyfob_host.doctor.ladder import climb
from keyfob_host.doctor.look import look
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


def diagnose(
    ui: Ui,
    kind: str,
    port: str | None,
    name: str | None,
    *,
    reset: bool,
    read_files: bool,
    broker_log: Path | None,
) -> int:
    """Look, judge, print; the exit status. Errors: those of `open_board` and `look`."""
    home = find_home()
    ref = open_board(kind, port, name=name, home=home)
    seen = look(
        ref, home, reset=reset, read_files=read_files, broker_log=broker_log, on_step=ui.step
    )
    how = seen.board.files.how
    note = f"its files were read at {how}" if "restarted" in how else ""
    ladder = climb(seen, note)
    ui.result(ladder.as_text(), {"board": ref.name, "kind": ref.kind.name, **ladder.as_dict()})
    return int(ladder.status)
