"""How long Keyfob keeps the event loop from other tasks: PORT TRANSPORT.

A task that wants a turn every 10 ms notes the longest it had to wait, while the client
connects, publishes, receives, streams 100 KB each way, and connects again. Prints
``turns PHASE LONGEST_US`` for each phase, and ``bench 0``.
"""

import asyncio
import io
import os
import sys
import time

from keyfob import config
from keyfob.client import Client
from keyfob.errors import KeyfobError

_TURN_MS = 10
_COUNT = 500
_BYTES = 100_000
_NAME = "bench-" + os.urandom(4).hex()


class Watch:
    """The longest wait of the phase."""

    def __init__(self):
        self._longest_us = 0

    async def run(self):
        while True:
            asked_us = time.ticks_us()
            await asyncio.sleep_ms(_TURN_MS)
            late_us = time.ticks_diff(time.ticks_us(), asked_us) - 1000 * _TURN_MS
            self._longest_us = max(self._longest_us, late_us)

    async def tell(self, phase):
        await asyncio.sleep_ms(2 * _TURN_MS)  # the last wait is over by then
        print("turns", phase, self._longest_us)
        self._longest_us = 0


def _settings():
    return config.check(
        {
            "device_id": _NAME,
            "wifi": {"ssid": "bench"},
            "ntp": {"servers": ["localhost"]},
            "broker": {"host": "localhost", "port": int(sys.argv[1]), "keepalive_s": 60},
            "limits": {"inbox": 64},
        }
    )


async def _take_stream(messages):
    count = 0
    message = await messages.get()
    async for piece in message:
        count += len(piece)
    return count


async def _run():
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    async with Client(_settings()) as client:
        await client.connected()
        await watch.tell("connecting")
        for _ in range(_COUNT):
            await client.publish("bench/out", b"x" * 64)
        await watch.tell("publishing")
        small = client.messages(_NAME + "/small", 0)
        for _ in range(_COUNT // 50):
            for _ in range(50):
                await client.publish(_NAME + "/small", b"x" * 64)
            for _ in range(50):
                await small.get()
        await watch.tell("receiving")
        large = client.messages(_NAME + "/large", 1, stream=True)
        taking = asyncio.create_task(_take_stream(large))
        await client.publish(_NAME + "/large", (_BYTES, io.BytesIO(bytes(_BYTES))))
        await taking
        await watch.tell("streaming")
        client.fail(KeyfobError("tls.reset", "by the benchmark"))
        await client.connected()
        await watch.tell("reconnecting")
    watching.cancel()
    print("bench 0")


asyncio.run(_run())
