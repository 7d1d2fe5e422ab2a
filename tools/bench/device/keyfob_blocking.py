"""Keyfob without asyncio in a small heap: the story of `keyfob_story`."""

import sys
import time

from keyfob.blocking import BlockingClient
from keyfob.errors import KeyfobError
from keyfob.events import emit

_CONFIG = {
    "device_id": "bench",
    "broker": {"host": "localhost", "port": int(sys.argv[1]), "keepalive_s": 60},
    "limits": {"rx_bytes": 128, "tx_bytes": 128, "payload_bytes": 64, "inflight": 1, "inbox": 8},
    "tls": {"engine": "mbedtls"},
}
_PAYLOAD = b"x" * 64


def _play(client):
    client.connect()
    client.subscribe("bench/loop", 0)
    count = 0
    while count < 50:
        is_up = True
        try:
            client.publish("bench/loop", _PAYLOAD)
            while not client.receive(1000):
                pass
            count += 1
        except KeyfobError as error:
            emit("mqtt.down", code=error.code)
            is_up = False
        if not is_up:  # behind the handler, as what it handles stays until it is left
            time.sleep_ms(300)
            client.connect()
    print("bench 0")


_play(BlockingClient(_CONFIG))
