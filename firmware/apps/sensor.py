"""The sensor of `apps.sensor_core` on MQTT, on asyncio.

Publishes ``devices/<id>/reading`` every ``period_s``, takes commands on
``devices/<id>/command`` and answers each with its whole state, retained, on
``devices/<id>/state``. `apps.sensor_small` does the same in less memory.
"""

import asyncio
import json

from apps.sensor_core import Sensor
from keyfob import rotation_tasks
from keyfob.client import Client
from keyfob.events import emit


async def run(config: dict) -> None:
    """The application, until it is cancelled. Errors: those of its settings (config.*)."""
    sensor = Sensor(config["app"])
    prefix = "devices/" + config["device_id"]
    wake = asyncio.Event()
    async with Client(config) as client:
        await asyncio.gather(
            _publish_readings(client, sensor, prefix, wake),
            _obey(client, sensor, prefix, wake),
            rotation_tasks.serve(client),
        )


async def _publish_readings(client: Client, sensor: Sensor, prefix: str, wake) -> None:
    while True:
        await client.connected()
        reading = sensor.read(client.clock.now_s())
        if reading:
            await _publish(client, prefix + "/reading", reading)
        wake.clear()
        try:
            await asyncio.wait_for_ms(wake.wait(), sensor.state["period_s"] * 1000)
        except asyncio.TimeoutError:
            pass


async def _obey(client: Client, sensor: Sensor, prefix: str, wake) -> None:
    async for message in client.messages(prefix + "/command"):
        is_due = sensor.obey(message)
        if is_due:
            wake.set()
        if is_due is not None:
            await _publish(client, prefix + "/state", sensor.state, retain=True)


async def _publish(client: Client, topic: str, fields: dict, retain: bool = False) -> None:
    payload = json.dumps(fields).encode()
    await client.publish(topic, payload, retain=retain)
    emit("publish", topic=topic, bytes=len(payload))
