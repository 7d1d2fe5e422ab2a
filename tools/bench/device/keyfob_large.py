"""Keyfob with 1 MB in a small heap: out as one QoS 1 publish, and back as one message.

PORT TRANSPORT; both ways are streamed through buffers of 256 bytes, and the SHA-256 of
what came back is that of what was sent. Prints ``sent DIGEST``, ``got DIGEST`` and, if they
are the same, ``bench 0``.
"""

import asyncio
import hashlib
import os
import sys

from keyfob.client import Client
from keyfob.errors import KeyfobError

_BYTES = 1 << 20
# Its own each time, or it would get what the run before did not take.
_NAME = "bench-" + os.urandom(4).hex()
_TOPIC = "bench/large/" + _NAME
_CONFIG = {
    "device_id": _NAME,
    "wifi": {"ssid": "bench", "password": ""},
    "ntp": {"servers": ["localhost"], "min_s": 0},
    "broker": {"host": "localhost", "port": int(sys.argv[1]), "keepalive_s": 60},
    "limits": {"rx_bytes": 256, "tx_bytes": 256, "payload_bytes": 128, "inflight": 1},
    "tls": {"engine": "mbedtls"},
}


class Pattern:
    """`_BYTES` that can be read from the start again: every 32 are the digest of those before."""

    def seek(self, at):
        self._left = _BYTES
        self._block = bytes(32)
        self._used = 32
        self.sha256 = hashlib.sha256()

    def readinto(self, view):
        if self._used == 32:
            self._block = hashlib.sha256(self._block).digest()
            self._used = 0
        count = min(len(view), 32 - self._used, self._left)
        view[:count] = self._block[self._used : self._used + count]
        self._used += count
        self._left -= count
        self.sha256.update(view[:count])
        return count


async def _take(messages, whole):
    """Put the digest of each message that comes whole into ``whole``."""
    while True:
        sha256 = hashlib.sha256()
        message = await messages.get()
        try:
            async for piece in message:
                sha256.update(piece)
            whole.append(sha256.digest())
        except KeyfobError:
            pass  # the link was cut: the broker sends it again


async def _run():
    payload = Pattern()
    payload.seek(0)
    whole = []
    async with Client(_CONFIG) as client:
        messages = client.messages(_TOPIC, 1, stream=True)
        # In a task of its own: the PUBACK of what we send may come behind what we get.
        taking = asyncio.create_task(_take(messages, whole))
        await client.publish(_TOPIC, (_BYTES, payload))
        while not whole:
            await asyncio.sleep_ms(20)
        sent = payload.sha256.digest()
        print("sent", sent.hex())
        print("got", whole[0].hex())
        if whole[0] == sent:
            print("bench 0")
        taking.cancel()


asyncio.run(_run())
