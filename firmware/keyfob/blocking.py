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

import asyncio
import time

from micropython import const

from keyfob.client import make_session
from keyfob.errors import KeyfobError
from keyfob.events import emit_error, now_ms
from keyfob.inbox import Message
from keyfob.mqtt import packets, session
from keyfob.uplink import Uplink

_CONNACK_LIMIT_MS = const(15_000)
_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)


class BlockingClient:
    """``config``: the checked settings. ``session_present``: what the last CONNACK said."""

    def __init__(self, config: dict) -> None:
        self._config = config
        self._uplink = Uplink(config)
        self._session = make_session(config)
        self._stream = None
        self._messages: list[Message] = []
        self._taken: Message | None = None
        self._answer = 0  # reason code of the last SUBACK or UNSUBACK

    def connect(self, clean: bool = False) -> bool:
        """Connect; whether the broker kept the session. Errors: those of `keyfob.uplink`
        and of the broker (mqtt.not-authorized, …), mqtt.no-connack."""
        self.close()
        self._stream = asyncio.run(self._uplink.open())
        state, broker = self._session, self._config["broker"]
        state.start(now_ms(), self._config["device_id"], broker["keepalive_s"], clean)
        state.session_present = None
        self._wait(lambda: state.session_present is not None, _CONNACK_LIMIT_MS, "mqtt.no-connack")
        for outgoing in list(state.inflight):
            self._flush()
            state.resend(now_ms(), outgoing)
        self._flush()
        return state.session_present

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Returns when it is sent (QoS 0) or when the broker has it. Errors: mqtt.bad-topic,
        mqtt.too-large, mqtt.no-puback, and what ends a connection."""
        packets.check_topic(topic)
        outgoing = session.Outgoing(topic, payload, qos, retain)
        self._session.publish(now_ms(), outgoing)
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
        packets.check_filter(topic_filter)
        self._answer = -1
        self._session.subscribe(now_ms(), topic_filter, options)
        self._wait(lambda: self._answer >= 0)
        if self._answer >= 128:
            detail = "%s: code %d" % (topic_filter, self._answer)
            raise KeyfobError("mqtt.subscribe-refused", detail)

    def receive(self, limit_ms: int):
        """The next message, or None after ``limit_ms``; the one before is acknowledged."""
        if self._taken and self._taken.receipt:
            self._session.handled(self._taken.receipt)
        self._taken = None
        self._wait(lambda: self._messages, limit_ms)
        if self._messages:
            self._taken = self._messages.pop(0)
        return self._taken

    def disconnect(self) -> None:
        """Acknowledge what was received, say goodbye, close."""
        if self._taken and self._taken.receipt:
            self._session.handled(self._taken.receipt)
        self._taken = None
        self._session.disconnect()
        self._flush()
        self.close()

    def close(self) -> None:
        """Close without a word."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()

    def _wait(self, is_over, limit_ms: int = 0, code: str = "") -> None:
        """Read and keep alive until ``is_over()``, or for ``limit_ms``."""
        started_ms = now_ms()
        state = self._session
        self._flush()
        while not is_over():
            left_ms = _TICK_MS
            if limit_ms:
                left_ms = min(left_ms, limit_ms - session.since(started_ms, now_ms()))
                if left_ms <= 0:
                    if code:
                        raise KeyfobError(code, "%d ms" % limit_ms)
                    return
            self._read(left_ms)
            state.tick(now_ms())
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
        if event == session.PUBLISH:
            if state.left:
                detail = "%d bytes of %s" % (state.size, state.topic)
                emit_error(KeyfobError("mqtt.too-large", detail))
                if state.receipt:
                    state.handled(state.receipt)
                return
            message = Message(state.topic, state.payload, state.qos, state.retain)
            message.receipt, message.properties = state.receipt, state.properties
            self._messages.append(message)
        elif event == session.PUBACK:
            state.outgoing.is_done = True
        elif event in (session.SUBACK, session.UNSUBACK):
            self._answer = state.code

    def _flush(self) -> None:
        state, at, started_ms = self._session, 0, now_ms()
        end = state.pack()
        while at < end:
            count = self._live_stream().write_now(memoryview(state.tx)[at:end])
            at += count or 0
            if not count:
                if session.since(started_ms, now_ms()) > _WRITE_LIMIT_MS:
                    raise KeyfobError("tls.write-timeout", "%d of %d bytes" % (at, end))
                time.sleep_ms(_POLL_MS)
        state.sent(end)

    def _live_stream(self):
        if not self._stream:
            raise KeyfobError("mqtt.not-connected", "connect first")
        return self._stream
