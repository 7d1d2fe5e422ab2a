"""The client: an MQTT connection that keeps itself up, for applications on asyncio.

    async with Client(config) as client:
        commands = client.messages("devices/x/command")
        await client.publish("devices/x/reading", b"21.5")
        async for message in commands:
            ...

Subscribe before anything is waited for: what the broker has kept for the device comes as
soon as there is a connection. Of QoS 1 and 2 it is held for ten seconds, for an inbox that
it suits; then it is acknowledged, and lost, and told (mqtt.unexpected).

It connects, reads, keeps alive, and after a failure waits and starts over;
subscriptions are restored, and so is everything on its way in either direction. Each
failure is one ``error`` event. The last will says ``offline`` on
``devices/<id>/status``, the first publish of each connection ``online``.

Whoever waits for the broker reads for itself as long as the answer comes at once: a
change of asyncio tasks costs more than publishing. Otherwise it waits for the reader.
Here is what a connection does all the time. Imported when they are needed:
`keyfob.connection` (how one begins and ends), `keyfob.subscription`, `keyfob.streamed`
(payloads larger than the buffers, properties), `keyfob.stored` (the outbox),
`keyfob.mqtt.session5` (MQTT 5.0).
"""

import asyncio
import gc
import os
import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.inbox import Inbox, Message, matches
from keyfob.mqtt.state import Outgoing, SessionState, since
from keyfob.uplink import Uplink

_PUBLISH = const(3)
_PUBACK = const(4)
_PUBREC = const(5)
_SUBACK = const(9)
_UNSUBACK = const(11)
_PART = const(16)
_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)
_INLINE_MS = const(5)  # how long a publish holds up the others for its PUBACK
_TURN_MS = const(20)  # after that long without any change of tasks, others get a turn
# Fixed header, length of the topic, packet identifier, and QoS of a subscription.
_PACKET_OVERHEAD_BYTES = const(10)
_NO_MEMORY_MS = const(1_000)
_HOLD_TICKS = const(20)  # of messages that came before their inbox
_TOLD = const(-1)
_TICKS_MASK = const(0x3FFF_FFFF)


def _any(value):
    """``value``, as what a checker of types takes for anything."""
    return value


def _left() -> KeyfobError:
    return KeyfobError("mqtt.not-connected", "the client was left")


_now_ms = _any(time.ticks_ms)
_NO_VIEW = memoryview(b"")


