"""A station whose behaviour a test sets, with the ESP32 port's numbers."""

STA_IF = 0
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203

# What connect() leads to: a status, or an OSError to raise.
outcome = STAT_GOT_IP


class WLAN:
    def __init__(self, interface):
        self.calls = []
        self.essid = ""
        self._status = STAT_IDLE

    def active(self, is_active=None):
        if is_active is None:
            return "active" in self.calls
        self.calls.append("active")
        return None

    def connect(self, ssid, password):
        self.calls.append("connect")
        self.essid = ssid
        if isinstance(outcome, OSError):
            raise outcome
        self._status = outcome

    def config(self, name):
        assert name == "essid"
        return self.essid

    def disconnect(self):
        self.calls.append("disconnect")
        self._status = STAT_IDLE

    def isconnected(self):
        return self._status == STAT_GOT_IP

    def status(self):
        return self._status

    def ifconfig(self):
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")
