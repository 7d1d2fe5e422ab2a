"""The neopixel module: the bench sees the colours that were written."""

import _wire


class NeoPixel:
    """``n`` LEDs of ``bpp`` colours each; ``write`` shows what was set."""

    ORDER = (1, 0, 2, 3)

    def __init__(self, pin, n, bpp=3, timing=1):
        self.pin = pin
        self.n = n
        self.bpp = bpp
        self.fill((0,) * bpp)

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self._colors[index]

    def __setitem__(self, index, color):
        self._colors[index] = tuple(bytes(color[: self.bpp]))

    def fill(self, color):
        self._colors = [tuple(bytes(color[: self.bpp]))] * self.n

    def write(self):
        _wire.call("neopixel", n=self.pin._id, colors=[list(color) for color in self._colors])
