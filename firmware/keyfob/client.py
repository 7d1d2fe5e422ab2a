"""The client: an MQTT connection that keeps itself up, for applications on asyncio.

    async with Client(config) as client:
        await client.publish("devices/x/reading", b"21.5")
        async for message in client.messages("devices/x/command"):
            ...

It connects (`keyfob.uplink`, then CONNECT), reads, keeps alive, and after a failure
waits and starts over; subscriptions are restored, and so is everything on its way in
either direction. Each failure is one ``error`` event. The last will says ``offline``
on ``devices/<id>/status``, the first publish of each connection ``online``.

Whoever waits for the broker reads for itself as long as the answer comes at once: a
change of asyncio tasks costs more than publishing. Otherwise it waits for the reader.
Imported when they are used: `keyfob.streamed` (payloads larger than the buffers),
`keyfob.stored` (the outbox), `keyfob.mqtt.session5` (MQTT 5.0).
"""

import asyncio
import os
import time

from micropython import const

from keyfob.backoff import Backoff
from keyfob.errors import KeyfobError, is_stop
from keyfob.events import emit, emit_error
from keyfob.inbox import Inbox, Message
from keyfob.mqtt import packets, session
from keyfob.uplink import Uplink

_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)
_INLINE_MS = const(5)  # how long a publish holds up the others for its PUBACK
_TURN_MS = const(20)  # after that long without any change of tasks, others get a turn
# Fixed header, length of the topic, packet identifier, and QoS of a subscription.
_PACKET_OVERHEAD_BYTES = const(10)
_INBOX_MESSAGES = const(8)
_CONNACK_LIMIT_MS = const(15_000)
_QUICK_MS = const(5_000)
_MOST_QUICK = const(5)
_TICKS_MASK = const(0x3FFF_FFFF)


def _any(value):
    """``value``, as what a checker of types takes for anything."""
    return value


_now_ms = _any(time.ticks_ms)


