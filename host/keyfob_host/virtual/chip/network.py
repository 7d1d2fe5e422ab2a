"""The network module of the ESP32 port over the bench's virtual access point."""

import _wire

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

_hostname = "mpy-esp32"
_country = "XX"


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
    return 7


class WLAN:
    """The station interface. The access-point interface can be looked at, not used."""

    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    SEC_WPA2_ENT = 5
    SEC_WPA3 = 6
    SEC_WPA2_WPA3 = 7
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _settings = {"reconnects": -1, "pm": 1, "txpower": 20, "protocol": 7}

    def __init__(self, interface=0):
        if interface not in (0, 1):
            raise ValueError("invalid WLAN interface identifier")
        self._interface = interface

    def _ask(self, do, **arguments):
        return _wire.call("wlan", interface=self._interface, do=do, **arguments)

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

    def scan(self):
        if not self.active():
            raise OSError("STA must be active")
        return [
            (name.encode(), bytes.fromhex(bssid), channel, rssi, security, hidden)
            for name, bssid, channel, rssi, security, hidden in self._ask("scan")
        ]

    def ifconfig(self, fields=None):
        if fields is not None:
            return None  # addresses are the bench's; a static one changes nothing here
        return tuple(self._ask("ifconfig"))

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
        if what == ("has_dhcp4",):
            return address != "0.0.0.0"
        if what == ("addr6",):
            return []
        raise ValueError("unexpected key")

    def config(self, *what, **settings):
        if settings:
            if what:
                raise TypeError("either pos or kw args are allowed")
            for name, value in settings.items():
                if name in ("hostname", "dhcp_hostname"):
                    hostname(value)
                elif name in self._settings or name in (
                    "channel",
                    "mac",
                    "ssid",
                    "essid",
                    "key",
                    "password",
                    "security",
                    "authmode",
                    "hidden",
                    "max_clients",
                ):
                    self._settings[name] = value
                else:
                    raise ValueError("unknown config param")
            return None
        if len(what) != 1:
            raise TypeError("can query only one param")
        (name,) = what
        if name == "mac":
            return bytes.fromhex(self._ask("mac"))
        if name in ("ssid", "essid"):
            return self._ask("ssid")
        if name == "channel":
            return 6
        if name in ("hostname", "dhcp_hostname"):
            return hostname()
        if name in self._settings:
            return self._settings[name]
        raise ValueError("unknown config param")


def _text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else value
