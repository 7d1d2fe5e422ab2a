"""Where the heap of `keyfob_blocking` goes: PORT TRANSPORT; prints ``step NAME BYTES``.

Bytes are what the collector holds after the step. A module is counted with what it imports,
unless that was there before.
"""

import gc
import sys

_MODULES = (
    "keyfob keyfob.errors keyfob.events keyfob.mqtt keyfob.mqtt.state keyfob.stream "
    "keyfob.waiting keyfob.uplink keyfob.blocking keyfob.mqtt.publish keyfob.mqtt.session "
    "keyfob.connection"
)
_CONFIG = {
    "device_id": "bench",
    "broker": {"host": "localhost", "port": int(sys.argv[1]), "keepalive_s": 60},
    "limits": {"rx_bytes": 128, "tx_bytes": 128, "payload_bytes": 64, "inflight": 1, "inbox": 8},
    "tls": {"engine": "mbedtls"},
}


def _step(name):
    gc.collect()
    print("step", name.replace(" ", "-"), gc.mem_alloc())


def _play():
    _step("nothing of Keyfob's")
    for name in _MODULES.split():
        __import__(name)
        _step(name)
    from keyfob.blocking import BlockingClient

    client = BlockingClient(_CONFIG)
    _step("a client")
    client.connect()
    _step("connected")
    client.subscribe("bench/loop", 0)
    _step("subscribed")
    client.publish("bench/loop", b"x" * 64)
    client.receive(1000)
    _step("published and received")
    client.drop_connection()
    _step("connection dropped")


_play()
