"""Runs on MicroPython: `keyfob.tls.opening` against a broker, twice, and once by a wrong name.

    micropython tls_stream_device.py FIRMWARE HOST PORT FOLDER VERSION PSK_KE

VERSION is 1.2 or 1.3, PSK_KE the setting of this name. One line of JSON a connection.
"""

import asyncio
import json
import sys

sys.path.insert(0, sys.argv[1])
HOST, PORT, FOLDER = sys.argv[2], int(sys.argv[3]), sys.argv[4]
VERSION, PSK_KE = sys.argv[5], int(sys.argv[6])
SETTINGS = {
    "tls": {"versions": [VERSION], "alpn": [], "pins": [], "rsa_exchange": 0, "psk_ke": PSK_KE},
    "limits": {"rx_bytes": 1024},
}
CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"

from keyfob.errors import KeyfobError  # noqa: E402


class Identity:
    """What `keyfob.store.Identity` has, without its slots and hashes."""

    def names(self, stem):
        return [stem + ".der"]

    def read(self, name):
        with open(FOLDER + "/" + name, "rb") as file:  # noqa: PTH123 - MicroPython
            return file.read()

    def __iter__(self):
        yield self.read("ca.der")

    def certificates(self):
        return [self.read("cert.der")]

    def key(self):
        from keyfob.pki.private_key import load

        return load(self.read("key.der"))


async def count_turns(turns):
    while True:
        turns[0] += 1
        await asyncio.sleep_ms(0)


async def connect(host, session):
    from keyfob import tcp
    from keyfob.tls.opening import open_stream

    find = tcp.connect
    # Whatever the name, the broker of this test answers to it.
    tcp.connect = lambda name, port: find("127.0.0.1", port)
    now_s = int(Identity().read("now").decode())
    return await open_stream(host, PORT, Identity(), now_s, SETTINGS, session, False)


async def talk(session):
    turns = [0]
    counter = asyncio.create_task(count_turns(turns))
    stream = await connect(HOST, session)
    counter.cancel()
    said = {"session": stream.facts(), "resumed": stream.engine.is_resumed, "turns": turns[0]}
    while not stream.write_now(memoryview(CONNECT)):
        await asyncio.sleep_ms(1)
    buffer = bytearray(16)
    count = None
    while not count:
        await stream.readable()
        count = stream.read_now(memoryview(buffer))
    said["got"] = "".join("%02x" % byte for byte in buffer[:count])  # noqa: UP031
    while not stream.write_now(memoryview(b"\xe0\0")):
        await asyncio.sleep_ms(1)
    try:
        while stream.poll(2000) and stream.read_now(memoryview(buffer)) is None:
            pass
    except KeyfobError as error:
        said["end"] = error.code
    stream.close()
    print(json.dumps(said))
    return stream.session


async def main():
    session = await talk(None)
    await talk(session)
    try:
        await connect("other.test", None)
    except KeyfobError as error:
        print(json.dumps({"code": error.code}))


asyncio.run(main())
