"""The station interface: join the access point, tell of it, notice a loss."""

import network

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit


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
        """Return once the station has an address in its network; at once if it already has.

        Errors: wifi.no-ap, wifi.wrong-password, wifi.join-failed, wifi.timeout,
        wifi.driver.
        """
        # An ESP8266 joins by itself, at boot, whatever network it knew last, with the
        # password that it knew.
        is_ours = self._told_up and self._wlan.config("essid") == self._ssid
        if not is_ours or not self.is_up():
            from keyfob import joining

            try:
                await joining.join(self._wlan, self._ssid, self._password)
            finally:
                drop("joining")
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
