"""What every driver of a board's supply can do."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress

from keyfob_host.errors import KeyfobHostError

# Long enough for the capacitors of a board and of a hub to lose their charge.
OFF_S = 2.0


class PowerSwitch(ABC):
    """A board's supply. A method returns when the switching was said and confirmed as far
    as the driver can tell; switching to the state it has already is no error."""

    @abstractmethod
    def off(self) -> None:
        """Take the supply away."""

    @abstractmethod
    def on(self) -> None:
        """Give it back."""

    def cycle(self, off_s: float = OFF_S) -> None:
        """Off, wait ``off_s``, on; also on when it is interrupted, or cannot be switched off."""
        try:
            self.off()
            time.sleep(off_s)
        except BaseException:
            with suppress(KeyfobHostError):  # the first error says more
                self.on()
            raise
        self.on()
