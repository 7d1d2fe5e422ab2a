"""The table ``[board.NAME.power]`` of a ``bench.toml``, and what each driver takes of it.

Shape and range of a field are checked as the file is read (`keyfob_host.strict_toml`);
`fault` finds fields that do not go with the driver. Whether there is such a hub, port or
program is found out when it is switched.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from keyfob_host.bench.finding_ports import Address
from keyfob_host.strict_toml import Pattern, Range

COMMAND_TIMEOUT_S = 60.0

_Text = Annotated[str, Range(1, 4000)]
_Arguments = Annotated[tuple[_Text, ...], Range(1, 64)]
_Hub = Annotated[str, Pattern(r"\d+(-\d+(\.\d+)*)?", "a hub as uhubctl names it: 1-1.4")]

# What a driver cannot do without, and what it also takes.
_NEEDS: dict[str, tuple[str, ...]] = {
    "uhubctl": ("hub", "hub_port"),
    "relay": (),
    "command": ("off", "on"),
}
_TAKES: dict[str, tuple[str, ...]] = {
    "uhubctl": (),
    "relay": ("usb_serial", "location", "url", "channel", "contact"),
    "command": ("timeout_s",),
}


@dataclass(frozen=True)
class PowerTable:
    """``driver`` says which other fields are meant.

    uhubctl: ``hub`` and ``hub_port``, as ``uhubctl`` without arguments lists them; a board
    that goes by its USB location needs neither.
    relay: where it is plugged in (one of three, as for a board), ``channel``, and which
    ``contact`` the board hangs on. command: the programs' argument lists.
    """

    driver: Literal["uhubctl", "relay", "command"]
    hub: _Hub | None = None
    hub_port: Annotated[int, Range(1, 32)] | None = None
    usb_serial: _Text | None = None
    location: _Text | None = None
    url: _Text | None = None
    channel: Annotated[int, Range(1, 8)] | None = None
    contact: Literal["normally-open", "normally-closed"] | None = None
    off: _Arguments | None = None
    on: _Arguments | None = None
    timeout_s: Annotated[float, Range(1, 600)] = COMMAND_TIMEOUT_S

    @property
    def address(self) -> Address:
        """Where a relay is plugged in."""
        return Address(usb_serial=self.usb_serial, location=self.location, url=self.url)

    @property
    def closed_is_on(self) -> bool:
        """Whether the board has its supply while the relay is energised."""
        return self.contact != "normally-closed"

    def at(self, location: str | None) -> PowerTable:
        """With hub and port of the USB ``location`` of the board, where it names none itself."""
        found = hub_of(location) if location is not None else None
        if self.driver != "uhubctl" or found is None or (self.hub, self.hub_port) != (None, None):
            return self
        return replace(self, hub=found[0], hub_port=found[1])

    def fault(self) -> tuple[str, object, str] | None:
        """The first field that does not go with the driver: its name, value, what is wanted."""
        needs, takes = _NEEDS[self.driver], _TAKES[self.driver]
        for field in fields(self):
            value, name = getattr(self, field.name), field.name
            if name in needs and value is None:
                return name, value, f"to be given for the driver {self.driver}"
            if name not in ("driver", *needs, *takes) and value != field.default:
                return name, value, f"to be left out for the driver {self.driver}"
        if self.driver == "relay" and self.address.count != 1:
            return "usb_serial", self.usb_serial, "exactly one of usb_serial, location and url"
        return None


def hub_of(location: str) -> tuple[str, int] | None:
    """Hub and port of a USB device by its location: ``1-1.4`` is port 4 of hub ``1-1``.

    A root hub's port, ``1-2``, is port 2 of hub ``1``. None if it is no such location.
    """
    device = location.partition(":")[0]
    hub, _, port = device.rpartition("." if "." in device else "-")
    return (hub, int(port)) if hub and port.isdigit() else None
