"""umqtt.simple under the benchmark: PORT MODE COUNT SECURE; prints ``bench MICROSECONDS``."""

import sys
import time

from umqtt.simple import MQTTClient

_PAYLOAD = b"x" * 64
_seen = 0


def _see(topic, payload):
    global _seen
    _seen += 1


def _run(port, mode, count, is_secure):
    client = MQTTClient(
        "bench",
        "localhost",
        port,
        keepalive=60,
        ssl=is_secure,
        ssl_params={"server_hostname": "localhost"},
    )
    client.set_callback(_see)
    client.connect()
    client.publish(b"bench/first", b"", False, 1)
    started_us = time.ticks_us()
    if mode == "publish":
        for _ in range(count):
            client.publish(b"bench/out", _PAYLOAD, False, 1)
    elif mode == "receive":
        client.subscribe(b"bench/in", 0)
        client.publish(b"bench/ready", b"", False, 1)
        while _seen < 1:
            client.wait_msg()
        started_us = time.ticks_us()
        while _seen < count:
            client.wait_msg()
    else:
        # It has no loop of its own: its users ask now and then.
        for _ in range(2 * count):
            client.check_msg()
            time.sleep_ms(500)
    print("bench", time.ticks_diff(time.ticks_us(), started_us))
    client.disconnect()


_run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "tls")
