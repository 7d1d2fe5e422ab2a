"""Payloads larger than the buffers, in pieces, in both directions; messages with properties.

Imported when one is sent or comes. While a payload goes out nothing else does, so no
PINGREQ (a broker that counts whole packets only wants it within 1.5 keep alive).

While a piece that came is not taken nothing is read, so an answer of the broker's (to a
publish of QoS 1 or 2, or to a subscription) is behind it. Where one is waited for, and for
five seconds nobody asks for the next piece, the message is given up: of QoS 0 it is lost
(mqtt.inbox-full), of QoS 1 and 2 it comes again, with those behind it, over a new connection
(mqtt.more-waiting) that begins when that answer is there. So do not wait for one in the
middle of a message; and after one it costs those seconds if the next large one is there.
"""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error, now_ms
from keyfob.inbox import Message
from keyfob.mqtt.state import since

_POLL_MS = const(5)
_TAKE_LIMIT_MS = const(5_000)  # of a piece, while somebody waits for what is behind it


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
    ``route`` that it is meant for. Pieces go to one alone: the first that takes them."""
    state, code = client.session, "mqtt.too-large"
    if state.left:
        if client.incoming and client.incoming.awaited is not None:
            # Of QoS 0: the others come again, see `StreamedMessage.tick`.
            route, code = (), "mqtt.inbox-full"
        message = StreamedMessage(client, state)
    else:
        message = Message(state.topic, state.payload, state.qos, state.retain)  # type: ignore
    message.receipt = state.receipt
    message.properties = state.properties
    for inbox in route:
        if state.left and (message.holders or not inbox.takes_streams):
            continue
        if _is_meant(inbox, message):
            inbox.put(message)
    if state.left:
        if message.holders:
            client.incoming = message
        else:
            detail = "%d bytes of %s" % (state.size, state.topic)
            emit_error(KeyfobError(code, detail))
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
    mqtt.interrupted if the connection ends before, or if it was given up (see above); at
    QoS 1 and 2 the broker will send the message again.
    """

    is_skipped = False
    is_taken = False  # the piece in `chunk`, by whoever reads the message
    # Once it was given up and is to come again: what the broker has to answer before that.
    awaited: list | None = None
    _left_then = _since_ms = 0  # when a piece was taken last, or nobody waited

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

    def tick(self, now_ms: int) -> None:
        """Twice a second: nobody shall wait for ever for what is behind a piece that nobody
        takes. Errors: mqtt.more-waiting, when a new connection is due."""
        state = self._client.session
        awaited = state.inflight + state.asked
        if self.awaited is not None:
            for outgoing in self.awaited:
                if outgoing in awaited:
                    return
            if not self.awaited:
                raise KeyfobError("mqtt.more-waiting", self.topic)
            self.awaited = []  # until the next tick: what is acknowledged now shall go out
        elif not (self.chunk and awaited) or self._left != self._left_then:
            self._left_then, self._since_ms = self._left, now_ms
        elif since(self._since_ms, now_ms) > _TAKE_LIMIT_MS:
            self.chunk = None
            self._is_cut = self.is_skipped = True
            if self.receipt:
                self._client.kept.forget(self.receipt)
                self.receipt = None
                self.awaited = awaited
            else:
                emit_error(KeyfobError("mqtt.inbox-full", "dropped one of " + self.topic))
            self._client.resume()

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
