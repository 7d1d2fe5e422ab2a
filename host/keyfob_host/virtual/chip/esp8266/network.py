"""The network module of the ESP8266 port over the bench's virtual access point.

As the SDK does, the chip keeps interfaces, SSID and password in flash and joins by
itself at each start. A new one has its access-point interface on, with the port's
well-known password, until a program switches it off; nobody can join it here.
"""

import _wire

STA_IF = 0
AP_IF = 1
STAT_IDLE = 0
STAT_CONNECTING = 1
STAT_WRONG_PASSWORD = 2
STAT_NO_AP_FOUND = 3
STAT_CONNECT_FAIL = 4
STAT_GOT_IP = 5
MODE_11B = 1
MODE_11G = 2
MODE_11N = 3
AUTH_OPEN = 0
AUTH_WEP = 1
AUTH_WPA_PSK = 2
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4

_NOT_CONNECTED_RSSI = const(31)
_hostname = "mpy-esp8266"
_country = "XX"
_phy_mode = MODE_11N


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    _hostname = name


def country(code=None):
    global _country
    if code is None:
        return _country
    _country = code


def phy_mode(mode=None):
    global _phy_mode
    if mode is None:
        return _phy_mode
    _phy_mode = mode


class WLAN:
    """The station interface. The access-point interface can be looked at and switched."""

    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    PM_NONE = 0
    PM_POWERSAVE = 1
    PM_PERFORMANCE = 2

    _settings = {"pm": 2, "protocol": 3, "channel": 6, "hidden": False, "security": 4}
    _set_only = ("mac", "ssid", "essid", "key", "password", "authmode", "txpower")

    def __init__(self, interface=0):
        if interface not in (0, 1):
            raise ValueError
        self._interface = interface

    def _ask(self, do, **arguments):
        return _wire.call("wlan", interface=self._interface, do=do, **arguments)

    def _require_station(self):
        if self._interface:
            raise OSError("STA required")

    def active(self, up=None):
        if up is None:
            return self._ask("active")
        self._ask("active", up=bool(up))

    def connect(self, ssid=None, key=None, *, bssid=None):
        self._require_station()
        if not self.active():
            raise OSError("Cannot connect to AP")
        self._ask("connect", ssid=_text(ssid), key=_text(key))

    def disconnect(self):
        self._require_station()
        if not self.active():
            raise OSError("Cannot disconnect from AP")
        self._ask("disconnect")

    def isconnected(self):
        return not self._interface and self._ask("status")[0] == STAT_GOT_IP

    def status(self, what=None):
        if what is None:
            return -1 if self._interface else self._ask("status")[0]
        if what == "rssi" and not self._interface:
            rssi = self._ask("status")[1]
            return _NOT_CONNECTED_RSSI if rssi is None else rssi
        if what == "stations" and self._interface:
            return []
        raise ValueError("unknown status param")

    def scan(self):
        self._require_station()
        if not self.active():
            raise OSError("STA must be active")
        return [
            (name.encode(), bytes.fromhex(bssid), channel, rssi, security, hidden)
            for name, bssid, channel, rssi, security, hidden in self._ask("scan")
        ]

    def ifconfig(self, fields=None):
        if fields is None:
            return tuple(self._ask("ifconfig"))
        # addresses are the bench's; a static one changes nothing here

    def ipconfig(self, *what, **settings):
        if settings:
            return None
        address, mask, gateway, _ = self._ask("ifconfig")
        if what == ("addr4",):
            return (address, mask)
        if what == ("gw4",):
            return gateway
        if what == ("dhcp4",):
            return True
        raise ValueError("unexpected key")

    def config(self, *what, **settings):
        if settings:
            if what:
                raise TypeError("either pos or kw args are allowed")
            for name, value in settings.items():
                if name in ("hostname", "dhcp_hostname"):
                    hostname(value)
                elif name in self._settings:
                    self._settings[name] = value
                elif name not in self._set_only:
                    raise ValueError("unknown config param")
            return None
        if len(what) != 1:
            raise TypeError("can query only one param")
        (name,) = what
        if name == "mac":
            return bytes.fromhex(self._ask("mac"))
        if name in ("ssid", "essid"):
            return self._ask("ssid")
        if name in ("hostname", "dhcp_hostname"):
            return hostname()
        if name in self._settings:
            return self._settings[name]
        raise ValueError("unknown config param")


def _text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else value
