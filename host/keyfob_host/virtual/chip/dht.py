"""The dht module: sensors that show what the bench set, and time out when it set nothing."""

import _wire


class DHTBase:
    def __init__(self, pin):
        self.pin = pin
        self.buf = bytearray(5)
        self._values = None

    def measure(self):
        self._values = _wire.call("dht", n=self.pin._id)


class DHT22(DHTBase):
    """Steps of 0.1 °C and 0.1 %."""

    def temperature(self):
        return round(self._values[0] * 10) / 10 if self._values else 0.0

    def humidity(self):
        return round(self._values[1] * 10) / 10 if self._values else 0.0


class DHT11(DHTBase):
    """Whole degrees and percents."""

    def temperature(self):
        return int(self._values[0]) if self._values else 0

    def humidity(self):
        return int(self._values[1]) if self._values else 0
