"""``keyfob doctor BOARD``: climb the ladder from the board to its broker."""

from __future__ import annotations

from pathlib import Path

from keyfob_host.commands.doctor_which import choose_board
from keyfob_host.doctor.ladder import climb
from keyfob_host.doctor.look import look
from keyfob_host.doctor.page import Page, check_page_path, write_page
from keyfob_host.doctor.timeline_gathering import line_up, read_wire
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


def diagnose(
    ui: Ui,
    which: tuple[str | None, str | None, str | None, str | None],
    *,
    reset: bool,
    read_files: bool,
    broker_log: Path | None,
    timeline: bool,
    html: Path | None,
) -> int:
    """Look, judge, print; the exit status. ``which``: as `choose_board` takes it.

    Errors: those of `choose_board`, `look` and `check_page_path`.
    """
    home = find_home()
    if html is not None:
        check_page_path(html)
    word, kind, port, name = which
    ref = choose_board(home, word, kind, port, name, ui.step)
    seen = look(
        ref, home, reset=reset, read_files=read_files, broker_log=broker_log, on_step=ui.step
    )
    how = seen.board.files.how
    note = f"its files were read at {how}" if "restarted" in how else ""
    ladder = climb(seen, note)
    is_watched = seen.broker.is_ours or broker_log is not None
    wire = read_wire(home.broker_dir) if is_watched else ()
    lined_up = line_up(seen, ladder.diagnosis, wire)
    told = {"board": ref.name, "kind": ref.kind.name, **ladder.as_dict()}
    told["timeline"] = lined_up.as_dict()
    if html is not None:
        told["page"] = str(write_page(html, Page(seen, ladder, lined_up, has_wire=bool(wire))))
        ui.step(f"wrote {html}")
    text = ladder.as_text()
    ui.result(f"{lined_up.as_text()}\n\n{text}" if timeline else text, told)
    return int(ladder.status)
