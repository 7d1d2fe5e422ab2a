"""The client: an MQTT connection that keeps itself up, for applications on asyncio.

    async with Client(config) as client:
        await client.publish("devices/x/reading", b"21.5")
        async for message in client.messages("devices/x/command"):
            ...

One task connects (Wi-Fi, clock, identity, TLS, MQTT), reads, keeps alive, and after
a failure waits and starts over; subscriptions and unacknowledged publishes are
restored. Each failure is one ``error`` event. The last will says ``offline`` on
``devices/<id>/status``, the first publish of each connection ``online``.
"""

import asyncio
import os

from micropython import const

from keyfob import store, stream
from keyfob.backoff import Backoff
from keyfob.clock import Clock
from keyfob.errors import KeyfobError, is_stop
from keyfob.events import emit, emit_error, now_ms
from keyfob.inbox import Inbox, Message, Messages
from keyfob.mqtt import packets, session
from keyfob.pki.certificate import Certificate
from keyfob.wifi import Wifi

_CONNACK_LIMIT_MS = const(15_000)
_PUBACK_LIMIT_MS = const(30_000)
_TICK_MS = const(500)
# Fixed header, length of the topic, packet identifier, and QoS of a subscription.
_PACKET_OVERHEAD_BYTES = const(10)


class Client:
    """``config``: the checked settings, from `keyfob.config.load`."""

    def __init__(self, config: dict) -> None:
        limits = config["limits"]
        self._device_id = config["device_id"]
        self._broker = config["broker"]
        self._payload_bytes = limits["payload_bytes"]
        self._tx_bytes = limits["tx_bytes"]
        self._inflight = limits["inflight"]
        self.status_topic = "devices/%s/status" % self._device_id
        self._wifi = Wifi(config["wifi"])
        self.clock = Clock(config["ntp"], stream.exchange_datagram)
        self._session = session.Session(limits["rx_bytes"], limits["tx_bytes"])
        self._backoff = Backoff(_draw)
        self._stream: stream.Stream | None = None
        self._task: asyncio.Task | None = None
        self._sending = asyncio.Lock()
        self._is_connected = asyncio.Event()
        self._changed = asyncio.Event()  # the reader ended, or an acknowledgement came
        # Packet identifier -> publish of QoS 1 that is not acknowledged.
        self._pending: dict[int, _Pending] = {}
        self._subscriptions: list[Inbox] = []
        self._failure: KeyfobError | None = None

    async def __aenter__(self) -> "Client":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind, error, trace) -> None:
        if self._task:
            self._task.cancel()
        if self._is_connected.is_set():
            try:
                await self._publish_now(self.status_topic, b"offline", 0, True)
                async with self._sending:
                    await self._write(self._session.disconnect())
            except KeyfobError as failure:
                emit_error(failure)  # closing anyway; the will says offline instead
        self._drop()

    # -- for applications --------------------------------------------------------------

    def is_connected(self) -> bool:
        return self._is_connected.is_set()

    async def connected(self) -> None:
        """Return once there is a connection; at once if there is."""
        await self._is_connected.wait()

    async def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Send a message. QoS 0: returns once it is sent. QoS 1: once the broker has it,
        over as many connections as that takes.

        Waits while there is no connection or ``limits.inflight`` messages are on their
        way. Errors: mqtt.bad-topic, mqtt.too-large.
        """
        packets.check_topic(topic)
        if len(payload) > self._payload_bytes:
            detail = "payload of %d bytes, limit %d" % (len(payload), self._payload_bytes)
            raise KeyfobError("mqtt.too-large", detail)
        self._check_fits(len(topic.encode()) + len(payload))
        if qos:
            await self._publish_acknowledged(topic, payload, retain)
        else:
            await self._publish_once(topic, payload, retain)
        emit("publish", topic=topic, bytes=len(payload))

    async def subscribe(self, topic_filter: str, qos: int = 1) -> Inbox:
        """Ask for messages of ``topic_filter``, now and after every reconnect.

        Returns their `Inbox` at once; the broker is asked as soon as there is a
        connection. A broker that refuses is the ``error`` mqtt.subscribe-refused.
        """
        inbox = self._find_inbox(topic_filter)
        if not inbox:
            packets.check_filter(topic_filter)
            self._check_fits(len(topic_filter.encode()))
            inbox = Inbox(topic_filter, min(qos, 1))
            self._subscriptions.append(inbox)
        if self._is_connected.is_set() and not (inbox.is_granted or inbox.packet_id):
            try:
                await self._ask_subscription(inbox)
            except KeyfobError as error:
                self._fail(error)  # asked again by the next connection
        return inbox

    def messages(self, topic_filter: str) -> Messages:
        """The messages of ``topic_filter``, for ``async for``; subscribes if need be."""
        return Messages(self, topic_filter)

    def _check_fits(self, size: int) -> None:
        # Before it waits in a queue, where it would end one connection after the other.
        if size + _PACKET_OVERHEAD_BYTES > self._tx_bytes:
            detail = "topic and payload of %d bytes, buffer %d" % (size, self._tx_bytes)
            raise KeyfobError("mqtt.too-large", detail)

    # -- publishing ----------------------------------------------------------------------

    async def _publish_once(self, topic: str, payload: bytes, retain: bool) -> None:
        while True:
            await self._is_connected.wait()
            try:
                await self._publish_now(topic, payload, 0, retain)
                return
            except KeyfobError as error:
                self._fail(error)
                await asyncio.sleep_ms(_TICK_MS)  # until the connection is dropped

    async def _publish_acknowledged(self, topic: str, payload: bytes, retain: bool) -> None:
        while len(self._pending) >= self._inflight:
            self._changed.clear()
            await self._changed.wait()
        packet_id = self._session.take_id(session.PUBACK)
        pending = _Pending(topic, payload, retain)
        self._pending[packet_id] = pending
        if self._is_connected.is_set():
            await self._send_pending(packet_id, pending)
        await pending.done.wait()

    async def _send_pending(self, packet_id: int, pending: "_Pending") -> None:
        try:
            dup = pending.was_sent
            pending.was_sent = True
            pending.sent_ms = now_ms()
            await self._publish_now(
                pending.topic, pending.payload, 1, pending.retain, packet_id, dup
            )
        except KeyfobError as error:
            self._fail(error)  # sent again by the next connection

    async def _publish_now(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        packet_id: int = 0,
        dup: bool = False,
    ) -> None:
        async with self._sending:
            await self._write(
                self._session.publish(now_ms(), topic, payload, qos, retain, packet_id, dup)
            )

    async def _write(self, size: int) -> None:
        """Send ``size`` bytes of the session's buffer; the caller holds `_sending`."""
        await self._live_stream().write(memoryview(self._session.tx)[:size])

    def _live_stream(self) -> stream.Stream:
        if not self._stream:
            raise KeyfobError("mqtt.not-connected", "connection was dropped")
        return self._stream

    # -- the connection --------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            error = await self._one_connection()
            self._drop()
            delay_ms = self._backoff.next_ms(is_stop(error.code))
            emit_error(error, delay_ms)
            await asyncio.sleep_ms(delay_ms)

    async def _one_connection(self) -> KeyfobError:
        """Connect and serve until it ends; returns why."""
        try:
            await self._connect()
            self._backoff.reset()
            error = await self._serve()
        except KeyfobError as failure:
            error = failure
        except MemoryError as failure:
            error = KeyfobError("tls.no-memory", str(failure))
        if error.code in ("x509.expired", "x509.not-yet-valid"):
            self.clock.doubt()  # it may be our clock that is wrong
        if self._is_connected.is_set():
            emit("mqtt.down", code=error.code, detail=error.detail)
        return error

    async def _connect(self) -> None:
        self._failure = None
        await self._wifi.join()
        if self.clock.is_due():
            await self._set_clock()
        self._stream = await self._open_stream()
        session_present = await self._open_session()
        await self._restore(session_present)

    async def _set_clock(self) -> None:
        try:
            await self.clock.set()
        except KeyfobError as error:
            if not self.clock.is_set():
                raise
            emit_error(error)  # a clock that was set once goes on by itself

    async def _open_stream(self) -> stream.Stream:
        identity = store.load(self._device_id)
        ends_s = Certificate(identity.read("cert.der")).not_after_s
        emit("store.loaded", slot=identity.slot, cert=identity.cert_sha256(), not_after_s=ends_s)
        host, port = self._broker["host"], self._broker["port"]
        opened = await stream.connect(host, port, identity, self.clock)
        version, cipher = opened.session()
        emit("tls.up", version=version, cipher=cipher, host=host)
        return opened

    async def _open_session(self) -> bool:
        """CONNECT to CONNACK; whether the broker kept the session."""
        broker = self._broker
        will = (self.status_topic, b"offline", 1, True)
        async with self._sending:
            await self._write(
                self._session.start(now_ms(), self._device_id, broker["keepalive_s"], False, will)
            )
        try:
            present: bool = await asyncio.wait_for_ms(self._read_connack(), _CONNACK_LIMIT_MS)
        except asyncio.TimeoutError:
            raise KeyfobError("mqtt.no-connack", "%d ms" % _CONNACK_LIMIT_MS)
        emit(
            "mqtt.up",
            host=broker["host"],
            port=broker["port"],
            client_id=self._device_id,
            session_present=present,
        )
        return present

    async def _read_connack(self) -> bool:
        while True:
            event = self._session.next_event()
            if event:
                return event[1]
            await self._receive()

    async def _restore(self, session_present: bool) -> None:
        """Say that we are here, then ask and send again what the last connection left."""
        unacknowledged = sorted(self._pending)
        for inbox in self._subscriptions:
            inbox.is_granted = inbox.is_granted and session_present
        # From here on other tasks may send, and add to both lists what they sent.
        self._is_connected.set()
        await self._publish_now(self.status_topic, b"online", 0, True)
        for inbox in self._subscriptions:
            if not (inbox.is_granted or inbox.packet_id):
                await self._ask_subscription(inbox)
        for packet_id in unacknowledged:
            await self._send_pending(packet_id, self._pending[packet_id])

    async def _ask_subscription(self, inbox: Inbox) -> None:
        inbox.packet_id = self._session.take_id(session.SUBACK)
        async with self._sending:
            await self._write(
                self._session.subscribe(now_ms(), inbox.topic_filter, inbox.qos, inbox.packet_id)
            )

    async def _serve(self) -> KeyfobError:
        """Keep alive while `_read` reads; returns what ended the connection, or raises it."""
        reader = asyncio.create_task(self._read())
        try:
            while not self._failure:
                await asyncio.sleep_ms(_TICK_MS)
                self._wifi.check_up()
                self._check_pending()
                self.clock.keep()
                if self._session.ping_is_due(now_ms()):
                    async with self._sending:
                        await self._write(self._session.ping(now_ms()))
            return self._failure
        finally:
            reader.cancel()

    async def _read(self) -> None:
        try:
            while True:
                event = self._session.next_event()
                if event:
                    await self._handle(event)
                else:
                    await self._receive()
        except KeyfobError as error:
            self._fail(error)
        except MemoryError as error:
            self._fail(KeyfobError("tls.no-memory", "reading: %s" % error))

    async def _receive(self) -> None:
        self._session.received(await self._live_stream().read(self._session.room()))

    def _fail(self, error: KeyfobError) -> None:
        # The first error is the cause; those after it are its consequences.
        self._failure = self._failure or error

    def _check_pending(self) -> None:
        for packet_id in self._pending:
            pending = self._pending[packet_id]
            waited_ms = session.since(pending.sent_ms, now_ms())
            if pending.was_sent and waited_ms > _PUBACK_LIMIT_MS:
                raise KeyfobError("mqtt.no-puback", "identifier %d, %d ms" % (packet_id, waited_ms))

    async def _handle(self, event: tuple) -> None:
        kind = event[0]
        if kind == session.PUBLISH:
            _, topic, payload, qos, retain, _, packet_id = event
            self._deliver(Message(topic, payload, qos, retain))
            if qos:
                async with self._sending:
                    await self._write(self._session.acknowledge(now_ms(), packet_id))
        elif kind == session.PUBACK:
            pending = self._pending.pop(event[1], None)
            if pending:
                pending.done.set()
                self._changed.set()
        elif kind == session.SUBACK:
            self._subscribed(event[1], event[2])

    def _subscribed(self, packet_id: int, code: int) -> None:
        for inbox in self._subscriptions:
            if inbox.packet_id == packet_id:
                inbox.packet_id = 0
                inbox.is_granted = code != 0x80
                if not inbox.is_granted:
                    emit_error(KeyfobError("mqtt.subscribe-refused", inbox.topic_filter))

    def _deliver(self, message: Message) -> None:
        for inbox in self._subscriptions:
            if packets.matches(inbox.topic_filter, message.topic):
                inbox.put(message)

    def _find_inbox(self, topic_filter: str):
        for inbox in self._subscriptions:
            if inbox.topic_filter == topic_filter:
                return inbox
        return None

    def _drop(self) -> None:
        self._is_connected.clear()
        for inbox in self._subscriptions:
            inbox.packet_id = 0
        if self._stream:
            self._stream.close()
            self._stream = None


def _draw() -> bytes:
    return os.urandom(2)


class _Pending:
    """A publish of QoS 1 that the broker has not acknowledged."""

    def __init__(self, topic: str, payload: bytes, retain: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.retain = retain
        self.was_sent = False
        self.sent_ms = 0
        self.done = asyncio.Event()