class Client:
    """``config``: the checked settings, from `keyfob.config.load`. ``outbox``: where
    ``publish(…, store=True)`` keeps its messages, see `keyfob.mqtt`.

    ``will``: (topic, payload bytes, qos, retain), or None; to be set before it connects.
    """

    def __init__(self, config: dict, outbox=None) -> None:
        limits = config["limits"]
        device_id = config["device_id"]
        self._config = config
        self._payload_bytes = limits["payload_bytes"]
        self.status_topic = "devices/%s/status" % device_id
        self.will = (self.status_topic, b"offline", 1, True)
        self.uplink = Uplink(config)
        self.clock = self.uplink.clock
        self.session = make_session(config)
        self._tx = memoryview(self.session.tx)
        self._backoff = Backoff(_draw)
        self.stream = _any(None)
        self._task: asyncio.Task | None = None
        self._is_connected = asyncio.Event()
        self._ended = asyncio.Event()  # the connection; `_failure` is why
        self._changed = asyncio.Event()  # room in the window or in the buffer
        self._resumed = asyncio.Event()  # an inbox has room again
        self._failure: KeyfobError | None = None
        self._inboxes: list[Inbox] = []
        self._unwanted: list = []  # filters to unsubscribe from, not acknowledged
        self._incoming = _any(None)  # the message that comes in pieces
        self._turn_ms = 0
        self._flusher = _any(None)
        self._outbox = outbox
        self._quick = _any(None)  # the stream, while all is well with it
        self._good_topic = ""
        self._route: list[Inbox] = []  # where messages of `_route_topic` go
        self._route_topic = ""
        self.full = 0  # inboxes that are full
        self._reset_writing()
        self._drain = self._drain_task = _any(None)
        if outbox:
            from keyfob.stored import Drain

            self._drain = Drain(self, outbox)

    def _reset_writing(self) -> None:
        self._at = 0  # bytes of the buffer that are written
        self._blocked = 0  # how far a write reaches that would block
        self._blocked_ms = 0
        self.is_streaming = False  # a payload is going out in pieces

    async def __aenter__(self) -> "Client":
        self._task = asyncio.create_task(self._run())
        if self._drain:
            self._drain_task = asyncio.create_task(self._drain.run())
        return self

    async def __aexit__(self, kind, error, trace) -> None:
        if self._task:
            self._task.cancel()
        for inbox in self._inboxes:
            if inbox.task:
                inbox.task.cancel()
        if self._drain_task:
            self._drain_task.cancel()
        if self._is_connected.is_set() and not self._failure:
            try:
                self._publish_status(b"offline")
                self.session.disconnect()
                self.flush_now()
            except KeyfobError as failure:
                emit_error(failure)  # closing anyway; the will says offline instead
        self._drop()

    # -- for applications --------------------------------------------------------------

    def is_connected(self) -> bool:
        return self._is_connected.is_set()

    async def connected(self) -> None:
        """Return once there is a connection; at once if there is."""
        await self._is_connected.wait()

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
        ``store``: returns once the outbox has it. ``properties``: of MQTT 5.0.
        ``limit_ms``: give up waiting after that long; the message may still arrive.
        Waits while there is no connection or ``limits.inflight`` messages are on their
        way. Errors: mqtt.bad-topic, mqtt.too-large, mqtt.publish-timeout,
        mqtt.interrupted, and the broker's refusals in 5.0 (mqtt.not-authorized, …).
        """
        if topic != self._good_topic:
            packets.check_topic(topic)
            self._good_topic = topic
        stream = self._quick
        if stream and qos == 1 and not (store or properties or limit_ms):
            state, now_ms = self.session, _now_ms()
            packet_id = state.put_quick(now_ms, topic, payload, retain)
            if packet_id:
                if not self._send_quick(state, stream, packet_id):
                    await self.acknowledged(
                        self._send_on(now_ms, packet_id, topic, payload, retain)
                    )
                elif (now_ms - self._turn_ms) & _TICKS_MASK > _TURN_MS:
                    self._turn_ms = now_ms
                    await asyncio.sleep_ms(0)
                return
        size = -1
        if isinstance(payload, tuple):
            size, payload = payload
        elif len(payload) > self._payload_bytes:
            detail = "payload of %d bytes, limit %d" % (len(payload), self._payload_bytes)
            raise KeyfobError("mqtt.too-large", detail)
        outgoing = session.Outgoing(topic, payload, qos, retain, size)
        if properties:
            outgoing.properties = properties
        need = self.check_fits(topic, 0 if size >= 0 else len(payload), properties)
        if store:
            self._outbox.put(topic, payload, qos, retain)
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
        ``stream``: take messages larger than the buffer too, in pieces.
        ``no_local``, ``retain_as_published``, ``retain_handling``, ``identifier``,
        ``properties``: of MQTT 5.0.
        """
        for inbox in self._inboxes:
            if inbox.topic_filter == topic_filter:
                return inbox
        packets.check_filter(topic_filter)
        self.check_fits(topic_filter, 0, how.get("properties"))
        bound = self._config["limits"].get("inbox", _INBOX_MESSAGES)
        inbox = Inbox(self, topic_filter, qos, bound)
        if how:
            from keyfob.subscription import configure

            configure(inbox, **how)
        if topic_filter in self._unwanted:
            self._unwanted.remove(topic_filter)
        self._inboxes.append(inbox)
        self._route_topic = ""
        self._ask()
        return inbox

    async def subscribe(self, topic_filter: str, qos: int = 1, **how) -> Inbox:
        """As `messages`; the broker's answer is not waited for."""
        return self.messages(topic_filter, qos, **how)

    async def unsubscribe(self, topic_filter: str) -> None:
        """No more of its messages; those that wait are dropped with the inbox."""
        for inbox in self._inboxes:
            if inbox.topic_filter == topic_filter:
                self._inboxes.remove(inbox)
                self._route_topic = ""
                inbox.close()
                self._unwanted.append(topic_filter)
                self._ask()
                self.resume()
                return

    def check_fits(self, topic: str, size: int, properties) -> int:
        """Bytes of buffer that a packet needs at most. Errors: mqtt.too-large."""
        # Before it waits in a queue, where it would end one connection after the other.
        need = len(topic.encode()) + size + _PACKET_OVERHEAD_BYTES
        if properties and self.session.version > 4:
            need += self.session.size_of(properties)
        if need > len(self._tx):
            detail = "topic and payload of %d bytes, buffer %d" % (need, len(self._tx))
            raise KeyfobError("mqtt.too-large", detail)
        return need

    # -- sending ---------------------------------------------------------------------------

    async def send(self, outgoing: session.Outgoing, need: int) -> None:
        """Send it, over as many connections as that takes; ``need``: bytes of buffer."""
        state = self.session
        sent = False
        while not sent:
            while (
                not self._is_connected.is_set()
                or self.is_streaming
                or (outgoing.qos and len(state.inflight) >= state.window)
                or state.tx_end + need > len(self._tx)
            ):
                await self._wait_for_room()
            sent = await self._send_now(outgoing)
            if not sent and outgoing.size >= 0:
                self._rewind(outgoing)
        if outgoing.qos:
            await self.acknowledged(outgoing)
        elif outgoing.error:
            raise outgoing.error

    def _send_quick(self, state, stream, packet_id: int) -> bool:
        """Write what `put_quick` put, and read; whether that was all of its PUBACK.

        The usual case, where nothing else is on its way, with as few steps as can be.
        """
        size = state.quick_end
        try:
            count = stream.write_now(self._tx[:size])
            if count != size:
                state.tx_end, self._at = size, count or 0
                self._blocked, self._blocked_ms = size, _now_ms()
            elif stream.poll(_INLINE_MS):
                rx = state.rx
                count = stream.read_now(rx)
                if count == 4 and rx[0] == 64 and rx[1] == 2 and rx[2] << 8 | rx[3] == packet_id:
                    return True
                state.received(count or 0)
        except KeyfobError as error:
            self.fail(error)
        return False

    def _send_on(self, now_ms: int, packet_id: int, topic: str, payload, retain: bool):
        """As it was not that simple, treat it like every other message."""
        outgoing = session.Outgoing(topic, payload, 1, retain)
        outgoing.packet_id = packet_id
        outgoing.awaits = session.PUBACK
        outgoing.sent_ms = now_ms
        self.session.inflight.append(outgoing)
        if self._blocked:
            self._flush_soon()
        if not self._failure:
            self._read_now()
        return outgoing

    async def _wait_for_room(self) -> None:
        if self._is_connected.is_set():
            self._changed.clear()
            await self._changed.wait()
        else:
            await self._is_connected.wait()

    async def _send_now(self, outgoing: session.Outgoing) -> bool:
        """Put it and write it; False if the connection failed and it is to be sent again."""
        state, stream = self.session, self.stream
        now_ms = _now_ms()
        state.publish(now_ms, outgoing)
        try:
            if outgoing.size >= 0:
                from keyfob.streamed import send_payload

                await send_payload(self, outgoing)
            elif outgoing.qos and len(state.inflight) > 1:
                self._flush_soon()
                return True
            while not self.flush_now():
                if outgoing.qos:
                    self._flush_soon()
                    break
                await asyncio.sleep_ms(_POLL_MS)
                if self.stream is not stream:
                    return False
        except KeyfobError as error:
            self.fail(error)
            return outgoing.awaits > 0  # it is sent again with those on their way
        if session.since(self._turn_ms, now_ms) > _TURN_MS:
            self._turn_ms = now_ms
            await asyncio.sleep_ms(0)
        return True

    async def acknowledged(self, outgoing: session.Outgoing) -> None:
        """Return when the broker has it; raise what kept it from that."""
        stream = None if self._failure or outgoing.is_done else self.stream
        if stream and len(self.session.inflight) == 1 and stream.poll(_INLINE_MS):
            self._read_now()
        if not outgoing.is_done:
            self.resume()  # what comes may be behind messages that nobody takes
            outgoing.event = asyncio.Event()  # type: ignore
            await outgoing.event.wait()  # type: ignore
        if outgoing.error:
            raise outgoing.error
        if outgoing.code >= 128:
            from keyfob.mqtt.reasons import refusal

            raise refusal(outgoing.code, outgoing.topic, outgoing.answer)

    def flush_now(self, is_payload: bool = False) -> bool:
        """Write without waiting what there is; True if nothing is left.

        ``is_payload``: what there is belongs to a payload that goes out in pieces, with
        nothing between them.
        """
        state = self.session
        if self._failure:
            raise self._failure
        if self.is_streaming and not is_payload:
            return False
        end = self._blocked or (state.tx_end if is_payload else state.pack())
        while end:
            if not self.stream:
                raise KeyfobError("mqtt.not-connected", "connection was dropped")
            count = self.stream.write_now(self._tx[self._at : end])
            if not count:
                if not self._blocked:
                    self._blocked, self._blocked_ms = end, _now_ms()
                return False
            self._at += count
            self._blocked, self._blocked_ms = end, _now_ms()
            if self._at == end:
                state.sent(end)
                self._at = self._blocked = 0
                end = state.tx_end if is_payload else state.pack()
        return True

    async def flush(self) -> None:
        """Write everything, waiting if need be."""
        while not self.flush_now():
            await asyncio.sleep_ms(_POLL_MS)
        self._changed.set()

    def _flush_soon(self) -> None:
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

    def handled(self, message: Message) -> None:
        """Nobody needs ``message`` any more: acknowledge it."""
        if self._incoming is message:
            message.chunk = None
            message.is_skipped = True
            self.resume()
        if message.receipt:
            self.session.handled(message.receipt)
            if self._is_connected.is_set():
                self._flush_soon()

    def wake(self) -> None:
        """Let those try again who wait for room to send."""
        self._changed.set()

    def resume(self) -> None:
        """Read on, if reading was held up."""
        self._resumed.set()

    def _ask(self) -> None:
        """Put SUBSCRIBE and UNSUBSCRIBE for every filter that wants one."""
        if self.is_streaming or not self.stream:
            return
        state = self.session
        now_ms = _now_ms()
        try:
            for inbox in self._inboxes:
                if not (inbox.is_granted or inbox.packet_id):
                    inbox.packet_id = state.subscribe(
                        now_ms, inbox.topic_filter, inbox.options, inbox.properties
                    )
            for index, wanted in enumerate(self._unwanted):
                if isinstance(wanted, str):
                    self._unwanted[index] = (state.subscribe(now_ms, wanted, -1), wanted)
        except KeyfobError:
            return  # no connection, or no room in the buffer: asked again
        if state.tx_end:
            self.resume()
            self._flush_soon()

    # -- the connection --------------------------------------------------------------------

    async def _run(self) -> None:
        quick = 0
        while True:
            error, lasted_ms = await self._one_connection()
            # Two boards of one name throw each other out; MQTT 3.1.1 has no word for it.
            is_quick = error.code in ("tls.closed", "tls.reset") and 0 <= lasted_ms < _QUICK_MS
            quick = quick + 1 if is_quick and self.session.session_present else 0
            if quick >= _MOST_QUICK:
                detail = "closed %d times in a row, last after %d ms" % (quick, lasted_ms)
                error = KeyfobError("mqtt.taken-over", detail)
            if self.session.version > 4 and error.code == "mqtt.unacceptable-protocol":
                emit_error(error)
                inflight = self.session.inflight
                self.session = make_session(self._config, 4)
                self.session.inflight = inflight
                self._tx = memoryview(self.session.tx)
                continue
            if lasted_ms >= 0 and error.code != "mqtt.taken-over":
                self._backoff.reset()
            delay_ms = self._backoff.next_ms(is_stop(error.code))
            emit_error(error, delay_ms)
            await asyncio.sleep_ms(delay_ms)

    async def _one_connection(self) -> tuple:
        """Connect and serve until it ends; (why, how long it stood in ms or -1)."""
        self._failure = None
        self._ended.clear()
        tasks = []
        up_ms = -1
        try:
            self.stream = await self.uplink.open()
            await self._open_session()
            up_ms = _now_ms()
            tasks.append(asyncio.create_task(self._tick()))
            await self._restore()
            tasks.append(asyncio.create_task(self._read()))
            await self._ended.wait()
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", str(error)))
        finally:
            for task in tasks:
                task.cancel()
            self._say_why()
            self._drop()
        why = _any(self.uplink.ended(_any(self._failure)) or self._failure)
        if up_ms < 0:
            return why, -1
        emit("mqtt.down", code=why.code, detail=why.detail)
        return why, session.since(up_ms, _now_ms())

    def _say_why(self) -> None:
        """Tell a 5.0 broker what it did wrong, if the connection ends for that."""
        words = self._failure and self.session.farewell(self._failure.code)
        if words and self.stream and not self._blocked:
            try:
                self.stream.write_now(memoryview(words))
            except KeyfobError:
                pass  # it is closed already

    async def _open_session(self) -> None:
        """CONNECT to CONNACK."""
        state, broker = self.session, self._config["broker"]
        device_id = self._config["device_id"]
        more = {}
        for name in ("username", "password"):
            if broker.get(name):
                more[name] = broker[name]
        state.start(_now_ms(), device_id, broker["keepalive_s"], False, will=self.will, **more)
        try:
            await asyncio.wait_for_ms(self._read_connack(), _CONNACK_LIMIT_MS)
        except asyncio.TimeoutError:
            raise KeyfobError("mqtt.no-connack", "%d ms" % _CONNACK_LIMIT_MS)
        emit(
            "mqtt.up",
            host=broker["host"],
            port=broker["port"],
            client_id=device_id,
            session_present=state.session_present,
        )

    async def _read_connack(self) -> None:
        await self.flush()
        state, stream = self.session, self.stream
        while not state.next_event():
            count = stream.read_now(state.room())
            if count:
                state.received(count)
            else:
                await stream.readable()

    async def _restore(self) -> None:
        """Say that we are here, then ask and send again what the last connection left."""
        state = self.session
        for inbox in self._inboxes:
            inbox.packet_id = 0
            inbox.is_granted = inbox.is_granted and state.session_present
        self._unwanted = [
            wanted if isinstance(wanted, str) else wanted[1]
            for wanted in self._unwanted
            if state.session_present
        ]
        self._publish_status(b"online")
        self._ask()
        for outgoing in list(state.inflight):
            await self._resend(outgoing)
        await self.flush()
        self._is_connected.set()
        if state.version == 4 and self._payload_bytes >= 128:
            self._quick = self.stream
        self._changed.set()
        if self._drain:
            self._drain.wake()

    async def _resend(self, outgoing: session.Outgoing) -> None:
        state = self.session
        if outgoing.size >= 0 and outgoing.payload:
            await self.flush()
            try:
                self._rewind(outgoing)
            except KeyfobError as error:
                state.inflight.remove(outgoing)
                outgoing.error = error  # type: ignore
                self._finish(outgoing)
                return
        try:
            is_out = state.resend(_now_ms(), outgoing)
        except KeyfobError:
            await self.flush()
            is_out = state.resend(_now_ms(), outgoing)
        if not is_out:
            self._finish(outgoing)
        elif outgoing.size >= 0 and outgoing.payload:
            from keyfob.streamed import send_payload

            await send_payload(self, outgoing)

    def _rewind(self, outgoing: session.Outgoing) -> None:
        from keyfob.streamed import rewind

        if not rewind(outgoing):
            raise KeyfobError("mqtt.interrupted", outgoing.topic)

    def _publish_status(self, payload: bytes) -> None:
        if self.will:
            status = session.Outgoing(self.status_topic, payload, 0, True)
            self.session.publish(_now_ms(), status)

    async def _tick(self) -> None:
        """What has to be done twice a second, and no more often."""
        try:
            while True:
                await asyncio.sleep_ms(_TICK_MS)
                now_ms = _now_ms()
                self.uplink.check_up()
                self.clock.keep()
                if self._blocked and session.since(self._blocked_ms, now_ms) > _WRITE_LIMIT_MS:
                    detail = "%d of %d bytes" % (self._at, self._blocked)
                    raise KeyfobError("tls.write-timeout", detail)
                if not self.is_streaming:
                    self.session.tick(now_ms, not self._may_read())
                    self._ask()
        except KeyfobError as error:
            self.fail(error)

    async def _read(self) -> None:
        while True:
            if not self._may_read():
                self._resumed.clear()
                await self._resumed.wait()
            elif self._read_now():
                await asyncio.sleep_ms(0)  # those for whom something came
            elif self._failure:
                return
            else:
                await self.stream.readable()

    def read_inline(self) -> bool:
        """Read what is there already, for a task that would wait for it otherwise.

        True if others must get a turn first.
        """
        self.resume()
        if not self._failure and self._is_connected.is_set():
            self._read_now()
        now_ms = _now_ms()
        if (now_ms - self._turn_ms) & _TICKS_MASK > _TURN_MS:
            self._turn_ms = now_ms
            return True
        return False

    def _may_read(self) -> bool:
        """Not while an inbox is full or a piece of payload is not taken, unless the
        application waits for something that comes behind."""
        if self._incoming and self._incoming.chunk:
            return False
        return not self.full or self.session.awaits_answer()

    def _read_now(self) -> bool:
        """Read and handle without waiting; whether there was anything."""
        state, came, is_drained = self.session, False, False
        try:
            while not (self.full or self._incoming) or self._may_read():
                event = state.next_event()
                if event == session.PUBLISH:
                    self._deliver(state)
                elif event:
                    self._handle(event)
                elif is_drained:
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
            if state.pack() and not self.flush_now():
                self._flush_soon()
        except KeyfobError as error:
            self.fail(error)
        except MemoryError as error:
            self.fail(KeyfobError("tls.no-memory", "reading: %s" % error))
        return came

    def _handle(self, event: int) -> None:
        state = self.session
        if event == session.PUBACK:
            self._finish(state.outgoing)
        elif event == session.PUBREC:
            if self._drain:
                self._drain.released(state.outgoing)
        elif event == session.PART:
            if self._incoming:
                self._incoming.give(state.payload)
        elif event != session.PINGRESP:
            self._answered(event)

    def _answered(self, event: int) -> None:
        state = self.session
        if event == session.UNSUBACK:
            self._unwanted = [one for one in self._unwanted if one[0] != state.packet_id]
        for inbox in self._inboxes:
            if inbox.packet_id == state.packet_id:
                inbox.packet_id = 0
                inbox.is_granted = True  # or refused: not asked again on this connection
                if state.code >= 128:
                    detail = "%s: code %d" % (inbox.topic_filter, state.code)
                    emit_error(KeyfobError("mqtt.subscribe-refused", detail))

    def _finish(self, outgoing: session.Outgoing) -> None:
        """The broker has it, or never will."""
        outgoing.is_done = True
        outgoing.answer = self.session.properties
        if outgoing.event:
            outgoing.event.set()
        self._changed.set()

    def _deliver(self, state: session.Session) -> None:
        topic = state.topic
        if topic != self._route_topic:
            self._route = []
            for inbox in self._inboxes:
                if packets.matches(inbox.topic_filter, topic):
                    self._route.append(inbox)
            self._route_topic = topic
        message = None
        if not (state.left or state.properties):
            message = Message(topic, state.payload, state.qos, state.retain)
            message.receipt = state.receipt
            for inbox in self._route:
                inbox.put(message)
        else:
            message = self._deliver_more(state)
        if state.receipt and not message.holders:
            state.handled(state.receipt)

    def _deliver_more(self, state: session.Session) -> Message:
        """A message that comes in pieces, or has properties."""
        if state.left:
            from keyfob.streamed import StreamedMessage

            message = _any(StreamedMessage(self, state))
        else:
            message = Message(state.topic, state.payload, state.qos, state.retain)
        message.receipt = state.receipt
        message.properties = state.properties
        for inbox in self._route:
            if inbox.is_meant(message) and not (state.left and not inbox.takes_streams):
                inbox.put(message)
        if state.left:
            if message.holders:
                self._incoming = message
            else:
                detail = "%d bytes of %s" % (state.size, state.topic)
                emit_error(KeyfobError("mqtt.too-large", detail))
        return message

    def fail(self, error: KeyfobError) -> None:
        """End the connection; the first error is the cause, those after it follow from it."""
        self._failure = self._failure or error
        self._quick = None
        self._is_connected.clear()
        self._ended.set()

    def _drop(self) -> None:
        self._quick = None
        self._is_connected.clear()
        self._reset_writing()
        if self._incoming:
            self._incoming.cut()
            self._incoming = None
        if self._flusher:
            self._flusher.cancel()
            self._flusher = None
        if self.stream:
            self.stream.close()
            self.stream = None


def make_session(config: dict, version: int = 0):
    """The session that ``broker.version``, or ``version``, asks for."""
    limits = config["limits"]
    sizes = (limits["rx_bytes"], limits["tx_bytes"], limits["inflight"])
    if (version or config["broker"].get("version")) == 5:
        from keyfob.mqtt.session5 import Session5

        return Session5(*sizes, config)
    return session.Session(*sizes)


def _draw() -> bytes:
    return os.urandom(2)
