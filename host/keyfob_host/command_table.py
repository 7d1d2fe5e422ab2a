"""Groups of commands that are imported when they are called, not when help is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import click

# name: (module:attribute, one line of help), in the order of a user's work.
CommandTable = Mapping[str, tuple[str, str]]


class _TableGroup(click.Group):
    """A click group made from a `CommandTable`."""

    table: CommandTable = MappingProxyType({})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        module, attribute = self.table[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # From the table: click's own would import every command for its line of help.
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


def command_group(
    table: CommandTable, **settings: Any
) -> Callable[[Callable[..., Any]], click.Group]:
    """Decorator: a group whose commands are those of ``table``; ``settings``: click's."""

    def made(function: Callable[..., Any]) -> click.Group:
        group: _TableGroup = click.group(cls=_TableGroup, **settings)(function)
        group.table = table
        return group

    return made
