"""Switching a board's supply from here: a smart USB hub, a relay, or any program that can.

`open_power(entry.power)` turns the ``[board.NAME.power]`` of a ``bench.toml`` into a
`PowerSwitch` with `off`, `on` and `cycle`; nothing is switched by opening one. Whether the
board then loses its supply is for its user to see: a hub may switch its data lines only,
and a relay may have nothing wired to it.
"""

from __future__ import annotations

from keyfob_host.power.switch import PowerSwitch
from keyfob_host.power.table import PowerTable

__all__ = ["PowerSwitch", "PowerTable", "open_power"]


def open_power(table: PowerTable) -> PowerSwitch:
    """The switch that ``table`` tells of; the table was checked when its file was read.

    Its methods raise `KeyfobHostError` ``power.*``, and ``port.*`` of a relay's port.
    """
    if table.driver == "uhubctl":
        from keyfob_host.power.uhubctl import UhubctlSwitch

        return UhubctlSwitch(table.hub or "", table.hub_port or 0)
    if table.driver == "relay":
        from keyfob_host.power.relay import RelaySwitch

        return RelaySwitch(table.address, table.channel or 1, closed_is_on=table.closed_is_on)
    from keyfob_host.power.command import CommandSwitch

    return CommandSwitch(table.off or (), table.on or (), table.timeout_s)
