"""A client's connection: it begins, is looked after and written to, ends, and begins again.

`keep_up` is the task of `keyfob.client.Client` that sees to that. How a connection begins is
in `keyfob.connection`, how long to wait after one in `keyfob.backoff`, both imported for that;
its reader is `keyfob.reading.Reading.read`.

Whoever put something into the session's buffer writes it: by `Keeping.flush_soon` with what
others put, `flush_now` without waiting, `flush` whole. Whatever goes wrong on a connection
comes to `fail`, which ends it. Not here: who puts what, and when.
"""

import asyncio
import gc
import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.mqtt.state import Outgoing, since

_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)
_NO_MEMORY_MS = const(1_000)
# Fixed header, length of the topic, packet identifier, and QoS of a subscription.
_PACKET_OVERHEAD_BYTES = const(10)
_TOLD = const(-1)  # as in `keyfob.early`


# Any: what a checker of types takes for anything, and a board does not look at.
ticks_ms: "Any" = time.ticks_ms  # type: ignore  # noqa: F821
_NO_VIEW = memoryview(b"")


async def keep_up(client) -> None:
    """Connect, and connect again whenever a connection ended, for ever."""
    while True:
        try:
            await asyncio.sleep_ms(await _connect_once(client))
        except MemoryError:
            # Not even enough to tell what failed.
            client.drop_connection()
            gc.collect()
            await asyncio.sleep_ms(_NO_MEMORY_MS)


async def _connect_once(client) -> int:
    """Connect and serve until it ends; how long to wait before the next attempt."""
    client.failure = None
    client._ended.clear()
    if client._hold_ticks == _TOLD:
        client._hold_ticks = 0
    tasks = []
    up_ms = -1
    try:
        client.settle()
        client.stream = await client.uplink.open()
        from keyfob.connection import establish

        await establish(client)
        del establish  # or its module would stay
        # Looked for with each message: what only the class has is looked for in the whole of
        # the session's own table first, which is nearly full, and has free places with these.
        state = client.session
        state.next_usual = state.next_usual
        state.received = state.received
        client._is_up = True
        up_ms = ticks_ms()
        client.settle()
        client.wake()
        tasks = [asyncio.create_task(_tick(client)), asyncio.create_task(client.read())]
        await client._ended.wait()
    except KeyfobError as error:
        client.fail(error)
    except MemoryError as error:
        client.fail(KeyfobError("tls.no-memory", "connecting: %s" % error))
    finally:
        for task in tasks:
            task.cancel()
        if not client.failure:
            client.drop_connection()  # cancelled
    from keyfob.backoff import conclude

    return conclude(client, up_ms)


async def _tick(client) -> None:
    """What has to be done twice a second, and no more often."""
    try:
        while True:
            await asyncio.sleep_ms(_TICK_MS)
            if not client._is_up:
                return
            now_ms = ticks_ms()
            client.uplink.check_up()
            client.clock.keep()
            if client._hold_ticks == 1 and client._early:
                from keyfob.early import let_go

                let_go(client)
                del let_go
                drop("early")
            elif client._hold_ticks > 0:
                client._hold_ticks -= 1
            if not client.is_streaming:
                if client.incoming:
                    client.incoming.tick(now_ms)
                if client.session.tick(now_ms, not client.may_read()):
                    client.flush_soon()
                if client.is_asking:
                    from keyfob.subscription import ask

                    ask(client)
    except KeyfobError as error:
        client.fail(error)
    except MemoryError as error:
        client.fail(KeyfobError("tls.no-memory", "keeping up: %s" % error))


