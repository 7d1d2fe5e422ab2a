"""The board's clock: unset until a plausible NTP reply sets it, then Unix seconds.

``/clock`` (`keyfob.floor`) keeps the latest time seen over a reboot. It is a floor for the next
reply's plausibility and never the time itself: a board that was off for a year
must not judge certificates by last year's date. The clock of a chip that kept
running through a soft reset is not believed either; asking again costs one packet.

A time is kept once a connection was verified by it, and never one that the clock leapt
to: a floor from the future would shut out every server that tells the truth.

Not checked: that the server tells the truth within the plausible window.
"""

import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit

# Flash wears; a floor half a day old rejects an old reply as well as a fresh one.
_FLOOR_EVERY_S = const(43_200)
# A crystal of 20 ppm is off by 2 s after a day.
_ASK_EVERY_S = const(86_400)
# A server that was off by hours must not shut out those that are right after it.
_SLACK_S = const(86_400)
_LEAP_S = const(3_600)
_EPOCH_2000_S = const(946_684_800)


class Clock:
    """The clock. ``settings``: the section ``ntp``. ``exchange``: in the place of
    `keyfob.datagrams.exchange`. ``servers``: those that may be asked; ``resting``: with
    the ticks since when not. ``least_s``: no time before that is plausible.
    """

    def __init__(self, settings: dict, exchange=None, floor_path: str = "") -> None:
        from keyfob import floor

        self.servers = list(settings["servers"])
        self.resting: dict = {}
        self._exchange = exchange
        self._floor_path = floor_path or floor.PATH
        self._is_set = False
        self._due_s = 0
        self._seen_s = 0  # when the owner last looked
        # An ESP port counts from 2000, unix from 1970; Keyfob from 1970 everywhere.
        self.epoch_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0
        self._stored_s = floor.read(self._floor_path)
        self._keep_next_s = self._stored_s + _FLOOR_EVERY_S
        self.least_s = max(floor.BUILT_S, settings["min_s"])
        del floor
        drop("floor")
        emit("clock.kept", floor_s=self.floor_s())

    def is_set(self) -> bool:
        return self._is_set

    def is_due(self) -> bool:
        """Whether the servers are to be asked: unset, set a day ago, or in doubt."""
        return not self._is_set or self.now_s() >= self._due_s

    def doubt(self) -> None:
        """A certificate's dates did not fit: ask again before the next attempt."""
        self._due_s = 0

    def now_s(self) -> int:
        """Unix seconds. Errors: clock.never-set."""
        if not self._is_set:
            raise KeyfobError("clock.never-set", "no NTP reply since boot")
        return int(time.time()) + self.epoch_s  # a float on the unix port

    def floor_s(self) -> int:
        """The earliest plausible time: built, configured, or a day before the latest seen,
        whichever is latest."""
        return max(self.least_s, self._stored_s - _SLACK_S)

    async def set(self) -> None:
        """Ask the servers until one reply passes; set the RTC by it.

        Errors: those of `keyfob.time_servers.ask`.
        """
        from keyfob import time_servers

        try:
            unix_s = await time_servers.ask(self, self._exchange)
        finally:
            drop("time_servers", "sntp", "datagrams", "floor")
        self._is_set = True
        self._due_s = unix_s + _ASK_EVERY_S
        self._seen_s = unix_s

    def keep(self) -> None:
        """Renew the floor if it is due; for the owner's slow loop, while it has a verified
        connection. A clock that has leapt since it looked last is in doubt."""
        if self._is_set:
            now_s = self.now_s()
            if abs(now_s - self._seen_s) > _LEAP_S:
                self.doubt()
            self._seen_s = now_s
            if self._due_s and now_s >= self._keep_next_s:
                self._keep_next_s = now_s + _FLOOR_EVERY_S
                from keyfob import floor

                if floor.keep(self._floor_path, now_s):
                    self._stored_s = now_s
                del floor
                drop("floor")
