"""A DHT22 that reads what a test puts into `values`; an OSError there is raised."""

values = [(21.5, 40.0)]


class DHT22:
    def __init__(self, pin):
        self._now = None

    def measure(self):
        self._now = values.pop(0) if len(values) > 1 else values[0]
        if isinstance(self._now, OSError):
            raise self._now

    def temperature(self):
        return self._now[0]

    def humidity(self):
        return self._now[1]
