"""``keyfob sync``: the firmware's files to the board."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from keyfob_host.boards import Engine, Names, SyncTo, open_board
from keyfob_host.commands.board_options import board_options
from keyfob_host.sync import sync_board
from keyfob_host.transport import Via
from keyfob_host.ui import Ui


@click.command()
@board_options
@click.option(
    "--via", type=click.Choice(["mpremote", "ampy"]), default="mpremote", help="Uploader."
)
@click.option("--source", type=click.Path(path_type=Path), help="Another folder than Keyfob's own.")
@click.option(
    "--to",
    type=click.Choice(["files", "romfs"]),
    help="Packages as plain files, or in a ROMFS image that runs from flash. [default: the kind's]",
)
@click.option(
    "--tls-engine",
    type=click.Choice(["mbedtls", "keyfob"]),
    help="The TLS engine to send. [default: the kind's]",
)
@click.option(
    "--names",
    type=click.Choice(["full", "short"]),
    help="Names of the firmware's own as written, or such as take no heap. [default: the kind's]",
)
@click.option("--no-compile", is_flag=True, help="Send sources instead of .mpy files.")
@click.option("--prune", is_flag=True, help="Also remove other files from the folders synced.")
@click.option("--no-reset", is_flag=True, help="Leave the board at its prompt.")
@click.pass_obj
def sync(
    ui: Ui,
    kind: str,
    port: str | None,
    name: str | None,
    via: Via,
    source: Path | None,
    to: SyncTo | None,
    tls_engine: Engine | None,
    names: Names | None,
    no_compile: bool,
    prune: bool,
    no_reset: bool,
) -> None:
    """Bring the firmware's files to the board, sending only what differs, and restart it."""
    ref = open_board(kind, port, name=name, on_step=ui.step)
    with ref.held():
        report = sync_board(
            ref,
            via=via,
            source=source,
            to=to,
            engine=tls_engine,
            names=names,
            compiled=not no_compile,
            prune=prune,
            reset=not no_reset,
            on_step=ui.step,
        )
    ui.result(report.summary(), report.as_dict())