class Keeping:
    """The bottom of `keyfob.client.Client`, which makes what is only annotated here."""

    config: dict
    version: int
    session: "Any"  # type: ignore  # noqa: F821
    stream: "Any"  # type: ignore  # noqa: F821
    incoming: "Any"  # type: ignore  # noqa: F821
    _flusher: "Any"  # type: ignore  # noqa: F821
    failure: KeyfobError | None
    is_asking: bool
    _is_up: bool
    _ended: asyncio.Event
    _changed: asyncio.Event

    _is_left = False

    def _reset_writing(self) -> None:
        self.tx = _NO_VIEW
        self._at = 0  # bytes of the buffer that are written
        self.blocked = 0  # how far a write reaches that would block
        self._blocked_ms = 0
        self.is_streaming = False  # a payload is going out in pieces

    def _change(self):
        """To be awaited: something changed that those wait for who want to send."""
        if self._is_left:
            raise KeyfobError("mqtt.not-connected", "the client was left")
        self._changed.clear()
        return self._changed.wait()

    def wake(self) -> None:
        """Let those look again who wait for it."""
        self._changed.set()

    def check_fits(self, topic: str, size: int, properties) -> int:
        """Bytes of buffer that a packet needs at most. Errors: mqtt.too-large."""
        # Before it waits in a queue, where it would end one connection after the other.
        need = len(topic.encode()) + size + _PACKET_OVERHEAD_BYTES
        if properties and self.version > 4:
            from keyfob.mqtt.session5 import size_of

            need += size_of(properties)
        room = self.config["limits"]["tx_bytes"]
        if need > room or size > self.config["limits"]["payload_bytes"]:
            detail = "%d bytes of payload, %d of packet; buffer of %d" % (size, need, room)
            raise KeyfobError("mqtt.too-large", detail)
        return need

    def flush_now(self, is_payload: bool = False) -> bool:
        """Write without waiting what there is; True if nothing is left. Whoever gets False
        asks again soon. Errors: tls.write-timeout, and why the connection ended.

        ``is_payload``: what there is belongs to a payload that goes out in pieces, with
        nothing between them.
        """
        state, stream = self.session, self.stream
        if self.failure or not stream:
            raise self.failure or KeyfobError("mqtt.not-connected", "connection was dropped")
        if self.is_streaming and not is_payload:
            return False
        end = self.blocked
        while True:
            end = end or (state.tx_end if is_payload else state.pack())
            if not end:
                return True
            count = stream.write_now(self.tx[self._at : end])
            if not count:
                now_ms = ticks_ms()
                if not self.blocked:
                    self.blocked, self._blocked_ms = end, now_ms
                elif since(self._blocked_ms, now_ms) > _WRITE_LIMIT_MS:
                    raise KeyfobError("tls.write-timeout", "%d of %d bytes" % (self._at, end))
                return False
            self._at += count
            if self._at == end:
                state.sent(end)
                self._at = self.blocked = end = 0

    async def flush(self) -> None:
        """Write everything, waiting if need be."""
        while not self.flush_now():
            await asyncio.sleep_ms(_POLL_MS)
        self._changed.set()

    def flush_soon(self) -> None:
        """Once the tasks that are ready have run, so that what they put goes in one write."""
        if not self._flusher:
            self._flusher = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        try:
            await self.flush()
        except KeyfobError as error:
            self.fail(error)
        finally:
            self._flusher = None

    def finish(self, outgoing: Outgoing) -> None:
        """The broker has it, or never will."""
        outgoing.is_done = True
        outgoing.answer = self.session and self.session.properties
        if outgoing.event:
            outgoing.event.set()
        self._changed.set()

    def fail(self, error: KeyfobError) -> None:
        """End the connection; the first error is the cause, those after it follow from it."""
        self.failure = self.failure or error
        self._is_up = False
        self._ended.set()

    def drop_connection(self) -> None:
        """Close what is open; nothing is said to the broker."""
        self._is_up = False
        self._reset_writing()
        if self.incoming:
            self.incoming.cut()
            self.incoming = None
        if self._flusher:
            self._flusher.cancel()
            self._flusher = None
        if self.stream:
            self.stream.close()
            self.stream = None
        if self.session:
            self.session.reset(0, 0)
            self.session = None

    def settle(self) -> None:
        """Let go what only setting up takes, unless the broker is about to answer."""
        if not self.session:
            drop("mqtt.session", "mqtt.session5", "mqtt.properties", "mqtt.publish")
        # Those of 5.0 are needed all the time.
        if not (self._is_up and self.is_asking) and (self.version == 4 or not self.session):
            drop(
                "connection", "subscription", "backoff", "mqtt.subscribe",
                "mqtt.acks",
            )  # fmt: skip
