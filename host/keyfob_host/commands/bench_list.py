"""``keyfob bench list``: the boards of a bench, where they are, and who holds which."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from rich import box
from rich.table import Table
from rich.text import Text

from keyfob_host.bench.file import bench_path, load_bench
from keyfob_host.bench.finding_ports import usb_ports
from keyfob_host.bench.state import BoardState, states
from keyfob_host.home import find_home
from keyfob_host.printable import printable
from keyfob_host.ui import Ui


@click.command("list")
@click.option(
    "--bench", "file", type=click.Path(path_type=Path), help="Another file than the bench's own."
)
@click.pass_obj
def list_(ui: Ui, file: Path | None) -> None:
    """Show the boards of bench.toml and running virtual ones: ports of today, and holders.

    A board is held by the suite that runs on it, whatever name or port it was given by, or
    by a program that has its port open. Nothing is opened or asked.
    """
    home = find_home()
    path = file or bench_path(home)
    entries = load_bench(path).boards if file or path.exists() else ()
    found = states(entries, home, usb_ports())
    if ui.as_json:
        ui.result("", {"bench": str(path), "boards": [one.as_dict() for one in found]})
    elif found:
        ui.table(_table(found))
    else:
        ui.result("no boards; find some: keyfob bench scan", {})


def _table(found: list[BoardState]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("board", "kind", "found by", "port today", "held by"):
        table.add_column(title, overflow="fold")
    for one in found:
        held = one.held_by
        style = "yellow" if held not in ("", "free") else ""
        table.add_row(
            _text(one.name),
            _text(one.kind or "?"),
            _text(one.found_by),
            _text(one.port or one.why_not),
            Text(printable(held), style=style),
        )
    return table


def _text(value: str) -> Text:
    return Text(printable(value))
