"""The client for programs without asyncio: the same engine, and every call waits.

    client = BlockingClient(config.load())
    client.connect()
    client.publish("devices/x/reading", b"21.5")
    message = client.receive(10_000)
    client.disconnect()

Nothing happens between calls: `receive` often enough to keep the connection alive.
After an error, `connect` again goes on where the session was, with everything that is on
its way; `run_once` does so for a whole program. While it waits for an answer, which comes behind
whatever the broker has sent, no more messages are kept than ``limits.inbox``, nor more bytes
than ``limits.rx_bytes``: those of QoS 1 and 2 beyond are not acknowledged, and come again
with the next connection (mqtt.more-waiting). Messages larger than the buffer are told
(mqtt.too-large) and skipped, as are those of QoS 0 beyond ``limits.inbox`` that come while
the program waits for something else (mqtt.inbox-full). It takes 8 KB of heap less than
`keyfob.client`.
"""

import gc
import os
import time

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.mqtt.state import Outgoing, SessionState, since
from keyfob.stream import unload
from keyfob.uplink import Uplink
from keyfob.waiting import run

_PUBLISH = const(3)
_PUBACK = const(4)
_SUBACK = const(9)
_UNSUBACK = const(11)
_WRITE_LIMIT_MS = const(15_000)
_TICK_MS = const(500)
_POLL_MS = const(5)
_NO_MEMORY_MS = const(1_000)


def _any(value):
    """``value``, as what a checker of types takes for anything."""
    return value


_now_ms = _any(time.ticks_ms)


