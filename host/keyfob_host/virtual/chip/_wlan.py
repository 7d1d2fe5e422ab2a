"""What the network modules of the ports have in common: interfaces, and the board's name."""

import _wire

_hostname = None  # the port gives it
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


class WLAN:
    """An interface. The port's has ``_settings``, and ``_set_only`` for those not kept."""

    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    PM_NONE = 0

    def _ask(self, do, **arguments):
        return _wire.call("wlan", interface=self._interface, do=do, **arguments)

    def scan(self):
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
        if self._settings.get(name) is None:
            raise ValueError("unknown config param")
        return self._settings[name]


def _text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else value