class Client:
    """``config``: the checked settings, from `keyfob.config.load`. ``outbox``: where
    ``publish(…, store=True)`` keeps its messages, see `keyfob.mqtt`.

    ``will``: (topic, payload bytes, qos, retain), or None; to be set before it connects.
    """

    # Here, as what only the class has is found sooner where the instance's table has places.
    _early: Inbox | None = None  # messages that no inbox wants yet
    _is_left = False

    def __init__(self, config: dict, outbox=None) -> None:
        self.config = config
        self.status_topic = "devices/%s/status" % config["device_id"]
        self.will = (self.status_topic, b"offline", 1, True)
        self.uplink = Uplink(config)
        self.clock = self.uplink.clock
        self.version = config["broker"].get("version", 4)  # of the protocol: 4 or 5
        self.kept = SessionState()
        self.session = _any(None)  # while there is a connection
        self.session_present = False  # whether the broker had kept it
        self.stream = _any(None)
        self.failure: KeyfobError | None = None  # why the connection ended
        self.attempts = self.quick_ends = 0  # connections that failed, or ended soon, in a row
        self.inboxes: list[Inbox] = []
        self.unwanted: list = []  # filters to unsubscribe from, not acknowledged
        self.is_asking = False  # a filter wants a SUBSCRIBE or UNSUBSCRIBE, or its answer
        self.full = 0  # inboxes that are full
        self._hold_ticks = _HOLD_TICKS
        self.incoming = _any(None)  # the message that comes in pieces
        self._is_up = False
        self.draw = os.urandom  # decides how long to wait before another attempt
        self._changed = asyncio.Event()  # room to send, an acknowledgement, a connection
        self._resumed = asyncio.Event()  # an inbox has room again
        self._ended = asyncio.Event()  # the connection
        self._tasks: list[asyncio.Task] = []  # of the program
        self._publishers = 0  # tasks within `publish`
        self._turn_ms = 0
        self._good_topic = self._route_topic = ""
        self._route: list[Inbox] = []  # where messages of `_route_topic` go
        self._sole: Inbox | None = None  # the only one there
        self._flusher = _any(None)
        self._reader = _any(None)
        self._is_waiting = False  # for the stream to be readable
        self.tx = _NO_VIEW
        self._reset_writing()
        self._outbox = outbox
        self._drain = _any(None)
        if outbox:
            from keyfob.stored import Drain

            self._drain = Drain(self, outbox)

    def _reset_writing(self) -> None:
        self._at = 0  # bytes of the buffer that are written
        self.blocked = 0  # how far a write reaches that would block
        self._blocked_ms = 0
        self.is_streaming = False  # a payload is going out in pieces

    async def __aenter__(self) -> "Client":
        if self._tasks:
            raise RuntimeError("a client is entered once")
        self._tasks.append(asyncio.create_task(self._run()))
        if self._drain:
            self._tasks.append(asyncio.create_task(self._drain.run()))
        return self

    async def __aexit__(self, kind, error, trace) -> None:
        for task in self._tasks:
            task.cancel()
        for inbox in self.inboxes:
            inbox.end()
        if self._is_up and not self.failure:
            from keyfob.connection import leave

            leave(self)
        self.drop_connection()
        self._is_left = True
        for outgoing in self.kept.inflight:
            if outgoing.token is None:  # not of the outbox, which keeps it
                outgoing.error = _left()  # type: ignore
                self.finish(outgoing)
        self._changed.set()

    # -- for applications --------------------------------------------------------------

    def is_connected(self) -> bool:
        return self._is_up

    async def connected(self) -> None:
        """Return once there is a connection; at once if there is. Errors:
        mqtt.not-connected, once the client was left, as of all that waits."""
        while not self._is_up:
            await self._change()

    async def publish(
        self,
        topic: str,
        payload,
        qos: int = 1,
        retain: bool = False,
        store: bool = False,
        properties=None,
        limit_ms: int = 0,
    ) -> None:
        """Send a message. QoS 0: returns once it is sent. QoS 1 and 2: once the broker
        has it, over as many connections as that takes.

        ``payload``: bytes, or ``(length, reader)`` with ``reader.readinto(view)``, plain
        or async, and with ``reader.seek(0)`` if it shall survive a lost connection.
        ``store``: returns once the outbox has it (bytes only). ``properties``: of MQTT 5.0.
        ``limit_ms``: give up waiting after that long; the message may still arrive.
        Waits while there is no connection or ``limits.inflight`` messages are on their
        way. Errors: mqtt.bad-topic, mqtt.too-large, mqtt.bad-property,
        mqtt.publish-timeout, mqtt.interrupted, mqtt.not-connected once the client was left,
        and the broker's refusals in 5.0 (mqtt.not-authorized, …).
        """
        if (
            qos == 1
            and self._is_up
            and not (retain or store or properties or limit_ms or self._publishers)
        ):
            state, now_ms = self.session, _now_ms()
            end = state.publish_again(now_ms, topic, payload)
            if end:
                if not self._is_acknowledged(state, end):
                    outgoing = Outgoing(topic, payload, 1, False)
                    outgoing.packet_id = state.kept.last_id
                    outgoing.awaits = _PUBACK
                    outgoing.sent_ms = now_ms
                    state.inflight.append(outgoing)
                    self._read_now()
                    await self.send(outgoing, 0)
                elif (now_ms - self._turn_ms) & _TICKS_MASK > _TURN_MS:
                    await self._give_turn(now_ms)
                return
        if topic != self._good_topic or qos > 2:
            from keyfob.mqtt.publish import check_topic

            check_topic(topic, qos)
            self._good_topic = topic
        outgoing = Outgoing(topic, payload, qos, retain)
        size = 0
        if isinstance(payload, tuple):
            outgoing.size, outgoing.payload = payload
        else:
            size = len(payload)
        if properties:
            outgoing.properties = properties
        need = self.check_fits(topic, size, properties)
        if store:
            if not self._outbox:
                raise KeyfobError("mqtt.bad-property", "store: Client(config) has no outbox")
            self._outbox.put(topic, payload, qos, retain, properties)
            self._drain.wake()
        elif limit_ms:
            try:
                await asyncio.wait_for_ms(self.send(outgoing, need), limit_ms)
            except asyncio.TimeoutError:
                raise KeyfobError("mqtt.publish-timeout", "%s: %d ms" % (topic, limit_ms))
        else:
            await self.send(outgoing, need)

    def messages(self, topic_filter: str, qos: int = 1, **how) -> Inbox:
        """The messages of ``topic_filter``, for ``async for``; subscribes if need be.

        The broker is asked as soon as there is a connection, and again where it forgot.
        A broker that refuses is the ``error`` mqtt.subscribe-refused. ``how``:
        ``handler``: a function or coroutine function that gets each message.
        ``stream``: take messages larger than the buffer too, in pieces; of several such
        inboxes that one suits, the first gets it.
        ``no_local``, ``retain_as_published``, ``retain_handling``, ``identifier``,
        ``properties``: of MQTT 5.0. Where filters overlap, a broker may send a message once
        for each, and every inbox gets every copy; not with an ``identifier`` for each, the
        same after a reset. Errors: mqtt.bad-topic, mqtt.too-large, mqtt.bad-property (other
        options for a filter that is there already), config.bad-value (of 5.0, ``stream``
        wants ``limits.packet_bytes`` above ``limits.rx_bytes``).
        """
        from keyfob.subscription import subscribe

        inbox = subscribe(self, topic_filter, qos, **how)
        if self._early:
            self._early.offer(inbox)
        self.settle()
        return inbox

    async def subscribe(self, topic_filter: str, qos: int = 1, **how) -> Inbox:
        """As `messages`; the broker's answer is not waited for."""
        return self.messages(topic_filter, qos, **how)

    async def unsubscribe(self, topic_filter: str) -> None:
        """No more of its messages; those that wait are dropped with the inbox."""
        from keyfob.subscription import unsubscribe

        unsubscribe(self, topic_filter)

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

    # -- sending ---------------------------------------------------------------------------

    async def send(self, outgoing: Outgoing, need: int) -> None:
        """Send it, over as many connections as that takes; ``need``: bytes of buffer.

        One of those on their way already is waited for only.
        """
        self._publishers += 1
        try:
            is_sent = outgoing.awaits > 0
            while not is_sent:
                is_sent = await self._send(outgoing, need)
            if outgoing.qos and not outgoing.is_done:
                outgoing.event = asyncio.Event()  # type: ignore
                self.resume()  # its answer may be behind messages that nobody takes
                await outgoing.event.wait()  # type: ignore
            now_ms = _now_ms()
            if since(self._turn_ms, now_ms) > _TURN_MS:
                await self._give_turn(now_ms)
        finally:
            self._publishers -= 1
        if outgoing.error:
            raise outgoing.error
        if outgoing.code >= 128:
            from keyfob.mqtt.reasons import refusal

            raise refusal(outgoing.code, outgoing.topic, outgoing.answer)

    async def _give_turn(self, now_ms: int) -> None:
        """Let other tasks run; whoever publishes then is not alone."""
        self._turn_ms = now_ms
        self._publishers += 1
        try:
            await asyncio.sleep_ms(0)
        finally:
            self._publishers -= 1

    async def _send(self, outgoing: Outgoing, need: int) -> bool:
        """Put and write it as soon as that can be; False if it is to be sent again."""
        while True:
            state = self.session
            if (
                self._is_up
                and not self.is_streaming
                and state.tx_end + need <= len(self.tx)
                and (not outgoing.qos or len(state.inflight) < state.window)
            ):
                break
            await self._change()
        stream = self.stream
        state.publish(_now_ms(), outgoing)
        try:
            if outgoing.size >= 0:
                from keyfob.streamed import send_payload

                return await send_payload(self, outgoing) or outgoing.awaits > 0
            if not outgoing.qos:
                while not self.flush_now():
                    await asyncio.sleep_ms(_POLL_MS)
                    if self.stream is not stream:
                        return False
            elif self._publishers > 1:
                self.flush_soon()  # with what the others put
            elif not self.flush_now():
                self.flush_soon()
            elif stream.poll(_INLINE_MS):
                self._read_now()
        except KeyfobError as error:
            self.fail(error)
            return outgoing.awaits > 0  # it is sent again with those on their way
        return True

    def _is_acknowledged(self, state, end: int) -> bool:
        """Write what `publish_again` put, and read; whether that was all of its PUBACK.

        The usual case, where nothing else is on its way, with as few steps as can be.
        """
        stream = self.stream
        try:
            count = stream.write_now(self.tx[:end])
            if count != end:
                state.tx_end, self._at = end, count or 0
                self.blocked, self._blocked_ms = end, state.sent_ms
                self.flush_soon()
            elif stream.poll(_INLINE_MS):
                rx = state.rx
                count = stream.read_now(rx)
                packet_id = rx[2] << 8 | rx[3]
                if count == 4 and rx[0] == 64 and rx[1] == 2 and packet_id == state.kept.last_id:
                    return True
                state.received(count or 0)
        except KeyfobError as error:
            self.fail(error)
        return False

    def _change(self):
        """To be awaited: something changed that those wait for who want to send."""
        if self._is_left:
            raise _left()
        self._changed.clear()
        return self._changed.wait()

    def wake(self) -> None:
        """Let those look again who wait for it."""
        self._changed.set()

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
                now_ms = _now_ms()
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

    # -- the connection --------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.sleep_ms(await self._connect_once())
            except MemoryError:
                # Not even enough to tell what failed.
                self.drop_connection()
                gc.collect()
                await asyncio.sleep_ms(_NO_MEMORY_MS)

    async def _connect_once(self) -> int:
        """Connect and serve until it ends; how long to wait before the next attempt."""
        self.failure = None
        self._ended.clear()
        if self._hold_ticks == _TOLD:
            self._hold_ticks = 0
        tasks = []
        up_ms = -1
        try:
            self.settle()
            self.stream = await self.uplink.open()
            from keyfob.connection import establish

            await establish(self)
            del establish  # or its module would stay
            # Looked for with each message: what only the class has is looked for in the whole of
            # the session's own table first, which is nearly full, and has free places with these.
            state = self.session
            state.next_usual = state.next_usual
            state.received = state.received
            self._is_up = True
            up_ms = _now_ms()
            self.settle()
            self._changed.set()
            tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._read())]
            await self._ended.wait()
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "connecting: %s" % error))
        finally:
            for task in tasks:
                task.cancel()
            if not self.failure:
                self.drop_connection()  # cancelled
        from keyfob.backoff import conclude

        return conclude(self, up_ms)

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

    async def _tick(self) -> None:
        """What has to be done twice a second, and no more often."""
        try:
            while True:
                await asyncio.sleep_ms(_TICK_MS)
                if not self._is_up:
                    return
                now_ms = _now_ms()
                self.uplink.check_up()
                self.clock.keep()
                if self._hold_ticks > 0:
                    self._hold_ticks -= 1
                    if not self._hold_ticks and self._early:
                        self._let_go(self._early)
                if not self.is_streaming:
                    if self.incoming:
                        self.incoming.tick(now_ms)
                    if self.session.tick(now_ms, not self._may_read()):
                        self.flush_soon()
                    if self.is_asking:
                        from keyfob.subscription import ask

                        ask(self)
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "keeping up: %s" % error))

    async def _read(self) -> None:
        try:
            while self._is_up:  # the program may leave while something comes
                if not self._may_read():
                    self._resumed.clear()
                    await self._resumed.wait()
                elif self._read_now():
                    await asyncio.sleep_ms(0)  # those for whom something came
                    self._turn_ms = _now_ms()
                elif self._is_up:
                    self._is_waiting = True
                    await self.stream.readable()
                    self._is_waiting = False
                    self._turn_ms = _now_ms()
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "reading: %s" % error))

    async def _read_on(self) -> None:
        """Go on where others got a turn, as what the engine holds makes nothing readable."""
        is_more = True
        while is_more:
            await asyncio.sleep_ms(0)
            self._turn_ms = _now_ms()
            is_more = self._is_up and self._read_now()
        self._reader = None

    def take(self, inbox: Inbox):
        """The next message for ``inbox``, which is empty, in the usual case: it is there
        already, of QoS 0, for nobody else. None if not."""
        state, topic = self.session, self._route_topic
        if self._sole is not inbox or not self._is_up or self.full or self.incoming:
            return None
        if state.topic == topic:
            payload = state.next_usual()
            if payload is None and (_now_ms() - self._turn_ms) & _TICKS_MASK < _TURN_MS:
                try:
                    state.received(self.stream.read_now(state.room()) or 0)
                except KeyfobError as error:
                    self.fail(error)
                payload = state.next_usual()
            if payload is not None:
                return Message(topic, payload)
        return None

    def read_inline(self) -> bool:
        """Read what is there already, for a task that would wait for it otherwise.

        True if others must get a turn first.
        """
        self.resume()
        if self._is_up:
            self._read_now()
        now_ms = _now_ms()
        if since(self._turn_ms, now_ms) > _TURN_MS:
            self._turn_ms = now_ms
            return True
        return False

    def resume(self) -> None:
        """Read on, if reading was held up."""
        self._resumed.set()

    def _may_read(self) -> bool:
        """Not while an inbox is full or a piece of payload is not taken, unless the
        application waits for something that comes behind."""
        if self.incoming and self.incoming.chunk:
            return False
        return not self.full or bool(self.session.inflight or self.session.asked)

    def _read_now(self) -> bool:
        """Read and handle without waiting; whether there was anything."""
        state, came, is_drained = self.session, False, False
        try:
            while not (self.full or self.incoming) or self._may_read():
                event = state.next_event()
                if event == _PUBLISH:
                    self._deliver(state)
                elif event:
                    self._handle(event)
                elif is_drained:
                    break
                elif came and since(self._turn_ms, _now_ms()) > _TURN_MS:
                    if self._is_waiting and not self._reader:
                        self._reader = asyncio.create_task(self._read_on())
                    break
                else:
                    room = state.room()
                    count = self.stream.read_now(room)
                    if not count:
                        break
                    came = True
                    state.received(count)
                    # The engine has no more of that record; the next makes it readable.
                    is_drained = count < len(room)
            if state.replies and not self.flush_now():
                self.flush_soon()
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "reading: %s" % error))
        return came

    def _handle(self, event: int) -> None:
        state = self.session
        if event == _PUBACK:
            self.attempts = 0  # the broker does not just hang up, see `keyfob.backoff`
            self.finish(state.outgoing)
        elif event == _PUBREC:
            if self._drain:
                self._drain.released(state.outgoing)
        elif event == _PART:
            if self.incoming:
                self.incoming.give(state.payload)
        elif event in (_SUBACK, _UNSUBACK):
            from keyfob.subscription import answered

            self.attempts = 0
            answered(self, event)

    def finish(self, outgoing: Outgoing) -> None:
        """The broker has it, or never will."""
        outgoing.is_done = True
        outgoing.answer = self.session and self.session.properties
        if outgoing.event:
            outgoing.event.set()
        self._changed.set()

    def _deliver(self, state) -> None:
        topic, receipt = state.topic, state.receipt
        if receipt and self.incoming and self.incoming.awaited is not None:
            self.kept.forget(receipt)  # it comes again with the one before, in their order
            return
        if topic != self._route_topic:
            self._route = []
            for inbox in self.inboxes:
                if matches(inbox.topic_filter, topic):
                    self._route.append(inbox)
            self._route_topic = topic
            self._sole = self._route[0] if len(self._route) == 1 else None
        if state.left or state.properties:
            from keyfob.streamed import deliver

            message = deliver(self, self._route)
        else:
            message = Message(topic, state.payload, state.qos, state.retain)
            message.receipt = receipt
            for inbox in self._route:
                inbox.put(message)
        if receipt and not message.holders:
            if not (self._route or state.left):
                self._hold(message)
            if not message.holders:
                self.kept.handled(receipt)

    def _hold(self, message: Message) -> None:
        """No inbox wants it yet, or any more."""
        if self.unwanted:
            return
        if self.session_present and self._hold_ticks > 0:
            if not self._early:
                self._early = Inbox(self, "", 0, self.config["limits"]["inbox"])
            self._early.put(message)
        elif self._hold_ticks != _TOLD:
            from keyfob.events import emit_error

            self._hold_ticks = _TOLD
            emit_error(KeyfobError("mqtt.unexpected", "no inbox wants " + message.topic))

    def _let_go(self, early: Inbox) -> None:
        """Acknowledge those that no inbox wanted: what is behind them waits for that."""
        self._early = None
        for message in early._messages:
            self._hold(message)  # tells it
        early.close()

    def forget_route(self) -> None:
        """The inboxes changed."""
        self._route_topic = ""

    def handled(self, message: Message) -> None:
        """Nobody needs ``message`` any more: acknowledge it."""
        if self.incoming is message:
            message.chunk = None
            message.is_skipped = True
            self.resume()
        if message.receipt:
            self.kept.handled(message.receipt)
            if self._is_up:
                self.flush_soon()

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
        self.tx = _NO_VIEW
        if self.session:
            self.session.reset(0, 0)
            self.session = None
