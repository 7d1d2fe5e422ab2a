"""umqtt.simple in a small heap: connect, subscribe, 50 QoS 1 publishes, 50 receptions."""

import sys

from umqtt.simple import MQTTClient

_PAYLOAD = b"x" * 64
_seen = 0


def _see(topic, payload):
    global _seen
    _seen += 1


client = MQTTClient(
    "bench",
    "localhost",
    int(sys.argv[1]),
    keepalive=60,
    ssl=sys.argv[2] == "tls",
    ssl_params={"server_hostname": "localhost"},
)
client.set_callback(_see)
client.connect()
client.subscribe(b"bench/loop", 0)
for number in range(50):
    client.publish(b"bench/loop", _PAYLOAD, False, 1)
    while _seen <= number:
        client.wait_msg()
print("bench 0")
client.disconnect()
