"""What a DHT22 and a NeoPixel do, apart from any connection: readings, colours, commands.

A command is JSON: ``{"color": [r, g, b]}``, ``{"thresholds": {"blue_below_c": …,
"red_above_c": …}}``, ``{"period_s": …}`` and any mixture of them. A colour that was
commanded stays until thresholds are.
"""

import gc
import json

import dht
import machine
import neopixel

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit

_BLUE, _GREEN, _RED = (0, 0, 32), (0, 32, 0), (32, 0, 0)


class Sensor:
    """The sensor, the pixel, and what they were told. ``state``: what is published of it;
    ``period_s`` in it is how long to wait between readings, ``free_bytes`` the heap that was
    free with the last command.

    ``settings``: the section ``app``. Errors: config.*
    """

    def __init__(self, settings: dict) -> None:
        settings = _checked(
            "app",
            settings,
            {
                "name": (str, 1, 32, "sensor"),
                "period_s": (int, 1, 86_400, 3),
                "dht_pin": (int, 0, 48, 4),
                "pixel_pin": (int, 0, 48, 5),
                "pixels": (int, 1, 64, 1),
            },
        )
        self._dht = dht.DHT22(machine.Pin(settings["dht_pin"]))
        self._pixels = neopixel.NeoPixel(machine.Pin(settings["pixel_pin"]), settings["pixels"])
        self._sequence = 0
        self._color: tuple | None = None
        self.state = {"period_s": settings["period_s"], "blue_below_c": 18, "red_above_c": 25}

    def read(self, now_s: int):
        """A reading taken at ``now_s`` (Unix seconds), shown by the pixel; None if the
        sensor does not answer."""
        try:
            self._dht.measure()
        except OSError as error:
            # A loose wire or a checksum: the next period may do better.
            emit("app.sensor-failed", detail=str(error))
            return None
        self._sequence += 1
        temperature_c = self._dht.temperature()
        color = _GREEN
        if temperature_c < self.state["blue_below_c"]:
            color = _BLUE
        elif temperature_c > self.state["red_above_c"]:
            color = _RED
        self._fill(self._color or color)
        return {
            "temperature_c": temperature_c,
            "humidity_percent": self._dht.humidity(),
            "seq": self._sequence,
            "t": now_s,
        }

    def obey(self, message):
        """Do what ``message`` commands: None if it is no command, else whether what it says
        is a reason for a reading now."""
        emit("command", topic=message.topic, bytes=len(message.payload))
        try:
            is_due = self._apply(json.loads(message.payload.decode()))
        except (ValueError, UnicodeError, KeyfobError) as error:
            emit("app.bad-command", detail=str(error))
            return None
        gc.collect()
        self.state["free_bytes"] = gc.mem_free()
        return is_due

    def _apply(self, command: object) -> bool:
        """Judge the whole command before any of it takes effect."""
        command = _checked(
            "command",
            command,
            {
                "color": (list, 3, 3, None),
                "period_s": (int, 1, 86_400, None),
                "thresholds": (dict, 1, 2, None),
            },
        )
        color, period_s, thresholds = command["color"], command["period_s"], command["thresholds"]
        if thresholds is not None:
            degrees = ((int, float), -40, 80, None)
            thresholds = _checked(
                "thresholds", thresholds, {"blue_below_c": degrees, "red_above_c": degrees}
            )
        if color is not None:
            for part in color:
                if not isinstance(part, int) or not 0 <= part <= 255:
                    raise KeyfobError("config.out-of-range", "color: %r" % color)
            self._color = tuple(color)
            self._fill(tuple(color))
        if thresholds is not None:
            for name in thresholds:
                if thresholds[name] is not None:
                    self.state[name] = thresholds[name]
            self._color = None
        if period_s is not None:
            self.state["period_s"] = period_s
        return period_s is not None or thresholds is not None

    def _fill(self, color: tuple) -> None:
        self._pixels.fill(color)
        self._pixels.write()
        self.state["color"] = list(color)


def _checked(name: str, section: object, schema: dict) -> dict:
    """``section`` with its defaults; what checks it is needed seldom. Errors: config.*"""
    from keyfob.config import check_section

    try:
        return check_section(name, section, schema)
    finally:
        drop("config")
