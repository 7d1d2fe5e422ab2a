"""``keyfob flash``: write a MicroPython image to a board."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.commands.board_options import board_options
from keyfob_host.flash.flashing import Flashed, describe, flash_board
from keyfob_host.flash.images import default_image
from keyfob_host.home import find_home
from keyfob_host.ui import Ui

_WORDS = {
    "connect": "connecting",
    "erase": "erasing",
    "write": "writing",
    "verify": "verifying",
}


@click.command()
@board_options
@click.option(
    "--firmware", type=click.Path(path_type=Path), help="Image to write; virtual boards have one."
)
@click.option("--sha256", help="Refuse an image with another SHA-256.")
@click.option(
    "--erase/--no-erase", default=True, show_default=True,
    help="Erase the whole flash first, the board's files included.",
)  # fmt: skip
@click.option("--baud", type=click.IntRange(9600, 3_000_000), help="Instead of the kind's own.")
@click.pass_obj
def flash(
    ui: Ui,
    kind: str,
    port: str | None,
    name: str | None,
    firmware: Path | None,
    sha256: str | None,
    erase: bool,
    baud: int | None,
) -> None:
    """Check an image, flash it with esptool and verify it.

    Nothing is erased before the image is found whole and the chip itself has said
    that it is the one the image is for.
    """
    home = find_home()
    ref = open_board(kind, port, name=name, home=home, on_step=ui.step)
    named = ref.entry.firmware if ref.entry else None
    image = firmware or named or default_image(ref.kind, home, on_step=ui.step)
    ui.step(f"checking {image.name}, then flashing {ref.name} on {ref.port}")
    with ref.held(), _Bar(ui) as bar:
        flashed = flash_board(
            ref, image, erase=erase, baud=baud, expected_sha256=sha256, on_progress=bar.update
        )
    ui.result(describe(flashed, ref.kind), _as_dict(flashed, ref))


class _Bar:
    """A bar on a terminal; elsewhere one line for each stage."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        self._stage = ""
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description:<12}"), BarColumn(), TaskProgressColumn(),
            console=ui.err, transient=True, disable=ui.as_json or not ui.err.is_terminal,
        )  # fmt: skip

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, stage: str, percent: float) -> None:
        words = _WORDS.get(stage, stage)
        if self._bar.disable:
            if stage != self._stage:
                self._ui.step(words)
        elif self._task is None or stage != self._stage:
            self._task = self._bar.add_task(words, total=100, completed=int(percent))
        else:
            self._bar.update(self._task, completed=percent)
        self._stage = stage


def _as_dict(flashed: Flashed, ref: BoardRef) -> dict[str, object]:
    return {
        "board": ref.kind.name,
        "name": ref.name,
        "port": ref.port,
        "chip": flashed.chip.name,
        "mac": flashed.chip.mac,
        "flash_size": flashed.chip.flash_size,
        "firmware": str(flashed.firmware.path),
        "bytes": flashed.firmware.size,
        "sha256": flashed.firmware.sha256,
        "offset": flashed.offset,
        "erased": flashed.erased,
        "verified": True,
        "seconds": round(flashed.seconds, 2),
    }
