"""The client for scripts without asyncio: the same engine, and every call waits.

    client = BlockingClient(config.load())
    client.connect()
    client.publish("devices/x/reading", b"21.5")
    message = client.receive(10_000)
    client.disconnect()

Nothing happens between calls: `receive` often enough to keep the connection alive.
It does not reconnect by itself; after an error, `connect` again goes on where the
session was, with everything that is on its way. Messages larger than the buffer are
told (mqtt.too-large) and skipped.
"""

import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.mqtt import make_session
from keyfob.mqtt.publish import check_topic
from keyfob.mqtt.state import Outgoing, since
from keyfob.uplink import Uplink

_PUBLISH = const(3)
_PUBACK = const(4)
_SUBACK = const(9)
_UNSUBACK = const(11)
_CONNACK_LIMIT_MS = const(15_000)
_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)


def _any(value):
    """``value``, as what a checker of types takes for anything."""
    return value


_now_ms = _any(time.ticks_ms)


class Message:
    """A received message: ``topic``, ``payload`` (bytes), ``qos``, ``retain``.

    ``properties``: a dict of what an MQTT 5.0 broker sent with it, or None.
    """

    def __init__(self, state) -> None:
        self.topic = state.topic
        self.payload = state.payload
        self.qos = state.qos
        self.retain = state.retain
        self.properties = state.properties
        self.receipt = state.receipt


class BlockingClient:
    """``config``: the checked settings."""

    def __init__(self, config: dict) -> None:
        self._config = config
        self._uplink = Uplink(config)
        self._session = make_session(config, config["broker"].get("version", 4), None)
        self._stream = None
        self._messages: list[Message] = []
        self._taken: Message | None = None
        self._answer = 0  # reason code of the last SUBACK or UNSUBACK

    def connect(self, clean: bool = False) -> bool:
        """Connect; whether the broker kept the session. Errors: those of `keyfob.uplink`
        and of the broker (mqtt.not-authorized, …), mqtt.no-connack."""
        import asyncio

        from keyfob.mqtt import connect

        self.close()
        self._stream = asyncio.run(self._uplink.open())
        state, broker = self._session, self._config["broker"]
        connect.connect(state, _now_ms(), self._config["device_id"], broker["keepalive_s"], clean)
        is_up = lambda: state.state > 1  # noqa: E731 - a name costs more
        self._wait(is_up, _CONNACK_LIMIT_MS, "mqtt.no-connack")
        for outgoing in list(state.inflight):
            self._flush()
            connect.resend(state, _now_ms(), outgoing)
        self._flush()
        self._settle()
        return state.session_present

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Returns when it is sent (QoS 0) or when the broker has it. Errors: mqtt.bad-topic,
        mqtt.too-large, mqtt.no-puback, and what ends a connection."""
        check_topic(topic)
        outgoing = Outgoing(topic, payload, qos, retain)
        self._session.publish(_now_ms(), outgoing)
        self._wait(lambda: not qos or outgoing.is_done)
        if outgoing.code >= 128:
            from keyfob.mqtt.reasons import refusal

            raise refusal(outgoing.code, topic, None)

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Returns when the broker agreed. Errors: mqtt.bad-topic, mqtt.subscribe-refused."""
        self._ask(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Returns when the broker agreed."""
        self._ask(topic_filter, -1)

    def _ask(self, topic_filter: str, options: int) -> None:
        from keyfob.mqtt import subscribe

        subscribe.check_filter(topic_filter)
        self._answer = -1
        subscribe.subscribe(self._session, _now_ms(), topic_filter, options)
        self._wait(lambda: self._answer >= 0)
        self._settle()
        if self._answer >= 128:
            detail = "%s: code %d" % (topic_filter, self._answer)
            raise KeyfobError("mqtt.subscribe-refused", detail)

    def _settle(self) -> None:
        """What only that took can go; of 5.0 it is needed all the time."""
        if self._session.version == 4:
            drop("mqtt.connect", "mqtt.subscribe")

    def receive(self, limit_ms: int):
        """The next message, or None after ``limit_ms``; the one before is acknowledged."""
        self._acknowledge()
        self._wait(lambda: self._messages, limit_ms)
        if self._messages:
            self._taken = self._messages.pop(0)
        return self._taken

    def _acknowledge(self) -> None:
        taken, self._taken = self._taken, None
        if taken and taken.receipt:
            self._session.handled(taken.receipt)

    def disconnect(self) -> None:
        """Acknowledge what was received, say goodbye, close."""
        from keyfob.mqtt import connect

        self._acknowledge()
        connect.disconnect(self._session)
        self._flush()
        self.close()

    def close(self) -> None:
        """Close without a word."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()

    def _wait(self, is_over, limit_ms: int = 0, code: str = "") -> None:
        """Read and keep alive until ``is_over()``, or for ``limit_ms``."""
        started_ms = _now_ms()
        state = self._session
        self._flush()
        while not is_over():
            left_ms = _TICK_MS
            if limit_ms:
                left_ms = min(left_ms, limit_ms - since(started_ms, _now_ms()))
                if left_ms <= 0:
                    if code:
                        raise KeyfobError(code, "%d ms" % limit_ms)
                    return
            self._read(left_ms)
            state.tick(_now_ms())
            self._flush()

    def _read(self, limit_ms: int) -> None:
        state, stream = self._session, self._live_stream()
        count = stream.read_now(state.room())
        if not count and stream.poll(limit_ms):
            count = stream.read_now(state.room())
        state.received(count or 0)
        event = state.next_event()
        while event:
            self._handle(event)
            event = state.next_event()

    def _handle(self, event: int) -> None:
        state = self._session
        if event == _PUBLISH:
            if not state.left:
                self._messages.append(Message(state))
                return
            from keyfob.events import emit_error

            emit_error(KeyfobError("mqtt.too-large", "%d bytes of %s" % (state.size, state.topic)))
            if state.receipt:
                state.handled(state.receipt)
        elif event == _PUBACK:
            state.outgoing.is_done = True
        elif event in (_SUBACK, _UNSUBACK):
            self._answer = state.code

    def _flush(self) -> None:
        state, at, started_ms = self._session, 0, _now_ms()
        end = state.pack()
        while at < end:
            count = self._live_stream().write_now(memoryview(state.tx)[at:end])
            at += count or 0
            if not count:
                if since(started_ms, _now_ms()) > _WRITE_LIMIT_MS:
                    raise KeyfobError("tls.write-timeout", "%d of %d bytes" % (at, end))
                time.sleep_ms(_POLL_MS)
        state.sent(end)

    def _live_stream(self):
        if not self._stream:
            raise KeyfobError("mqtt.not-connected", "connect first")
        return self._stream
