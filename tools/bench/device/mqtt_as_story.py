"""mqtt_as in a small heap: connect, subscribe, 50 QoS 1 publishes, 50 receptions."""

import asyncio
import sys

import mqtt_as_settings
from mqtt_as import MQTTClient

_PAYLOAD = b"x" * 64


async def _run():
    client = MQTTClient(mqtt_as_settings.settings(int(sys.argv[1]), sys.argv[2] == "tls", 4))
    await client.connect(quick=True)
    await client.subscribe("bench/loop", 0)
    for _ in range(50):
        await client.publish("bench/loop", _PAYLOAD, qos=1)
        await client.queue.__anext__()
    print("bench 0")


asyncio.run(_run())
