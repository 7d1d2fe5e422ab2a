"""A device that does what it is told, under MicroPython: on standard input a line of
settings, one of steps and one with the folder of the outbox or null, all JSON.

Prints ``got TOPIC PAYLOAD`` for each message handled, ``step N MS`` after each step,
and ``end`` after the last. Payloads that it publishes are numbers. Steps:

    ["messages", filter, qos]             subscribe, and take messages from then on
    ["answer", filter, qos, topic]        as "messages", publishing each payload to the topic
    ["publish", topic, first, count, qos] one after the other
    ["window", topic, first, count, qos, tasks]  the same, by several tasks at once
    ["stream", topic, tasks, pause_ms]    the same, even numbers at QoS 1, odd ones at 2,
                                          until a message is handled; ``streamed COUNT``
    ["store", topic, first, count, qos]   the same, with the outbox; ``stored TOPIC N`` each
    ["drained"]                           wait until the outbox is empty
    ["got", n]                            wait until n messages are handled
    ["connected"]                         wait until there is a connection
    ["gone"]                              wait until there is none
    ["last_id", n]                        the packet identifier used last was n
    ["expect", code, limit_ms, topic]     publish with a limit, which ends with ``code``
    ["bulk", topic, count, size]          QoS 0, large
    ["send", topic, size]                 QoS 1, as a stream
    ["receive", filter, size]             subscribe, and take a stream of that size whole
    ["sleep", ms]
"""

import asyncio
import json
import sys
import time

from keyfob import config
from keyfob.client import Client
from keyfob.errors import KeyfobError
from keyfob.outbox import Outbox


class Zeros:
    """So many, and from the start again."""

    def __init__(self, size):
        self._size = self._left = size

    def seek(self, at):
        self._left = self._size - at

    def readinto(self, view):
        count = min(self._left, len(view))
        view[:count] = bytes(count)
        self._left -= count
        return count


class Device:
    def __init__(self, client, box=None):
        self._client = client
        self._box = box
        self._got = 0
        self._more = asyncio.Event()
        self._tasks = []

    async def messages(self, topic_filter, qos):
        inbox = self._client.messages(topic_filter, qos)
        self._tasks.append(asyncio.create_task(self._take(inbox)))

    async def answer(self, topic_filter, qos, topic):
        inbox = self._client.messages(topic_filter, qos)
        self._tasks.append(asyncio.create_task(self._take(inbox, topic)))

    async def _take(self, inbox, topic=None):
        async for message in inbox:
            if topic:
                await self._client.publish(topic, message.payload, 1)
            print("got", message.topic, bytes(message.payload).decode())
            self._got += 1
            self._more.set()

    async def got(self, count):
        while self._got < count:
            self._more.clear()
            await self._more.wait()

    async def publish(self, topic, first, count, qos):
        for number in range(first, first + count):
            await self._client.publish(topic, b"%d" % number, qos)

    async def window(self, topic, first, count, qos, tasks):
        each = count // tasks
        starts = [first + each * task for task in range(tasks)]
        await asyncio.gather(*[self.publish(topic, start, each, qos) for start in starts])

    async def stream(self, topic, tasks, pause_ms):
        count = 0

        async def work():
            nonlocal count
            while not self._got:
                number = count
                count += 1
                await self._client.publish(topic, b"%d" % number, 1 + number % 2)
                await asyncio.sleep_ms(pause_ms)

        await asyncio.gather(*[work() for _ in range(tasks)])
        print("streamed", count)

    async def store(self, topic, first, count, qos):
        for number in range(first, first + count):
            await self._client.publish(topic, b"%d" % number, qos, store=True)
            print("stored", topic, number)

    async def drained(self):
        while self._box.count:
            await asyncio.sleep_ms(5)

    async def connected(self):
        await self._client.connected()

    async def gone(self):
        while self._client.is_connected():
            await asyncio.sleep_ms(5)

    async def last_id(self, number):
        self._client.kept.last_id = number
        if self._client.session:
            self._client.session.last_id = number

    async def expect(self, code, limit_ms, topic):
        try:
            await self._client.publish(topic, b"0", 1, limit_ms=limit_ms)
            raise ValueError("published")
        except KeyfobError as error:
            if error.code != code:
                raise

    async def bulk(self, topic, count, size):
        payload = bytes(size)
        for _ in range(count):
            await self._client.publish(topic, payload, 0)

    async def send(self, topic, size):
        await self._client.publish(topic, (size, Zeros(size)))

    async def receive(self, topic_filter, size):
        inbox = self._client.messages(topic_filter, 1, stream=True)
        count = 0
        while count < size:
            message, count = await inbox.get(), 0
            try:
                async for piece in message:
                    count += len(piece)
            except KeyfobError:
                count = 0  # it comes again

    async def sleep(self, limit_ms):
        await asyncio.sleep_ms(limit_ms)


async def follow(device, steps):
    for number, (name, *arguments) in enumerate(steps):
        started_ms = time.ticks_ms()
        await getattr(device, name)(*arguments)
        print("step", number, time.ticks_diff(time.ticks_ms(), started_ms))
    print("end")


async def run(settings, steps, folder):
    checked = config.check(settings)
    box = Outbox(checked["outbox"], folder) if folder else None
    async with Client(checked, box) as client:
        await follow(Device(client, box), steps)


if __name__ == "__main__":
    asyncio.run(run(*[json.loads(sys.stdin.readline()) for _ in range(3)]))
