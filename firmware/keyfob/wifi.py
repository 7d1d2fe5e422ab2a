"""The station interface: join the access point, tell why not, notice a loss.

The only module that imports `network`. Ports number their status codes
differently and not all have each one (the ESP8266 has no STAT_ASSOC_FAIL), so
they are read from the port by name.
"""

import asyncio
import time

import network
from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit

_JOIN_LIMIT_MS = const(20_000)
_POLL_MS = const(50)
# An ESP32 reports "no access point" while it is still scanning for the second
# time; only a status that lasts is believed.
_SETTLE_MS = const(2_000)

_FAILURES = (
    ("STAT_WRONG_PASSWORD", "wifi.wrong-password"),
    ("STAT_NO_AP_FOUND", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD", "wifi.no-ap"),
    ("STAT_ASSOC_FAIL", "wifi.join-failed"),
    ("STAT_CONNECT_FAIL", "wifi.join-failed"),
)


class Wifi:
    """The station. ``settings`` is the section ``wifi`` of the settings."""

    def __init__(self, settings: dict) -> None:
        self._ssid = settings["ssid"]
        self._password = settings["password"]
        self._wlan = network.WLAN(network.STA_IF)
        self._told_up = False

    def is_up(self) -> bool:
        """Joined, with an address."""
        return self._wlan.isconnected()

    async def join(self) -> None:
        """Return once the station has an address; at once if it already has.

        Errors: wifi.no-ap, wifi.wrong-password, wifi.join-failed, wifi.timeout,
        wifi.driver.
        """
        if not self.is_up():
            self._start()
            await self._settled()
        if not self._told_up:
            self._told_up = True
            emit("wifi.up", ip=self._wlan.ifconfig()[0])

    def check_up(self) -> None:
        """Raise wifi.lost (and tell ``wifi.down``, once) if the station has no address."""
        if self.is_up():
            return
        if self._told_up:
            self._told_up = False
            emit("wifi.down")
        raise KeyfobError("wifi.lost", "ssid %s, status %s" % (self._ssid, self._wlan.status()))

    def _start(self) -> None:
        try:
            self._wlan.active(True)
            # Ends an attempt that may still be under way: ESP32 answers a second
            # connect() with "Wifi Internal Error" otherwise.
            self._wlan.disconnect()
            self._wlan.connect(self._ssid, self._password)
        except OSError as error:
            raise KeyfobError("wifi.driver", str(error))

    async def _settled(self) -> None:
        started_ms = time.ticks_ms()
        seen, seen_ms = None, started_ms
        while not self._wlan.isconnected():
            now_ms = time.ticks_ms()
            status = self._wlan.status()
            if status != seen:
                seen, seen_ms = status, now_ms
            code = _failure(status)
            if code and time.ticks_diff(now_ms, seen_ms) >= _SETTLE_MS:
                raise KeyfobError(code, "ssid %s, status %s" % (self._ssid, status))
            if time.ticks_diff(now_ms, started_ms) > _JOIN_LIMIT_MS:
                detail = "ssid %s, status %s after %d ms" % (self._ssid, status, _JOIN_LIMIT_MS)
                raise KeyfobError(code or "wifi.timeout", detail)
            await asyncio.sleep_ms(_POLL_MS)


def _failure(status: int):
    for name, code in _FAILURES:
        if getattr(network, name, None) == status:
            return code
    return None
