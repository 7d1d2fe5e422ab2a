"""The supply of a board that something on the bench can switch, and its port afterwards.

The serial bridge of most boards hangs on the same supply: its port goes and comes back,
maybe under another number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.errors import KeyfobHostError
from keyfob_host.ports import is_url
from keyfob_host.power import PowerSwitch

_BACK_TIMEOUT_S = 20.0  # a hub that enumerates its ports anew
_POLL_S = 0.2


@dataclass(frozen=True)
class Supply:
    """``locate`` finds the board's port, whatever it is called today."""

    switch: PowerSwitch
    locate: Callable[[], str]

    def off(self) -> None:
        """Take it away. Errors: ``power.*``."""
        self.switch.off()

    def on(self) -> str:
        """Give it back; the port, once it is there. Errors: ``power.*``, ``port.*``."""
        self.switch.on()
        end = time.monotonic() + _BACK_TIMEOUT_S
        while True:
            try:
                port = self.locate()
                if is_url(port) or Path(port).exists():
                    return port
            except KeyfobHostError:
                if time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                return port
            time.sleep(_POLL_S)