class BlockingClient:
    """``config``: the checked settings. ``will``: as that of `keyfob.client.Client`.

    ``clock``: the board's, see `keyfob.clock.Clock`.
    """

    # What `keyfob.connection` asks of a client beside the rest.
    inboxes = ()
    unwanted = ()
    draw = staticmethod(os.urandom)  # see `keyfob.client.Client.draw`

    def __init__(self, config: dict) -> None:
        # All attributes, as early as can be: the dictionary that they are in moves when there
        # is another one, and what lies in the middle of the heap later breaks it up.
        self.config = config
        self.session_present = False
        self.session = self.stream = self.tx = self.failure = self._shake = _any(None)
        self.attempts = self.quick_ends = 0
        self.blocked = 0  # how far a write reaches that would block
        self._blocked_ms = 0  # since when
        self._at = 0  # bytes of the buffer that are written
        self._ticked_ms = 0
        self.single = ""  # a topic of which one message waits at most: others go, acknowledged
        # See `keyfob.receiving`.
        self.deferred = 0  # messages that come again with the next connection
        self.receipt = _any(None)  # of the message that the program has
        self.messages: list = []
        self.status_topic = "devices/%s/status" % config["device_id"]
        self.will = (self.status_topic, b"offline", 1, True)
        self.uplink = Uplink(config)
        self.clock = self.uplink.clock
        self.version = config["broker"].get("version", 4)
        self.kept = SessionState()

    def run_once(self, program, *details) -> bool:
        """Connect and call ``program(client, *details)``; True when that returned. A failure is
        an ``error`` event, and waited for as `keyfob.backoff` says: call it again.

        Once, and not in a loop here: what a call leaves on the stack the collector takes
        for references, and a connection that is over has 4 KB of code.
        """
        up_ms = -1
        try:
            # As `connect` does it, but with two calls fewer below a handshake: the
            # ESP8266's stack holds 19, and a chain is judged in 12.
            self._open()
            while self._shake and not self._shake():
                time.sleep_ms(self.stream.pause_ms)
            self._establish(False)
            up_ms = _now_ms()
            program(self, *details)
            return True
        except (KeyfobError, MemoryError, RuntimeError) as error:
            # No stack is left, of which an ESP8266 has 8 KB; any other of these is a defect.
            if isinstance(error, RuntimeError) and "recursion" not in str(error):
                raise
            self.failure = error
        try:
            if self.receipt or self.messages:
                from keyfob.receiving import put_back

                put_back(self)
                del put_back
            if self.version == 4 or getattr(self.failure, "code", "")[:5] != "mqtt.":
                self.drop_connection()  # nothing is said in it any more, and telling wants the room
            if not isinstance(self.failure, KeyfobError):
                self.failure = KeyfobError("tls.no-memory", "connecting: %s" % self.failure)
            from keyfob.backoff import conclude

            wait_ms = conclude(self, up_ms)
            del conclude
        except MemoryError:
            # Not even enough to tell what failed.
            self.drop_connection()
            wait_ms = _NO_MEMORY_MS
        unload(True)
        drop("backoff")
        time.sleep_ms(wait_ms)
        return False

    def connect(self, clean: bool = False) -> bool:
        """Connect; whether the broker kept the session. Errors: those of `keyfob.uplink`
        and of the broker (mqtt.not-authorized, …), mqtt.no-connack."""
        try:
            self._open()
            while self._shake and not self._shake():
                time.sleep_ms(self.stream.pause_ms)
            self._establish(clean)
        except BaseException:
            self.drop_connection()
            raise
        return self.session_present

    def _open(self) -> None:
        """A stream to the broker; hands are shaken with `_shake`, if there is one."""
        self.drop_connection()
        self.failure = None
        unload()
        drop(
            "mqtt.session", "mqtt.session5", "mqtt.properties", "mqtt.granted", "mqtt.reasons",
            "mqtt.publish", "mqtt.acks", "receiving",
        )  # fmt: skip
        is_flat = self.config["tls"]["engine"] == "keyfob"
        self.stream = run(self.uplink.open(is_flat))
        if is_flat:
            self._shake = self.stream.shake

    def _establish(self, clean: bool) -> None:
        """MQTT over the stream whose hands are shaken."""
        if self._shake:
            self.uplink.tell(self.stream)
        from keyfob.connection import establish

        run(establish(self, clean))
        del establish
        self._settle()
        import keyfob.receiving  # noqa: F401 - before calls go deeper

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Returns when it is sent (QoS 0) or when the broker has it. Errors: mqtt.bad-topic,
        mqtt.qos-not-supported, mqtt.too-large, mqtt.no-puback, and what ends a connection."""
        from keyfob.mqtt.publish import check_topic

        check_topic(topic, qos)
        outgoing = Outgoing(topic, payload, qos, retain)
        self._flush()
        # What the last connection left comes first, or one after the other would leave more.
        while qos and len(self.session.inflight) >= self.session.window:
            self._turn(_TICK_MS)
        self.session.publish(_now_ms(), outgoing)
        self._flush()
        while qos and not outgoing.is_done:
            self._turn(_TICK_MS)
        if outgoing.code >= 128:
            from keyfob.mqtt.reasons import refusal

            raise refusal(outgoing.code, topic, None)

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Returns when the broker agreed. Errors: mqtt.bad-topic, mqtt.subscribe-refused."""
        from keyfob.mqtt import subscribe

        subscribe.check_filter(topic_filter, qos)
        self._flush()
        asked = subscribe.subscribe(self.session, _now_ms(), topic_filter, qos)
        self._flush()
        while not asked.is_done:
            self._turn(_TICK_MS)
        subscribe.check_granted(topic_filter, asked.code)
        del subscribe
        self._settle()

    def unsubscribe(self, topic_filter: str) -> None:
        """Returns when the broker agreed."""
        self.subscribe(topic_filter, -1)

    def _settle(self) -> None:
        """What only that took can go."""
        drop("connection", "mqtt.subscribe", "mqtt.granted")

    def receive(self, limit_ms: int):
        """The next message, or None after ``limit_ms``; the one before is acknowledged. Those
        that the program has not got when the connection ends, in `run_once`, come again.
        Errors: mqtt.more-waiting, when it has all that there was room for."""
        started_ms = _now_ms()
        self._acknowledge()
        self._flush()
        while not self.messages:
            if self.deferred:
                # Only in a new connection the broker sends again.
                if self.will:
                    # With its answer it has our acknowledgements, which could be lost otherwise.
                    self.publish(self.status_topic, b"online", 1, True)
                self.attempts = 0  # what there was room for went well
                raise KeyfobError("mqtt.more-waiting", "%d come again" % self.deferred)
            left_ms = limit_ms - since(started_ms, _now_ms())
            if left_ms < 0:
                return None
            self._turn(min(left_ms, _TICK_MS), False)
            self.clock.keep()  # which may write a file: not where calls go deeper
        message = self.messages.pop(0)
        # Not the message: its class would keep a module beyond the connection.
        self.receipt = message.receipt
        return message

    def _acknowledge(self) -> None:
        receipt, self.receipt = self.receipt, None
        if receipt:
            self.kept.handled(receipt)

    def disconnect(self) -> None:
        """Acknowledge what was received, say goodbye, close."""
        from keyfob.connection import leave

        self._acknowledge()
        self._flush()  # behind DISCONNECT nobody reads it
        leave(self)
        self._flush()
        self.drop_connection()

    def drop_connection(self) -> None:
        """Close without a word."""
        if self.stream:
            self.stream.close()
            self.stream = None
        if self.session:
            self.session.reset(0, 0)
        self.session = self.tx = self._shake = None
        self._at = self.blocked = self.deferred = 0
        gc.collect()

    close = drop_connection

    # -- bytes -----------------------------------------------------------------------------

    def _turn(self, limit_ms: int, is_for_answer: bool = True) -> None:
        """Read what comes, waiting so long for it at most; keep alive, and write.

        Not ``is_for_answer``: up to the first message. What is behind it stays unread, for
        the broker to wait.
        """
        state, stream = self.session, self.stream
        event = state.next_event()
        if not event:
            count = stream.read_now(state.room())
            if not count and stream.poll(limit_ms):
                count = stream.read_now(state.room())
            state.received(count or 0)
            event = state.next_event()
        while event:
            if event == _PUBLISH:
                from keyfob.receiving import take

                take(self)
            elif event in (_PUBACK, _SUBACK, _UNSUBACK):
                self.attempts = 0  # the broker does not just hang up, see `keyfob.backoff`
                self.finish(state.outgoing)
            if self.messages and not is_for_answer:
                break
            event = state.next_event()
        now_ms = _now_ms()
        if since(self._ticked_ms, now_ms) >= _TICK_MS:
            self._ticked_ms = now_ms
            self.uplink.check_up()
        state.tick(now_ms, event > 0)  # answers may be behind what stays unread
        self._flush()

    def finish(self, outgoing: Outgoing) -> None:
        """The broker has it, or never will."""
        outgoing.is_done = True

    def flush_now(self) -> bool:
        """Write without waiting what there is; True if nothing is left. Errors:
        mqtt.not-connected, tls.write-timeout, and why the connection ended."""
        state, stream = self.session, self.stream
        if not stream:
            raise KeyfobError("mqtt.not-connected", "connect first")
        end = self.blocked
        while True:
            end = end or state.pack()
            if not end:
                return True
            count = stream.write_now(self.tx[self._at : end])
            if not count:
                if not self.blocked:
                    self.blocked, self._blocked_ms = end, _now_ms()
                elif since(self._blocked_ms, _now_ms()) > _WRITE_LIMIT_MS:
                    raise KeyfobError("tls.write-timeout", "%d of %d bytes" % (self._at, end))
                return False
            self._at += count
            if self._at == end:
                state.sent(end)
                self._at = self.blocked = end = 0

    async def flush(self) -> None:
        """Write everything, waiting if need be; for `keyfob.connection`."""
        self._flush()

    def _flush(self) -> None:
        while not self.flush_now():
            time.sleep_ms(_POLL_MS)
