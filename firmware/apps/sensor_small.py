"""`apps.sensor` without asyncio, for a board with as little memory as an ESP8266."""

import json
import time

from apps.sensor_core import Sensor
from keyfob.blocking import BlockingClient
from keyfob.events import emit


def run(config: dict) -> None:
    """The application; it does not end. Errors: those of its settings (config.*)."""
    sensor = Sensor(config["app"])
    prefix = "devices/" + config["device_id"]
    client = BlockingClient(config)
    for name in ("app", "wifi", "ntp", "outbox"):
        config.pop(name, None)  # nobody asks for them again, and a handshake wants the room
    while not client.run_once(lambda client: _serve(client, sensor, prefix)):
        pass


def _serve(client: BlockingClient, sensor: Sensor, prefix: str) -> None:
    """One connection's life. Errors: what ends it."""
    client.subscribe(prefix + "/command")
    while True:
        reading = sensor.read(client.clock.now_s())
        if reading:
            _publish(client, prefix + "/reading", reading)
        started_ms = time.ticks_ms()
        left_ms = sensor.state["period_s"] * 1000
        while left_ms > 0:
            message = client.receive(left_ms)
            if message:
                is_due = sensor.obey(message)
                if is_due is not None:
                    _publish(client, prefix + "/state", sensor.state, retain=True)
                if is_due:
                    break
            spent_ms = time.ticks_diff(time.ticks_ms(), started_ms)
            left_ms = sensor.state["period_s"] * 1000 - spent_ms


def _publish(client: BlockingClient, topic: str, fields: dict, retain: bool = False) -> None:
    payload = json.dumps(fields).encode()
    client.publish(topic, payload, retain=retain)
    emit("publish", topic=topic, bytes=len(payload))
