"""A chain of pixels that is dark."""


class NeoPixel:
    def __init__(self, pin, count):
        self._count = count

    def fill(self, color):
        pass

    def write(self):
        pass
