"""Pixels whose colour a test reads from `shown`."""

shown = []


class NeoPixel:
    def __init__(self, pin, count):
        self._color = (0, 0, 0)

    def fill(self, color):
        self._color = color

    def write(self):
        shown.append(self._color)
