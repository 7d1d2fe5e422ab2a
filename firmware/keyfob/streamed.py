"""Payloads larger than the buffers, in pieces, in both directions; messages with properties.

Imported when one is sent or comes. While a payload goes out nothing else does, so no
PINGREQ (a broker that counts whole packets only wants it within 1.5 keep alive); while a
piece that came is not taken nothing is read, so a task must not wait for an answer of
the broker's (QoS 1 or 2) in the middle of one.
"""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error, now_ms
from keyfob.inbox import Message

_POLL_MS = const(5)


async def send_payload(client, outgoing) -> bool:
    """Send what ``outgoing.payload`` reads, directly behind the head that was put.

    False if the connection was lost before the end. What goes wrong with the reader is in
    ``outgoing.error`` and ends the connection, as a packet that was begun cannot be taken
    back. Errors: mqtt.interrupted if it was lost and cannot be sent again.
    """
    stream = client.stream
    client.is_streaming = True
    is_sent = False
    try:
        is_sent = await _copy(client, outgoing, stream)
    except KeyfobError as error:
        client.fail(error)
    except Exception as error:
        _give_up(client, outgoing, error)
        is_sent = True
    finally:
        if client.stream is stream:
            client.is_streaming = False
            if not is_sent:
                # Whoever sends it was cancelled, and what follows would be taken for its rest.
                client.fail(KeyfobError("mqtt.interrupted", outgoing.topic))
            client.wake()
            # Their answers' time limits begin now: nobody asked for the time in between.
            state = client.session
            state.sent_ms = now_ms()
            for waiting in state.inflight + state.asked:
                waiting.sent_ms = state.sent_ms
    if not (is_sent or outgoing.awaits):
        rewind(outgoing)
    return is_sent


async def _copy(client, outgoing, stream) -> bool:
    state = client.session
    view = memoryview(state.tx)
    left = outgoing.size
    while client.stream is stream and (left or state.tx_end):
        room = view[state.tx_end : state.tx_end + left]
        if len(room):
            count = outgoing.payload.readinto(room)
            if count is not None and not isinstance(count, int):
                count = await count
            if client.stream is not stream:
                return False  # sent again from its start, on the next connection
            if not count or count < 0:
                detail = "%s ends %d bytes early" % (outgoing.topic, left)
                _give_up(client, outgoing, KeyfobError("mqtt.short-payload", detail))
                return True
            state.tx_end += count
            left -= count
        if not client.flush_now(True):
            await asyncio.sleep_ms(_POLL_MS)
        elif left:
            await asyncio.sleep_ms(0)
    return client.stream is stream


def _give_up(client, outgoing, error) -> None:
    outgoing.error = error
    outgoing.is_done = True
    if outgoing in client.kept.inflight:
        client.kept.inflight.remove(outgoing)
    client.fail(KeyfobError("mqtt.interrupted", outgoing.topic))


def rewind(outgoing) -> None:
    """Make the payload ready to be sent once more, from its start. Errors: mqtt.interrupted."""
    try:
        outgoing.payload.seek(0)
    except (AttributeError, OSError):
        raise KeyfobError("mqtt.interrupted", outgoing.topic)


def deliver(client, route) -> Message:
    """Give the last PUBLISH, which comes in pieces or has properties, to the inboxes of
    ``route`` that it is meant for."""
    state = client.session
    if state.left:
        message = StreamedMessage(client, state)
    else:
        message = Message(state.topic, state.payload, state.qos, state.retain)  # type: ignore
    message.receipt = state.receipt
    message.properties = state.properties
    for inbox in route:
        if _is_meant(inbox, message) and not (state.left and not inbox.takes_streams):
            inbox.put(message)
    if state.left:
        if message.holders:
            client.incoming = message
        else:
            detail = "%d bytes of %s" % (state.size, state.topic)
            emit_error(KeyfobError("mqtt.too-large", detail))
    return message


def _is_meant(inbox, message) -> bool:
    """Whether the broker sent it for this subscription, as far as it says so (5.0)."""
    identifiers = (message.properties or {}).get("subscription_identifier", ())
    return not (inbox.identifier and identifiers) or inbox.identifier in identifiers


class StreamedMessage(Message):
    """A message of ``size`` bytes whose payload comes in pieces:

        async for piece in message:
            ...

    A piece is a memoryview, valid until the next one is asked for. Errors:
    mqtt.interrupted if the connection ends before; at QoS 1 and 2 the broker will send
    the message again.
    """

    is_skipped = False
    is_taken = False  # the piece in `chunk`, by whoever reads the message

    def __init__(self, client, state) -> None:
        super().__init__(state.topic, None, state.qos, state.retain)
        self.size = state.size
        self.chunk = state.payload
        self._client = client
        self._left = state.size
        self._is_cut = False
        self._arrived = asyncio.Event()

    def give(self, piece: memoryview) -> None:
        """The next piece came, unless all of it is there: then it is of one that nobody takes."""
        if self._left and not self.is_skipped:
            self.chunk = piece
            self.is_taken = False
            self._arrived.set()

    def cut(self) -> None:
        """The connection ended."""
        if self._left > (0 if self.is_taken else len(self.chunk or b"")):
            self._is_cut = True
            self.chunk = None
            self._arrived.set()
            if self.receipt:
                self._client.kept.forget(self.receipt)
                self.receipt = None

    def __aiter__(self) -> "StreamedMessage":
        return self

    async def __anext__(self) -> memoryview:
        if self.is_taken:
            self.chunk = None
        while not self.chunk:
            if self._is_cut:
                raise KeyfobError("mqtt.interrupted", "%d bytes missing" % self._left)
            if not self._left:
                raise StopAsyncIteration
            self._arrived.clear()
            self._client.read_inline()
            if not self.chunk:
                await self._arrived.wait()
        self.is_taken = True
        self._left -= len(self.chunk)
        return self.chunk
