"""A device that does what it is told, under MicroPython: on standard input a line of
settings and a line of steps, both JSON.

Prints ``got TOPIC PAYLOAD`` for each message handled, ``step N MS`` after each step,
and ``end`` after the last. Steps:

    ["messages", filter, qos]             subscribe, and take messages from then on
    ["publish", topic, first, count, qos] payloads are numbers; one after the other
    ["window", topic, first, count, qos, tasks]  the same, by several tasks at once
    ["got", n]                            wait until n messages are handled
    ["connected"]                         wait until there is a connection
    ["last_id", n]                        the packet identifier used last was n
    ["expect", code, limit_ms, topic]     publish with a limit, which ends with ``code``
    ["bulk", topic, count, size]          QoS 0, large
    ["sleep", ms]
"""

import asyncio
import json
import sys
import time

from keyfob import config
from keyfob.client import Client
from keyfob.errors import KeyfobError


class Device:
    def __init__(self, client):
        self._client = client
        self._got = 0
        self._more = asyncio.Event()
        self._tasks = []

    async def messages(self, topic_filter, qos):
        inbox = self._client.messages(topic_filter, qos)
        self._tasks.append(asyncio.create_task(self._take(inbox)))

    async def _take(self, inbox):
        async for message in inbox:
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

    async def connected(self):
        await self._client.connected()

    async def last_id(self, number):
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

    async def sleep(self, limit_ms):
        await asyncio.sleep_ms(limit_ms)


async def run(settings, steps):
    async with Client(config.check(settings)) as client:
        device = Device(client)
        for number, (name, *arguments) in enumerate(steps):
            started_ms = time.ticks_ms()
            await getattr(device, name)(*arguments)
            print("step", number, time.ticks_diff(time.ticks_ms(), started_ms))
    print("end")


asyncio.run(run(json.loads(sys.stdin.readline()), json.loads(sys.stdin.readline())))
