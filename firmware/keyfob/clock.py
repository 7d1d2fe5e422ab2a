"""The board's clock: unset until a plausible NTP reply sets it, then Unix seconds.

``/clock`` keeps the latest time seen over a reboot. It is a floor for the next
reply's plausibility and never the time itself: a board that was off for a year
must not judge certificates by last year's date. The clock of a chip that kept
running through a soft reset is not believed either; asking again costs one packet.

Not checked: that the server tells the truth within the plausible window.
"""

import os
import time

import machine
from micropython import const

from keyfob import sntp
from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error

FLOOR_PATH = "/clock"
# When this firmware was made: 2026-11-01 00:00 UTC. It was not earlier than that.
_BUILT_S = const(1_793_491_200)
_WINDOW_S = const(20 * 366 * 86_400)
_REPLY_LIMIT_MS = const(3_000)
_RATE_REST_MS = const(1_024_000)
# Flash wears; a floor half a day old rejects an old reply as well as a fresh one.
_FLOOR_EVERY_S = const(43_200)
# A crystal of 20 ppm is off by 2 s after a day.
_ASK_EVERY_S = const(86_400)
_EPOCH_2000_S = const(946_684_800)


class Clock:
    """The clock and its time servers.

    ``settings``: the section ``ntp``. ``exchange``: coroutine function
    (server, packet, limit_ms) -> reply bytes, as `keyfob.stream.exchange_datagram`.
    """

    def __init__(self, settings: dict, exchange, floor_path: str = FLOOR_PATH) -> None:
        self._servers = list(settings["servers"])
        self._exchange = exchange
        self._floor_path = floor_path
        self._resting: dict = {}  # server -> ticks of its RATE
        self._is_set = False
        self._due_s = 0
        # An ESP port counts from 2000, unix from 1970; Keyfob from 1970 everywhere.
        self._epoch_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0
        self._stored_s = _read_floor(floor_path)
        self._keep_next_s = self._stored_s + _FLOOR_EVERY_S
        self._least_s = max(_BUILT_S, settings["min_s"])
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
        return int(time.time()) + self._epoch_s  # a float on the unix port

    def floor_s(self) -> int:
        """The earliest plausible time: built, configured or seen, whichever is latest."""
        return max(self._least_s, self._stored_s)

    async def set(self) -> None:
        """Ask the servers in turn until one reply passes; set the RTC by it.

        A server that answers with a kiss-of-death is asked no more until reboot, or
        with the code RATE for 17 minutes (RFC 4330 section 8). If all fail, the last
        one's error is raised and those before are told as events: those of
        `keyfob.sntp.check_reply`, clock.no-answer, clock.no-server, or
        clock.kiss-of-death when no server may be asked.
        """
        error = None
        for server in self._askable():
            if error:
                emit_error(error)
            try:
                await self._ask(server)
                return
            except KeyfobError as refusal:
                error = KeyfobError(refusal.code, "%s: %s" % (server, refusal.detail))
                if refusal.code == "clock.kiss-of-death":
                    self._silence(server, refusal.detail)
        raise error or KeyfobError("clock.kiss-of-death", "no server may be asked")

    def _askable(self) -> list:
        for server in list(self._resting):
            if time.ticks_diff(time.ticks_ms(), self._resting[server]) > _RATE_REST_MS:
                del self._resting[server]
                self._servers.append(server)
        return list(self._servers)

    def _silence(self, server: str, kiss_code: str) -> None:
        self._servers.remove(server)
        if kiss_code == "RATE":
            self._resting[server] = time.ticks_ms()

    async def _ask(self, server: str) -> None:
        packet = bytearray(sntp.PACKET_BYTES)
        nonce = os.urandom(8)
        sntp.put_request(packet, nonce)
        started_ms = time.ticks_ms()
        reply = await self._exchange(server, packet, _REPLY_LIMIT_MS)
        # The reply was written half a round trip ago, about.
        late_ms = time.ticks_diff(time.ticks_ms(), started_ms) // 2
        floor_s = self.floor_s()
        unix_s, unix_ms = sntp.check_reply(reply, nonce, floor_s, self._least_s + _WINDOW_S)
        now_ms = unix_ms + late_ms
        self._set_rtc(unix_s + now_ms // 1000, now_ms % 1000, server)

    def _set_rtc(self, unix_s: int, unix_ms: int, server: str) -> None:
        before_s = int(time.time()) + self._epoch_s
        fields = time.gmtime(unix_s - self._epoch_s)
        # The RTC has whole seconds on some ports (ESP8266: ms, ESP32: us), so round.
        if unix_ms >= 500:
            fields = time.gmtime(unix_s + 1 - self._epoch_s)
        year, month, day, hour, minute, second, weekday = fields[:7]
        machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
        self._is_set = True
        self._due_s = unix_s + _ASK_EVERY_S
        # A clock at its epoch was not off by decades, it was never set.
        offset_ms = None if before_s < _BUILT_S else (unix_s - before_s) * 1000
        emit("clock.set", unix_s=unix_s, server=server, offset_ms=offset_ms)
        self._keep(unix_s)

    def keep(self) -> None:
        """Renew the floor if it is due; for the owner's slow loop."""
        if self._is_set:
            self._keep(self.now_s())

    def _keep(self, unix_s: int) -> None:
        if unix_s < self._keep_next_s:
            return
        self._keep_next_s = unix_s + _FLOOR_EVERY_S
        new_path = self._floor_path + ".new"
        try:
            with open(new_path, "w") as file:
                file.write(str(unix_s))
            os.rename(new_path, self._floor_path)
        except OSError as error:
            # A full or worn flash costs the floor, not the connection.
            emit_error(KeyfobError("clock.floor-not-kept", "%s: %s" % (new_path, error)))
            return
        self._stored_s = unix_s


def _read_floor(path: str) -> int:
    """The kept floor, 0 when there is none or it is not a number (it is only a floor)."""
    try:
        with open(path) as file:
            text = file.read(11)
    except OSError:
        return 0
    return int(text) if text.isdigit() and len(text) <= 10 else 0
