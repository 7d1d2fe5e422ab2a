"""Keyfob under the benchmark: PORT MODE COUNT WINDOW; prints ``bench MICROSECONDS``."""

import asyncio
import sys
import time

from keyfob import config
from keyfob.client import Client

_PAYLOAD = b"x" * 64


def _settings(port, window):
    return config.check(
        {
            "device_id": "bench",
            "wifi": {"ssid": "bench"},
            "ntp": {"servers": ["localhost"]},
            "broker": {"host": "localhost", "port": port, "keepalive_s": 60},
            "limits": {"inflight": window},
        }
    )


async def _publish(client, count):
    for _ in range(count):
        await client.publish("bench/out", _PAYLOAD)


async def _receive(client, count):
    messages = client.messages("bench/in", 0)
    await client.publish("bench/ready", b"", 1)
    await messages.__anext__()
    started_us = time.ticks_us()
    for _ in range(count - 1):
        await messages.__anext__()
    return started_us


async def _run(port, mode, count, window):
    async with Client(_settings(port, window)) as client:
        await client.publish("bench/first", b"")
        started_us = time.ticks_us()
        if mode == "publish":
            await asyncio.gather(*[_publish(client, count // window) for _ in range(window)])
        elif mode == "receive":
            started_us = await _receive(client, count)
        else:
            await asyncio.sleep(count)
        print("bench", time.ticks_diff(time.ticks_us(), started_us))


asyncio.run(_run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
