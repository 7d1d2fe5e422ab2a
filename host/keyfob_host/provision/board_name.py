"""What a board is called in the inventory: a virtual one's name, else the chip's number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyfob_host.provision.board_key import serial_number
from keyfob_host.transport import Transport

if TYPE_CHECKING:
    from keyfob_host.boards import BoardRef


def board_name(ref: BoardRef, board: Transport) -> str:
    """See the module's docstring; ``board`` is at its prompt. Errors: ``board.*``, ``port.*``."""
    return ref.name if ref.virtual is not None else serial_number(board)
