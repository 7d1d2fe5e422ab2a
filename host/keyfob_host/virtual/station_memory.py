"""What an ESP8266's SDK keeps of its Wi-Fi settings in flash, and uses by itself at each start.

The SDK's own layout is not documented; here it is JSON in one sector of the 16 KB at the
end of the flash that belong to the SDK. Erased flash has no settings.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from keyfob_host.virtual.flash import SECTOR_BYTES, Flash

_FROM_END = 0x3000


@dataclass(frozen=True)
class Remembered:
    """Which interfaces are on, and where the station joins; None: nowhere yet."""

    station: bool = False
    own_access_point: bool = True
    ssid: str | None = None
    key: str = ""


class StationMemory:
    """The settings in ``flash``; a new chip has its own access point on."""

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self._offset = flash.size - _FROM_END

    def load(self) -> Remembered:
        text = self._flash.read(self._offset, SECTOR_BYTES).partition(b"\xff")[0]
        try:
            return Remembered(**json.loads(text))
        except (ValueError, TypeError):
            return Remembered()

    def save(self, new: Remembered) -> None:
        """Write what has changed; errors: `keyfob_host.virtual.flash.PowerCut`."""
        if new != self.load():
            self._flash.erase(self._offset, SECTOR_BYTES)
            self._flash.program(self._offset, json.dumps(asdict(new)).encode())
