"""mqtt_as under the benchmark: PORT MODE COUNT SECURE; prints ``bench MICROSECONDS``."""

import asyncio
import sys
import time

import mqtt_as_settings
from mqtt_as import MQTTClient

_PAYLOAD = b"x" * 64


async def _receive(client, count):
    await client.queue.__anext__()
    started_us = time.ticks_us()
    for _ in range(count - 1):
        await client.queue.__anext__()
    return started_us


async def _run(port, mode, count, is_secure):
    client = MQTTClient(mqtt_as_settings.settings(port, is_secure, 2000))
    await client.connect(quick=True)
    await client.publish("bench/first", b"", qos=1)
    started_us = time.ticks_us()
    if mode == "publish":
        for _ in range(count):
            await client.publish("bench/out", _PAYLOAD, qos=1)
    elif mode == "receive":
        await client.subscribe("bench/in", 0)
        await client.publish("bench/ready", b"", qos=1)
        started_us = await _receive(client, count)
    else:
        await asyncio.sleep(count)
    print("bench", time.ticks_diff(time.ticks_us(), started_us))


asyncio.run(_run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tls"))
