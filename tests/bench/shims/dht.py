"""A DHT22 that always reads 21.5 degrees and 40 percent."""


class DHT22:
    def __init__(self, pin):
        pass

    def measure(self):
        pass

    def temperature(self):
        return 21.5

    def humidity(self):
        return 40.0
