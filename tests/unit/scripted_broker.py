"""A client on a scripted broker: each connection is a `Link` whose broker says what it is told.

The stream is scripted, because timing and loss must be exact here; real TLS and a
real broker are in tests/bench. The bytes are laid out by hand after MQTT 3.1.1.
"""

import asyncio

import network
from device_support import Console, run

from keyfob.client import Client
from keyfob.config import check
from keyfob.errors import KeyfobError

CONNACK = b"\x20\x02\x00\x00"
CONNACK5 = b"\x20\x03\x00\x00\x00"
PRESENT = b"\x20\x02\x01\x00"
GRANTED = b"\x90\x03\x00\x01\x01"
READING = "devices/dev/reading"


class Link:
    """One connection: what the client wrote, and what the broker says next."""

    def __init__(self, *says):
        self.written = []
        self._says = list(says)
        self._more = asyncio.Event()
        self.is_closed = False
        self.is_blocked = False

    def say(self, *packets):
        self._says.extend(packets)
        self._more.set()

    def cut(self):
        self.say(None)

    def read_now(self, view):
        if not self._says:
            return None
        data = self._says.pop(0)
        if data is None:
            raise KeyfobError("tls.closed", "by the broker")
        if len(data) > len(view):
            self._says.insert(0, data[len(view) :])
            data = data[: len(view)]
        view[: len(data)] = data
        return len(data)

    def write_now(self, view):
        if self.is_closed:
            raise KeyfobError("tls.closed", "while writing")
        if self.is_blocked:
            return None
        self.written.append(bytes(view))
        return len(view)

    def packets(self):
        """What was written, packet by packet, however many went in one write."""
        data, found = b"".join(self.written), []
        while data:
            size, at, shift = 0, 1, 0
            while True:
                size |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128:
                    break
            found.append(data[: at + size])
            data = data[at + size :]
        return found

    def poll(self, limit_ms):
        return bool(self._says)

    async def readable(self):
        while not self._says:
            self._more.clear()
            await self._more.wait()

    def session(self):
        return "TLSv1.2", "suite"

    def close(self):
        self.is_closed = True


class World:
    """A client whose connections are the given links, one after the other."""

    def __init__(self, *links, broker=None, outbox=None, **limits):
        self.links = list(links)
        self.opened = 0
        network.outcome = network.STAT_GOT_IP
        settings = {"host": "broker.test", "keepalive_s": 5}
        settings.update(broker or {})
        self.client = Client(
            check(
                {
                    "device_id": "dev",
                    "wifi": {"ssid": "net"},
                    "ntp": {"servers": ["a"]},
                    "broker": settings,
                    "limits": limits,
                }
            ),
            outbox,
        )
        self.client.uplink.open = self._open_link
        self.client.draw = bytes

    async def _open_link(self):
        await self.client.uplink._wifi.join()
        if self.opened == len(self.links):
            raise KeyfobError("tls.refused", "no more links")
        self.opened += 1
        return self.links[self.opened - 1]


def play(test, *links, **limits):
    """Run ``await test(client, *links)`` inside the client; the console's events."""

    async def main():
        world = World(*links, **limits)
        async with world.client as client:
            await asyncio.wait_for_ms(test(client, *links), 5_000)

    with Console() as console:
        run(main())
    return console


async def settle(rounds=20):
    for _ in range(rounds):
        await asyncio.sleep_ms(1)


async def outcome(coroutine):
    """The code of the error that it ends with, or None."""
    try:
        await coroutine
    except KeyfobError as error:
        return error.code
    return None


def codes(console):
    return [event["code"] for event in console.named("error")]


async def until(condition):
    while not condition():
        await asyncio.sleep_ms(2)


def play5(test, *links, **limits):
    """As `play`, with MQTT 5.0."""

    async def main():
        world = World(*links, broker={"version": 5}, **limits)
        async with world.client as client:
            await asyncio.wait_for_ms(test(client, *links), 5_000)

    with Console() as console:
        run(main())
    return console
