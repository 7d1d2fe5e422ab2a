"""A DHT22 and a NeoPixel: readings as JSON, colour by thresholds, commands.

Publishes ``devices/<id>/reading`` every ``period_s``. Takes on ``devices/<id>/command``
``{"color": [r, g, b]}``, ``{"thresholds": {"blue_below_c": …, "red_above_c": …}}``,
``{"period_s": …}`` and any mixture of them; answers with its whole state, retained,
on ``devices/<id>/state``. A colour that was commanded stays until thresholds are.
"""

import asyncio
import json

import dht
import machine
import neopixel

from keyfob import drop
from keyfob.client import Client
from keyfob.errors import KeyfobError
from keyfob.events import emit

_BLUE, _GREEN, _RED = (0, 0, 32), (0, 32, 0), (32, 0, 0)


async def run(config: dict) -> None:
    """The application, until it is cancelled. Errors: those of its settings (config.*)."""
    settings = _checked(
        "app",
        config["app"],
        {
            "name": (str, 1, 32, "sensor"),
            "period_s": (int, 1, 86_400, 3),
            "dht_pin": (int, 0, 48, 4),
            "pixel_pin": (int, 0, 48, 5),
            "pixels": (int, 1, 64, 1),
        },
    )
    sensor = Sensor(settings, "devices/" + config["device_id"])
    async with Client(config) as client:
        await asyncio.gather(sensor.publish_readings(client), sensor.obey(client))


def _checked(name: str, section: object, schema: dict) -> dict:
    """``section`` with its defaults; what checks it is needed seldom. Errors: config.*"""
    from keyfob.config import check_section

    try:
        return check_section(name, section, schema)
    finally:
        drop("config")


class Sensor:
    """The sensor, the pixel, and what they were told."""

    def __init__(self, settings: dict, prefix: str) -> None:
        self._prefix = prefix
        self._dht = dht.DHT22(machine.Pin(settings["dht_pin"]))
        self._pixels = neopixel.NeoPixel(machine.Pin(settings["pixel_pin"]), settings["pixels"])
        self._sequence = 0
        self._color: tuple | None = None
        self._period_changed = asyncio.Event()
        self.state = {"period_s": settings["period_s"], "blue_below_c": 18, "red_above_c": 25}

    async def publish_readings(self, client: Client) -> None:
        while True:
            await client.connected()
            reading = self._read()
            if reading:
                self._show(reading["temperature_c"])
                reading["t"] = client.clock.now_s()
                await self._publish(client, "/reading", reading)
            await self._pause()

    async def obey(self, client: Client) -> None:
        async for message in client.messages(self._prefix + "/command"):
            emit("command", topic=message.topic, bytes=len(message.payload))
            try:
                self._apply(json.loads(message.payload.decode()))
            except (ValueError, UnicodeError, KeyfobError) as error:
                emit("app.bad-command", detail=str(error))
                continue
            await self._publish(client, "/state", self.state, retain=True)

    async def _publish(self, client: Client, name: str, fields: dict, retain: bool = False) -> None:
        topic, payload = self._prefix + name, json.dumps(fields).encode()
        await client.publish(topic, payload, retain=retain)
        emit("publish", topic=topic, bytes=len(payload))

    def _read(self):
        try:
            self._dht.measure()
        except OSError as error:
            # A loose wire or a checksum: the next period may do better.
            emit("app.sensor-failed", detail=str(error))
            return None
        self._sequence += 1
        return {
            "temperature_c": self._dht.temperature(),
            "humidity_percent": self._dht.humidity(),
            "seq": self._sequence,
        }

    async def _pause(self) -> None:
        self._period_changed.clear()
        try:
            await asyncio.wait_for_ms(self._period_changed.wait(), self.state["period_s"] * 1000)
        except asyncio.TimeoutError:
            pass

    def _show(self, temperature_c: float) -> None:
        color = _GREEN
        if temperature_c < self.state["blue_below_c"]:
            color = _BLUE
        elif temperature_c > self.state["red_above_c"]:
            color = _RED
        self._fill(self._color or color)

    def _fill(self, color: tuple) -> None:
        self._pixels.fill(color)
        self._pixels.write()
        self.state["color"] = list(color)

    def _apply(self, command: object) -> None:
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
        if period_s is not None or thresholds is not None:
            self._period_changed.set()
