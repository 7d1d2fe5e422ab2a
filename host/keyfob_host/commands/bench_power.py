"""``keyfob bench power``: a board's supply, by the driver that ``bench.toml`` names."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from keyfob_host.bench.file import BenchEntry, bench_path, load_bench
from keyfob_host.bench.finding_ports import usb_ports
from keyfob_host.bench.state import where
from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.lock import check_not_held, lock_path
from keyfob_host.home import Home, find_home
from keyfob_host.power import PowerSwitch, open_power
from keyfob_host.power.switch import OFF_S
from keyfob_host.ui import Ui
from keyfob_host.virtual import VirtualBoard


@click.command()
@click.argument("switch", type=click.Choice(["on", "off", "cycle"]))
@click.argument("name")
@click.option(
    "--off-s", type=click.FloatRange(0, 600), default=OFF_S, show_default=True,
    help="With cycle: how long it is off.",
)  # fmt: skip
@click.option(
    "--bench", "file", type=click.Path(path_type=Path), help="Another file than the bench's own."
)
@click.pass_obj
def power(ui: Ui, switch: str, name: str, off_s: float, file: Path | None) -> None:
    """Switch the supply of board NAME of bench.toml.

    A board that a suite runs on is left alone. Whether it really lost its power only it can
    tell: keyfob monitor --board NAME.
    """
    home = find_home()
    path = file or bench_path(home)
    entry = load_bench(path).find(name)
    supply = _supply(entry, home, path)
    _check_not_held(entry, home)
    if switch == "cycle":
        ui.step(f"{name}: off for {off_s:g} s")
        supply.cycle(off_s)
    elif switch == "on":
        supply.on()
    else:
        supply.off()
    said = "off and on again" if switch == "cycle" else switch
    ui.result(f"{name}: power {said}", {"board": name, "power": switch})


class _VirtualSupply(PowerSwitch):
    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    def off(self) -> None:
        self._board.power(False)

    def on(self) -> None:
        self._board.power(True)


def _supply(entry: BenchEntry, home: Home, path: Path) -> PowerSwitch:
    if entry.virtual:
        return _VirtualSupply(VirtualBoard.attach(home, entry.name))
    if entry.power is None:
        raise KeyfobHostError(
            "bench.no-power", f"{path.name} does not say what switches the power of {entry.name}",
            evidence=f"{path}: there is no [board.{entry.name}.power]",
            fix=f'add: [board.{entry.name}.power], driver = "uhubctl", "relay" or "command"; '
            "README.md, A bench of boards, says what goes with each",
        )  # fmt: skip
    return open_power(entry.power)


def _check_not_held(entry: BenchEntry, home: Home) -> None:
    # One that is off may have no port, and is held by nobody who could be told.
    port = None if entry.virtual else where(entry, home, usb_ports())[0]
    if port is not None or entry.virtual:
        check_not_held(lock_path(home, entry.name, port), entry.name)
