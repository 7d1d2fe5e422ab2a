"""Keyfob in a small heap: connect, subscribe, 50 QoS 1 publishes, 50 receptions."""

import asyncio
import sys

from keyfob.client import Client

_CONFIG = {
    "device_id": "bench",
    "wifi": {"ssid": "bench", "password": ""},
    "ntp": {"servers": ["localhost"], "min_s": 0},
    "broker": {"host": "localhost", "port": int(sys.argv[1]), "keepalive_s": 60},
    "limits": {"rx_bytes": 256, "tx_bytes": 256, "payload_bytes": 128, "inflight": 1},
    "tls": {"engine": "mbedtls"},
}
_PAYLOAD = b"x" * 64


async def _run():
    async with Client(_CONFIG) as client:
        messages = client.messages("bench/loop", 0)
        for _ in range(50):
            await client.publish("bench/loop", _PAYLOAD)
            await messages.__anext__()
        print("bench 0")


asyncio.run(_run())
