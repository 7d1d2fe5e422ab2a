"""Payloads larger than the buffers, in pieces, in both directions.

Imported when one is sent or comes. While a payload goes out nothing else does; while
a piece that came is not taken nothing is read, so a task must not wait for an answer of
the broker's (QoS 1 or 2) in the middle of one.
"""

import asyncio

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.inbox import Message

_POLL_MS = const(5)


async def send_payload(client, outgoing) -> None:
    """Send what ``outgoing.payload`` reads, directly behind the head that was put.

    What goes wrong with the reader is in ``outgoing.error`` and ends the connection,
    as a packet that was begun cannot be taken back.
    """
    stream = client.stream
    client.is_streaming = True
    try:
        await _copy(client, outgoing, stream)
    except KeyfobError:
        raise
    except Exception as error:
        _give_up(client, outgoing, error)
    finally:
        if client.stream is stream:
            client.is_streaming = False
            client.wake()


async def _copy(client, outgoing, stream) -> None:
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
                return  # sent again from its start, on the next connection
            if not count or count < 0:
                detail = "%s ends %d bytes early" % (outgoing.topic, left)
                _give_up(client, outgoing, KeyfobError("mqtt.short-payload", detail))
                return
            state.tx_end += count
            left -= count
        if not client.flush_now(True):
            await asyncio.sleep_ms(_POLL_MS)
        elif left:
            await asyncio.sleep_ms(0)


def _give_up(client, outgoing, error) -> None:
    outgoing.error = error
    outgoing.is_done = True
    if outgoing in client.session.inflight:
        client.session.inflight.remove(outgoing)
    client.fail(KeyfobError("mqtt.interrupted", outgoing.topic))


def rewind(outgoing) -> bool:
    """Whether the payload can be sent once more, from its start."""
    try:
        outgoing.payload.seek(0)
    except (AttributeError, OSError):
        return False
    return True


class StreamedMessage(Message):
    """A message of ``size`` bytes whose payload comes in pieces:

        async for piece in message:
            ...

    A piece is a memoryview, valid until the next one is asked for. Errors:
    mqtt.interrupted if the connection ends before; at QoS 1 and 2 the broker will send
    the message again.
    """

    is_skipped = False

    def __init__(self, client, state) -> None:
        super().__init__(state.topic, None, state.qos, state.retain)
        self.size = state.size
        self.chunk = state.payload
        self._client = client
        self._left = state.size
        self._is_cut = False
        self._arrived = asyncio.Event()

    def give(self, piece: memoryview) -> None:
        """The next piece came."""
        if not self.is_skipped:
            self.chunk = piece
            self._arrived.set()

    def cut(self) -> None:
        """The connection ended."""
        if self._left > len(self.chunk or b""):
            self._is_cut = True
            self.chunk = None
            self._arrived.set()
            if self.receipt:
                self._client.session.forget(self.receipt)
                self.receipt = None

    def __aiter__(self) -> "StreamedMessage":
        return self

    async def __anext__(self) -> memoryview:
        self.chunk = self.chunk if self._left == self.size else None
        while not self.chunk:
            if self._is_cut:
                raise KeyfobError("mqtt.interrupted", "%d bytes missing" % self._left)
            if not self._left:
                raise StopAsyncIteration
            self._arrived.clear()
            self._client.read_inline()
            if not self.chunk:
                await self._arrived.wait()
        self._left -= len(self.chunk)
        return self.chunk
