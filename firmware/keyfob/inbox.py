"""Received messages on their way to the application: bounded, one queue a topic filter."""

import asyncio

from keyfob.errors import KeyfobError
from keyfob.events import emit_error


def matches(topic_filter: str, topic: str) -> bool:
    """Whether ``topic`` is of ``topic_filter``, section 4.7. ``$SYS`` is not of ``#``."""
    if topic_filter == topic:
        return True
    wanted = topic_filter.split("/")
    if wanted[0] == "$share":
        del wanted[:2]
    levels = topic.split("/")
    if topic[0] == "$" and wanted[0] in ("+", "#"):
        return False
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index >= len(levels) or want not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


class Message:
    """A received message: ``topic``, ``payload`` (bytes), ``qos``, ``retain``.

    ``properties``: a dict of what an MQTT 5.0 broker sent with it, or None.
    """

    receipt = None  # the session's, if it is to be acknowledged
    holders = 0  # inboxes that are not done with it
    properties: dict | None = None
    qos = 0
    retain = False

    def __init__(self, topic: str, payload, qos: int = 0, retain: bool = False) -> None:
        self.topic = topic
        self.payload = payload
        if qos:
            self.qos = qos
        if retain:
            self.retain = retain


class Inbox:
    """The messages of one topic filter, for ``async for`` or `get`.

    A message is acknowledged when the next one is asked for: what the loop did with
    it is done then. While the inbox is full the broker is not read from; only where the
    application itself waits for an answer of the broker's is a QoS 0 message dropped
    (mqtt.inbox-full), as waiting would never end. After `unsubscribe`, and after the client
    was left and no message is there any more, `get` raises StopAsyncIteration.
    """

    packet_id = 0  # of the SUBSCRIBE that waits for its SUBACK
    is_granted = False
    takes_streams = False
    identifier = 0  # subscription identifier, MQTT 5.0
    properties = None
    task: asyncio.Task | None = None  # runs the handler
    is_closed = False

    def __init__(self, client, topic_filter: str, options: int, bound: int) -> None:
        self.topic_filter = topic_filter
        self.options = options
        self._client = client
        self._bound = bound
        self._messages: list[Message] = []
        self._arrived = asyncio.Event()
        self._taken: Message | None = None

    def put(self, message: Message) -> None:
        messages = self._messages
        if len(messages) >= self._bound and not message.qos:
            emit_error(KeyfobError("mqtt.inbox-full", "dropped one of " + message.topic))
            return
        message.holders += 1
        messages.append(message)
        if len(messages) == self._bound:
            self._client.full += 1
        if len(messages) == 1:
            self._arrived.set()

    async def get(self) -> Message:
        """The oldest message, as soon as there is one; the one before is acknowledged."""
        messages = self._messages
        if self._taken:
            self.acknowledge()
        if not messages:
            message = self._client.take(self)
            if message:
                return message
            # Without a change of tasks, which costs more than everything else here.
            if self._client.read_inline() and messages:
                await asyncio.sleep_ms(0)
            while not messages:
                if self.is_closed:
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
        message = messages.pop(0)
        if message.receipt or message.payload is None:  # or its pieces are not wanted any more
            self._taken = message
        if len(messages) + 1 == self._bound:
            self._client.full -= 1
            self._client.resume()
        return message

    def acknowledge(self) -> None:
        """The application is done with the message that it got last."""
        message = self._taken
        if message:
            if message.holders == 1:
                self._client.handled(message)  # first: short of memory, it is done once more
            message.holders -= 1
            self._taken = None

    def offer(self, inbox: "Inbox") -> None:
        """Give ``inbox`` the messages of its filter that wait here."""
        waiting, self._messages = self._messages, []
        if len(waiting) >= self._bound:
            self._client.full -= 1
        for message in waiting:
            (inbox if matches(inbox.topic_filter, message.topic) else self).put(message)
            message.holders -= 1

    def close(self) -> None:
        """Drop what waits, and stop the handler."""
        if len(self._messages) >= self._bound:
            self._client.full -= 1
        while self._messages or self._taken:
            self.acknowledge()
            if self._messages:
                self._taken = self._messages.pop(0)
        self.end()

    def end(self) -> None:
        """Nothing comes any more: let nobody wait for it."""
        self.is_closed = True
        self._arrived.set()
        # Its own handler may ask for that, and no task can cancel itself in MicroPython.
        if self.task and self.task is not asyncio.current_task():
            self.task.cancel()

    def __aiter__(self) -> "Inbox":
        return self

    __anext__ = get

    async def run(self, handler) -> None:
        """Give every message to ``handler``, a function or a coroutine function."""
        while True:
            try:
                message = await self.get()
                try:
                    result = handler(message)
                    if result is not None:
                        await result
                except Exception as error:
                    # Acknowledged all the same, or it would come again for ever.
                    detail = "%s: %r" % (message.topic, error)
                    emit_error(KeyfobError("mqtt.handler-failed", detail))
            except StopAsyncIteration:
                return
            except MemoryError:
                # Not even enough to tell what failed.
                import gc  # not above: what `get` looks for is found sooner in a smaller table

                gc.collect()
                await asyncio.sleep_ms(1_000)
