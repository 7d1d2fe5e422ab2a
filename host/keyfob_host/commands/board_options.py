"""Which board a command is for: its kind, and its port or its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from keyfob_host.boards import DEFAULT_KIND

_Command = TypeVar("_Command", bound=Callable[..., Any])


def board_options(command: _Command) -> _Command:
    """``--board`` (argument ``kind``), ``--port``, ``--name``: what `open_board` takes."""
    for option in (
        click.option("--name", help="Name of a virtual board, if not its kind."),
        click.option("--port", help="Real board: its device, rfc2217://… or labgrid://…"),
        click.option(
            "--board", "kind", default=DEFAULT_KIND, show_default=True,
            help="Board kind, or name in bench.toml.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command
