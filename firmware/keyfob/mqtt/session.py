"""An MQTT 3.1.1 session without I/O: bytes in, events out; requests in, packets out.

It knows which packets are in order, which packet identifiers are in use, and when
the keep alive is due (time comes in as ``now_ms``, any counter that `since` can
subtract). QoS 0 and 1. After an error it stays failed until `start`.

Not here: what was published (the caller keeps it until its PUBACK, and sends it
again after a reconnect), and reading or writing the connection.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt import packets

# What `next_event` returns has one of these first.
CONNACK = const(2)  # (CONNACK, session present)
PUBLISH = const(3)  # (PUBLISH, topic, payload, qos, retain, dup, packet identifier)
PUBACK = const(4)  # (PUBACK, packet identifier)
SUBACK = const(9)  # (SUBACK, packet identifier, granted QoS or 128)
UNSUBACK = const(11)  # (UNSUBACK, packet identifier)
PINGRESP = const(13)  # (PINGRESP,)

_IDLE = const(0)
_WAITS_FOR_CONNACK = const(1)
_OPEN = const(2)
_FAILED = const(3)

# Section 3.2.2.3, return codes 1 to 5.
_REFUSALS = (
    "mqtt.unacceptable-protocol",
    "mqtt.identifier-rejected",
    "mqtt.server-unavailable",
    "mqtt.bad-credentials",
    "mqtt.not-authorized",
)
_TICKS_MASK = const(0x3FFF_FFFF)


class Session:
    """One session over any number of connections.

    ``rx_bytes``, ``tx_bytes``: sizes of the two buffers, allocated here once. A packet
    put into `tx` is valid until the next request; the caller sends ``tx[:size]``.
    """

    def __init__(self, rx_bytes: int, tx_bytes: int) -> None:
        self.tx = bytearray(tx_bytes)
        self._rx = bytearray(rx_bytes)
        self._rx_view = memoryview(self._rx)
        self._used: dict[int, int] = {}  # packet identifier -> type of the acknowledgement awaited
        self._last_id = 0
        self.keepalive_ms = 0
        self._reset()

    def _reset(self) -> None:
        self._state = _IDLE
        self._end = 0
        self._sent_ms = 0
        self._ping_ms = 0
        self._ping_is_out = False

    # -- requests: each writes one packet to `tx` and returns its size --------------

    def start(
        self, now_ms: int, client_id: str, keepalive_s: int, clean_session: bool, will=None
    ) -> int:
        """A new connection: CONNECT. Packet identifiers of publishes stay in use."""
        self._reset()
        for packet_id in list(self._used):
            if self._used[packet_id] != PUBACK:
                del self._used[packet_id]
        self.keepalive_ms = keepalive_s * 1000
        size = packets.put_connect(self.tx, client_id, keepalive_s, clean_session, will)
        self._state = _WAITS_FOR_CONNACK
        self._sent_ms = now_ms
        return size

    def publish(
        self,
        now_ms: int,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        packet_id: int = 0,
        dup: bool = False,
    ) -> int:
        """PUBLISH. At QoS 1 with an identifier from `take_id`; the event is PUBACK."""
        self._check_open()
        size = packets.put_publish(self.tx, topic, payload, qos, retain, packet_id, dup)
        self._sent_ms = now_ms
        return size

    def acknowledge(self, now_ms: int, packet_id: int) -> int:
        """PUBACK for a received PUBLISH of QoS 1."""
        self._check_open()
        self._sent_ms = now_ms
        return packets.put_puback(self.tx, packet_id)

    def subscribe(self, now_ms: int, topic_filter: str, qos: int, packet_id: int) -> int:
        """SUBSCRIBE with an identifier from `take_id`; the event is SUBACK."""
        self._check_open()
        self._sent_ms = now_ms
        return packets.put_subscribe(self.tx, packet_id, topic_filter, qos)

    def unsubscribe(self, now_ms: int, topic_filter: str, packet_id: int) -> int:
        """UNSUBSCRIBE with an identifier from `take_id`; the event is UNSUBACK."""
        self._check_open()
        self._sent_ms = now_ms
        return packets.put_unsubscribe(self.tx, packet_id, topic_filter)

    def ping(self, now_ms: int) -> int:
        """PINGREQ; the event is PINGRESP."""
        self._check_open()
        self._sent_ms = self._ping_ms = now_ms
        self._ping_is_out = True
        return packets.put_empty(self.tx, packets.PINGREQ)

    def disconnect(self) -> int:
        """DISCONNECT: the broker drops the will. Nothing can follow but `start`."""
        self._check_open()
        self._state = _IDLE
        return packets.put_empty(self.tx, packets.DISCONNECT)

    def take_id(self, awaited: int) -> int:
        """A packet identifier that is not in use; ``awaited``: PUBACK, SUBACK or UNSUBACK.

        Errors: mqtt.no-identifier when all 65,535 are taken.
        """
        for _ in range(65_535):
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._used:
                self._used[self._last_id] = awaited
                return self._last_id
        raise KeyfobError("mqtt.no-identifier", "65535 in use")

    # -- keep alive ------------------------------------------------------------------

    def ping_is_due(self, now_ms: int) -> bool:
        """Nothing was sent for three quarters of the keep alive (section 3.1.2.10).

        A quarter is left for the packet to arrive. Errors: mqtt.no-pingresp when the
        last PINGREQ was not answered within half the keep alive.
        """
        if self._state != _OPEN or not self.keepalive_ms:
            return False
        if self._ping_is_out:
            waited_ms = since(self._ping_ms, now_ms)
            if waited_ms > self.keepalive_ms // 2:
                raise self._fail(KeyfobError("mqtt.no-pingresp", "%d ms" % waited_ms))
            return False
        return since(self._sent_ms, now_ms) >= self.keepalive_ms - self.keepalive_ms // 4

    # -- what the broker sends ---------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next received bytes go; valid until `received`. Never empty after
        `next_event` returned None."""
        return self._rx_view[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes were written to the start of `room`."""
        self._end += count

    def next_event(self):
        """The next whole packet as a tuple (see the constants above), or None.

        Errors: mqtt.malformed, mqtt.unexpected, mqtt.too-large, and for a refusing
        CONNACK its return code's (mqtt.not-authorized, …).
        """
        if self._state == _FAILED:
            raise KeyfobError("mqtt.unexpected", "session failed before")
        try:
            return self._next_event()
        except KeyfobError as error:
            raise self._fail(error)

    def _next_event(self):
        at, size = packets.read_remaining_length(self._rx, self._end)
        if not at:
            return None
        if size > len(self._rx):
            raise KeyfobError(
                "mqtt.too-large", "%d bytes received, room for %d" % (size, len(self._rx))
            )
        if size > self._end:
            return None
        event = self._read(self._rx[0] >> 4, at, size)
        # The rest moves to the front; a packet that waits behind is seldom long.
        rest = self._end - size
        self._rx[:rest] = self._rx_view[size : self._end]
        self._end = rest
        return event

    def _read(self, kind: int, at: int, end: int) -> tuple:
        if self._state != (_WAITS_FOR_CONNACK if kind == CONNACK else _OPEN):
            raise KeyfobError("mqtt.unexpected", "packet type %d in state %d" % (kind, self._state))
        if kind == PUBLISH:
            return self._read_publish(at, end)
        if kind == PUBACK:
            packet_id = packets.read_ack(self._rx, at, end)
            # Not in use: the answer to a duplicate that a first PUBACK overtook.
            if self._used.get(packet_id) == PUBACK:
                del self._used[packet_id]
            return PUBACK, packet_id
        if kind == PINGRESP:
            packets.read_pingresp(self._rx, at, end)
            self._ping_is_out = False
            return (PINGRESP,)
        if kind == CONNACK:
            return self._read_connack(at, end)
        if kind == SUBACK:
            packet_id, code = packets.read_suback(self._rx, at, end)
            self._release(packet_id, SUBACK)
            return SUBACK, packet_id, code
        if kind == UNSUBACK:
            packet_id = packets.read_ack(self._rx, at, end)
            self._release(packet_id, UNSUBACK)
            return UNSUBACK, packet_id
        raise KeyfobError("mqtt.unexpected", "packet type %d" % kind)

    def _read_connack(self, at: int, end: int) -> tuple:
        session_present, code = packets.read_connack(self._rx, at, end)
        if code:
            if code > len(_REFUSALS):
                raise packets.malformed("CONNACK return code", code)
            raise KeyfobError(_REFUSALS[code - 1], "CONNACK return code %d" % code)
        self._state = _OPEN
        return CONNACK, session_present

    def _read_publish(self, at: int, end: int) -> tuple:
        topic, at, qos, retain, dup, packet_id = packets.read_publish(self._rx, at, end)
        if qos == 2:
            # We never subscribe with QoS 2, so no broker may send it (section 3.8.4).
            raise KeyfobError("mqtt.unexpected", "PUBLISH of QoS 2")
        return PUBLISH, topic, bytes(self._rx_view[at:end]), qos, retain, dup, packet_id

    def _release(self, packet_id: int, kind: int) -> None:
        if self._used.get(packet_id) != kind:
            raise KeyfobError(
                "mqtt.unexpected", "packet type %d for identifier %d" % (kind, packet_id)
            )
        del self._used[packet_id]

    def _check_open(self) -> None:
        if self._state != _OPEN:
            raise KeyfobError("mqtt.not-connected", "state %d" % self._state)

    def _fail(self, error: KeyfobError) -> KeyfobError:
        self._state = _FAILED
        return error


def since(then_ms: int, now_ms: int) -> int:
    """Milliseconds from one to the other."""
    # Counters wrap at 2**30 on 32-bit ports; an interval is right modulo that.
    return (now_ms - then_ms) & _TICKS_MASK
