"""The least of `network` that the firmware asks for: a station that joins at once.

For running the firmware under the unix MicroPython without a virtual board.
"""

STA_IF = 0
STAT_GOT_IP = 1010


class WLAN:
    def __init__(self, interface):
        self._is_joined = False

    def active(self, is_active):
        pass

    def connect(self, ssid, password):
        self._is_joined = True
        self._ssid = ssid

    def config(self, name):
        return self._ssid

    def disconnect(self):
        self._is_joined = False

    def isconnected(self):
        return self._is_joined

    def status(self):
        return STAT_GOT_IP

    def ifconfig(self):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
