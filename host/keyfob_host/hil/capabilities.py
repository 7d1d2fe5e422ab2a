"""What a case needs of the board and its surroundings, and why it is skipped without.

A case says so with markers: ``needs("power")``, ``chips("esp8266")``. Nothing here asks
which kind of board it is: what can be done to it is among the run's options.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import pytest

SERIAL: Final = "serial"
POWER: Final = "power"
POWER_AT_WRITE: Final = "power-at-write"
WIFI: Final = "wifi"
SENSOR: Final = "sensor"
BROKER: Final = "broker"
_WHY: Final = {
    SERIAL: "there is no serial line to it: its console and its prompt are out of reach",
    POWER: "its power cannot be switched from here",
    POWER_AT_WRITE: "its power cannot be cut at a chosen write to its flash",
    WIFI: "the access point cannot be switched from here",
    SENSOR: "what its sensor measures cannot be set from here",
    BROKER: "it does not stand before the bench's own broker",
}
CAPABILITIES: Final = frozenset(_WHY)


def why_not(capability: str) -> str:
    """The reason for which a case is skipped that needs ``capability``."""
    return _WHY[capability]


def refuse_unfit(item: pytest.Item, capabilities: Collection[str], chip: str | None) -> None:
    """Skip ``item`` if its markers ask for what is not there.

    ``chip``: the board's, None for a device of which that is not known.
    """
    for capability in _arguments(item, "needs"):
        if capability not in CAPABILITIES:
            known = ", ".join(sorted(CAPABILITIES))
            raise pytest.UsageError(f"{item.nodeid} needs {capability!r}; there are: {known}")
        if capability not in capabilities:
            pytest.skip(f"{why_not(capability)} (the case needs {capability!r})")
    chips = list(_arguments(item, "chips"))
    if chips and chip not in chips:
        pytest.skip(f"the case is about {', '.join(chips)}, and this is {chip or 'not known'}")


def rung_of(item: pytest.Item) -> str | None:
    """The rung of the doctor's ladder that ``item`` is about; the marker nearest to it."""
    return next(iter(_arguments(item, "rung")), None)


def _arguments(item: pytest.Item, marker: str) -> Iterable[str]:
    return (str(name) for one in item.iter_markers(marker) for name in one.args)
