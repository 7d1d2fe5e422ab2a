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

Here is what applications call, and publishing. What a connection does all the time is in
`keyfob.keeping` (it begins, is written to, ends, begins again) and `keyfob.reading`.
Imported when they are needed: `keyfob.connection` (how one begins), `keyfob.subscription`,
`keyfob.early` (messages before their inbox), `keyfob.streamed` (payloads larger than the
buffers, properties), `keyfob.stored` (the outbox), `keyfob.mqtt.session5` (MQTT 5.0).
"""

import asyncio
import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.inbox import Inbox
from keyfob.keeping import keep_up, ticks_ms
from keyfob.mqtt.state import Outgoing, SessionState, since
from keyfob.reading import Reading
from keyfob.uplink import Uplink

_PUBACK = const(4)
_POLL_MS = const(5)
_INLINE_MS = const(5)  # how long a publish holds up the others for its PUBACK
_TURN_MS = const(20)  # after that long without any change of tasks, others get a turn
_HOLD_TICKS = const(20)  # of messages that came before their inbox
_TICKS_MASK = const(0x3FFF_FFFF)


class Client(Reading):
    """``config``: the checked settings, from `keyfob.config.load`. ``outbox``: where
    ``publish(…, store=True)`` keeps its messages, see `keyfob.mqtt`.

    ``will``: (topic, payload bytes, qos, retain), or None; to be set before it connects.
    """

    # Here, as what only the class has is found sooner where the instance's table has places.
    _early: Inbox | None = None  # messages that no inbox wants yet

    def __init__(self, config: dict, outbox=None) -> None:
        self.config = config
        self.status_topic = "devices/%s/status" % config["device_id"]
        self.will = (self.status_topic, b"offline", 1, True)
        self.uplink = Uplink(config)
        self.clock = self.uplink.clock
        self.version = config["broker"].get("version", 4)  # of the protocol: 4 or 5
        self.kept = SessionState()
        self.session = None  # while there is a connection
        self.session_present = False  # whether the broker had kept it
        self.stream = None
        self.failure: KeyfobError | None = None  # why the connection ended
        self.attempts = self.quick_ends = 0  # connections that failed, or ended soon, in a row
        self.inboxes: list[Inbox] = []
        self.unwanted: list = []  # filters to unsubscribe from, not acknowledged
        self.is_asking = False  # a filter wants a SUBSCRIBE or UNSUBSCRIBE, or its answer
        self.full = 0  # inboxes that are full
        self._hold_ticks = _HOLD_TICKS
        self.incoming = None  # the message that comes in pieces
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
        self._flusher = None
        self._reader = None
        self._is_waiting = False  # for the stream to be readable
        self._reset_writing()
        self._outbox = outbox
        self._drain = None
        if outbox:
            from keyfob.stored import Drain

            self._drain = Drain(self, outbox)

    async def __aenter__(self) -> "Client":
        if self._tasks:
            raise RuntimeError("a client is entered once")
        self._tasks.append(asyncio.create_task(keep_up(self)))
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
                outgoing.error = KeyfobError(  # type: ignore
                    "mqtt.not-connected", "the client was left"
                )
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
            state, now_ms = self.session, ticks_ms()
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
            now_ms = ticks_ms()
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
        state.publish(ticks_ms(), outgoing)
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
