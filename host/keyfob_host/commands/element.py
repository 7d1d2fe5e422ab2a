"""``keyfob element``: a board's secure element, through the driver that is on the board."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import rich_click as click

from keyfob_host.boards import open_board
from keyfob_host.commands.board_options import board_options
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import find_home
from keyfob_host.provision import board_key
from keyfob_host.transport import open_transport
from keyfob_host.ui import Ui

if TYPE_CHECKING:
    from keyfob_host.provision.board_key import ElementSlot


@click.group()
def element() -> None:
    """A board's secure element: show its slots, lock it."""


@element.command()
@board_options
@click.pass_obj
def show(ui: Ui, kind: str, port: str | None, name: str | None) -> None:
    """Show each slot: whether it is locked, and which key it has."""
    _show(ui, _ask(ui, kind, port, name, lock=False))


@element.command()
@board_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def lock(ui: Ui, kind: str, port: str | None, name: str | None, yes: bool) -> None:
    """Lock the element, for ever: its keys can then be used, and never be read.

    What may be changed in it afterwards, and whether a slot can have a new key, its
    configuration says, which your driver has put there.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise KeyfobHostError(
                "element.not-confirmed", "locking cannot be undone, and nobody is here to ask",
                fix="keyfob element lock --yes", status=ExitStatus.USAGE,
            )  # fmt: skip
        click.confirm("Locking cannot be undone. Lock it?", abort=True, err=True)
    _show(ui, _ask(ui, kind, port, name, lock=True))


def _ask(ui: Ui, kind: str, port: str | None, name: str | None, *, lock: bool) -> list[ElementSlot]:
    ref = open_board(kind, port, name=name, home=find_home(), on_step=ui.step)
    with ref.held(), open_transport(ref) as board:
        slots = board_key.element_slots(board, lock=lock)
        board.reset()
    if lock and not all(slot.is_locked for slot in slots):
        raise KeyfobHostError(
            "element.not-locked", "the element says that it is not locked, after it was locked",
            evidence=", ".join(f"slot {slot.number}" for slot in slots if not slot.is_locked),
            fix="see what lock() of your driver does: mpremote fs cat :keyfob_element.py",
            status=ExitStatus.BOARD,
        )  # fmt: skip
    return slots


def _show(ui: Ui, slots: list[ElementSlot]) -> None:
    lines = [
        f"slot {slot.number:<4}{'locked' if slot.is_locked else 'not locked':<12}"
        + (f"key {slot.key_sha256[:16]}" if slot.key_sha256 else "no key")
        for slot in slots
    ]
    data = {"slots": [vars(slot) for slot in slots]}
    ui.result("\n".join(lines) or "the element has no slots", data)
