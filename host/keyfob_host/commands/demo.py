"""``keyfob demo``: the whole job on a virtual board."""

from __future__ import annotations

import rich_click as click

from keyfob_host.boards import DEFAULT_KIND
from keyfob_host.demo import run_demo
from keyfob_host.demo_breakages import BREAKAGES
from keyfob_host.home import find_home
from keyfob_host.ui import Ui


@click.command()
@click.option("--board", "kind", default=DEFAULT_KIND, show_default=True, help="A virtual kind.")
@click.option(
    "--break",
    "breakage",
    type=click.Choice(list(BREAKAGES)),
    help="Break this on purpose at the end, and show what you are told.",
)
@click.pass_obj
def demo(ui: Ui, kind: str, breakage: str | None) -> None:
    """Make a CA, flash, sync and provision a virtual board, and talk to it over verified TLS.

    Everything is made anew in the folder demo/ of the bench and stopped at the end.
    """
    outcome = run_demo(find_home(), ui, breakage, board=kind)
    if ui.as_json:
        ui.result("", outcome)
