"""Received messages on their way to the application: bounded, one queue a topic filter."""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error

_INBOX_MESSAGES = const(8)


class Message:
    """A received message: ``topic``, ``payload`` (bytes), ``qos``, ``retain``."""

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain


class Inbox:
    """The messages of one topic filter, the latest few; the oldest goes when it is full."""

    def __init__(self, topic_filter: str, qos: int) -> None:
        self.topic_filter = topic_filter
        self.qos = qos
        self.packet_id = 0  # of the SUBSCRIBE that waits for its SUBACK
        self.is_granted = False
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()

    def put(self, message: Message) -> None:
        if len(self._messages) >= _INBOX_MESSAGES:
            lost = self._messages.pop(0)
            emit_error(KeyfobError("mqtt.inbox-full", "dropped one of " + lost.topic))
        self._messages.append(message)
        self._arrived.set()

    async def get(self) -> Message:
        """The oldest message, as soon as there is one."""
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.pop(0)


class Messages:
    """Asynchronous iterator over one inbox; see `Client.messages`."""

    def __init__(self, client, topic_filter: str) -> None:
        self._client = client
        self._topic_filter = topic_filter

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Message:
        inbox = await self._client.subscribe(self._topic_filter)
        return await inbox.get()
