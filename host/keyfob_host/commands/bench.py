"""``keyfob bench``: the table of its commands."""

from __future__ import annotations

from keyfob_host.command_table import command_group

COMMANDS: dict[str, tuple[str, str]] = {
    "scan": ("keyfob_host.commands.bench_scan:scan", "Find boards, write them to bench.toml."),
    "list": ("keyfob_host.commands.bench_list:list_", "Show the boards, and who holds which."),
    "power": ("keyfob_host.commands.bench_power:power", "Switch a board's supply."),
}


@command_group(COMMANDS)
def bench() -> None:
    """Name the boards of a bench, whatever ports they are on today."""
