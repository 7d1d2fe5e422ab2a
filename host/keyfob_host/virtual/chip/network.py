"""The network module of the ESP32 port over the bench's virtual access point."""

import _wlan
from _wlan import _text, country, hostname  # noqa

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_BEACON_TIMEOUT = 200
STAT_ASSOC_FAIL = 203
STAT_CONNECT_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204
AUTH_OPEN = 0
AUTH_WEP = 1
AUTH_WPA_PSK = 2
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4
AUTH_WPA2_ENTERPRISE = 5
AUTH_WPA3_PSK = 6
AUTH_WPA2_WPA3_PSK = 7
MODE_11B = 1
MODE_11G = 2
MODE_11N = 4

hostname("mpy-esp32")


def phy_mode(mode=None):
    return 7


class WLAN(_wlan.WLAN):
    """The station interface. The access-point interface can be looked at, not used."""

    SEC_WPA2_ENT = 5
    SEC_WPA3 = 6
    SEC_WPA2_WPA3 = 7
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _settings = {"reconnects": -1, "pm": 1, "txpower": 20, "protocol": 7}
    # told from when they are set
    _settings.update(
        dict.fromkeys(("key", "password", "security", "authmode", "hidden", "max_clients"))
    )
    _set_only = ("mac", "ssid", "essid", "channel")

    def __init__(self, interface=0):
        if interface not in (0, 1):
            raise ValueError("invalid WLAN interface identifier")
        self._interface = interface

    def active(self, up=None):
        if up is None:
            return self._ask("active")
        return self._ask("active", up=bool(up))

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self.active():
            raise OSError("Wifi Not Started")
        if self._interface:
            raise OSError("STA required")
        self._ask("connect", ssid=_text(ssid), key=_text(key))

    def disconnect(self):
        self._ask("disconnect")

    def isconnected(self):
        return self._ask("status")[0] == STAT_GOT_IP

    def status(self, what=None):
        status, rssi = self._ask("status")
        if what is None:
            return status
        if what == "rssi":
            if rssi is None:
                raise OSError("Wifi Not Connected")
            return rssi
        if what == "stations" and self._interface:
            return []
        raise ValueError("unknown status param")

    def ipconfig(self, *what, **settings):
        if what == ("has_dhcp4",):
            return self._ask("ifconfig")[0] != "0.0.0.0"
        if what == ("addr6",):
            return []
        return super().ipconfig(*what, **settings)

    def config(self, *what, **settings):
        if what == ("channel",) and not settings:
            return 6
        return super().config(*what, **settings)
