"""An MQTT session without I/O: bytes in, events out; requests in, bytes to send out.

It knows which packets are in order, which packet identifiers are in use, what is on
its way in both directions, and which time limits have passed (time comes in as
``now_ms``, any counter that `since` can subtract). This is all of 3.1.1; `session5`
adds 5.0. After an error it stays failed until `start`.

State survives reconnects: `start` keeps what was published and not acknowledged, and
the identifiers of received QoS 2 messages; the CONNACK says whether the broker did.

Not here: connections, subscriptions (the caller asks again), and whose a message is.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt import packets

# What `next_event` returns: what the broker sent, 0 if there is not all of it.
CONNACK = const(2)  # session_present
PUBLISH = const(3)  # topic, payload, size, qos, retain, receipt, properties
PUBACK = const(4)  # outgoing: the broker has it, or refused it with its `code`
PUBREC = const(5)  # outgoing: the broker has it; PUBREL goes out with the next `pack`
SUBACK = const(9)  # packet_id, code: granted QoS or 128 and above
UNSUBACK = const(11)  # packet_id, code
PINGRESP = const(13)
PART = const(16)  # payload: the next piece of the last PUBLISH, whose size was larger

_PUBREL = const(6)
_PUBCOMP = const(7)
_IDLE = const(0)
_WAITS_FOR_CONNACK = const(1)
_OPEN = const(2)
_FAILED = const(3)
_ACK_LIMIT_MS = const(20_000)  # PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK
_PING_LIMIT_MS = const(20_000)
_MOST_HELD = const(256)
_QUICK_BYTES = const(128)  # every buffer is as large, and the remaining length is one byte
_MOST_ID = const(0xFEFF)  # packet identifiers above are the outbox's, see `keyfob.outbox`
# The identifiers above are those of stored messages (`keyfob.outbox`).
_LAST_ID = const(0xFEFF)
_TICKS_MASK = const(0x3FFF_FFFF)


class Outgoing:
    """A PUBLISH on its way. ``size`` is given if ``payload`` is read while it is sent."""

    packet_id = 0
    awaits = 0  # type of the packet that acknowledges it; 0 until it was sent
    code = 0  # reason code of that packet
    sent_ms = 0
    properties = None
    # The caller's: whether it is over, who waits for that, and what came of it.
    is_done = False
    event = error = answer = token = None

    def __init__(self, topic: str, payload, qos: int, retain: bool, size: int = -1) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.size = size


class Session:
    """One session over any number of connections.

    ``rx_bytes``, ``tx_bytes``: sizes of the two buffers, allocated here once.
    ``window``: how many messages may be unacknowledged at once.
    """

    version = 4
    session_present = False
    properties = None  # of the last packet that can have any: a dict, in 5.0

    def __init__(self, rx_bytes: int, tx_bytes: int, window: int = 4) -> None:
        self.tx = bytearray(tx_bytes)
        self.tx_end = 0  # bytes of `tx` that are packets
        self.inflight: list[Outgoing] = []  # in the order of their first sending
        self.most_inflight = window
        self._window = window
        self._rx = bytearray(rx_bytes)
        self.rx = memoryview(self._rx)  # for `put_quick`'s caller; others take `room`
        self._asked: list[list] = []  # [packet identifier, type awaited, sent at]
        self._receipts: list[list] = []  # [packet identifier, QoS, is handled], in order
        self._held: list[int] = []  # identifiers of QoS 2 from PUBLISH to PUBREL
        self._name = b""  # topic of the last PUBLISH, as bytes
        self.topic = ""
        self._last_id = 0
        self.keepalive_ms = 0
        self._reset()

    def _reset(self) -> None:
        self._state = _IDLE
        self._start = self._end = self.left = self.tx_end = 0
        self._replies: list[int] = []  # first byte << 16 | packet identifier
        self._sent_ms = self._ping_ms = 0
        self._ping_is_out = False
        self.window = self._window

    # -- requests: each puts one packet into `tx`, or is mqtt.too-large -----------------

    def start(self, now_ms: int, client_id: str, keepalive_s: int, clean: bool, **more) -> None:
        """A new connection: CONNECT. ``more``: will, username, password."""
        self._reset()
        self._asked.clear()
        self.keepalive_ms = keepalive_s * 1000
        self._sent_ms = now_ms
        for outgoing in self.inflight:
            outgoing.sent_ms = now_ms
        self.tx_end = packets.put_connect(self.tx, 0, client_id, keepalive_s, clean, **more)
        self._state = _WAITS_FOR_CONNACK

    def publish(self, now_ms: int, outgoing: Outgoing) -> None:
        """PUBLISH, with DUP and its identifier if it was sent before. Event: PUBACK.

        Of an ``outgoing`` with a size only the head is put; the caller sends the payload
        directly behind it.
        """
        if self._state != _OPEN:
            self._check_open()
        first = 0x30 | outgoing.qos << 1 | outgoing.retain
        if outgoing.awaits:
            first |= 8
        elif outgoing.qos and not outgoing.packet_id:
            outgoing.packet_id = self.take_id()
        payload, size = outgoing.payload, outgoing.size
        if size < 0:
            size = len(payload)
        else:
            payload = None
        self._put_publish(first, outgoing, payload, size)
        if outgoing.qos and not outgoing.awaits:
            outgoing.awaits = PUBREC if outgoing.qos == 2 else PUBACK
            self.inflight.append(outgoing)
        outgoing.sent_ms = self._sent_ms = now_ms

    def put_quick(self, now_ms: int, topic: str, payload, retain: bool) -> int:
        """Put a short PUBLISH of QoS 1 if nothing else is on its way either way.

        Its packet identifier, or 0 if it is to go the usual way (`publish`). The caller
        sends ``tx[:quick_end]`` at once, and either finds its PUBACK to be all that
        comes into `rx`, or makes it one of `inflight`.
        """
        if self.inflight or self.tx_end or self._asked or self._replies or self.left:
            return 0
        name = topic.encode()
        size = len(name)
        end = size + len(payload) + 6
        if end > _QUICK_BYTES or self._start != self._end or isinstance(payload, tuple):
            return 0
        if self._end:
            self._start = self._end = 0
        packet_id = self._last_id = self._last_id % _MOST_ID + 1
        tx, at = self.tx, size + 4
        tx[0] = 0x32 | retain
        tx[1] = end - 2
        tx[2] = 0
        tx[3] = size
        tx[4:at] = name
        tx[at] = packet_id >> 8
        tx[at + 1] = packet_id & 255
        tx[at + 2 : end] = payload
        self.quick_end = end
        self._sent_ms = now_ms
        return packet_id

    def _put_publish(self, first: int, outgoing: Outgoing, payload, size: int) -> None:
        self.tx_end = packets.put_publish(
            self.tx, self.tx_end, first, outgoing.topic, outgoing.packet_id, b"", payload, size
        )

    def resend(self, now_ms: int, outgoing: Outgoing) -> bool:
        """After a CONNACK, one of `inflight` in its order: PUBLISH again, or PUBREL.

        False if there is nothing to send, as a new session of the broker's knows
        nothing of a message that the old one had taken: it is complete.
        """
        if outgoing.awaits != _PUBCOMP:
            self.publish(now_ms, outgoing)
        elif self.session_present:
            outgoing.sent_ms = now_ms
            self._replies.append(0x620000 | outgoing.packet_id)
        else:
            self.inflight.remove(outgoing)
            return False
        return True

    def subscribe(self, now_ms: int, topic_filter: str, options: int, properties=None) -> int:
        """SUBSCRIBE, or UNSUBSCRIBE if ``options`` is negative; its packet identifier.

        Events: SUBACK, UNSUBACK. ``options``: section 3.8.3.1; the QoS in 3.1.1.
        """
        self._check_open()
        packet_id = self.take_id()
        self._put_subscribe(packet_id, topic_filter, options, properties)
        self._asked.append([packet_id, SUBACK if options >= 0 else UNSUBACK, now_ms])
        self._sent_ms = now_ms
        return packet_id

    def _put_subscribe(self, packet_id: int, topic_filter: str, options: int, _) -> None:
        if options > 0:
            options &= 3
        self.tx_end = packets.put_subscribe(self.tx, self.tx_end, packet_id, topic_filter, options)

    def disconnect(self) -> None:
        """DISCONNECT: the broker drops the will. Nothing can follow but `start`."""
        self._check_open()
        self.tx_end = packets.put_header(self.tx, self.tx_end, 0xE0, 0)
        self._state = _IDLE

    def farewell(self, code: str) -> bytes:
        """What to send before a connection is closed for ``code``: nothing in 3.1.1."""
        return b""

    def handled(self, receipt: list) -> None:
        """The application is done with the message of ``receipt``: acknowledge it.

        In the order in which the messages came (section 4.6), so perhaps later. A
        receipt from before a new session is worth nothing.
        """
        receipt[2] = True
        while self._receipts and self._receipts[0][2]:
            packet_id, qos, _ = self._receipts.pop(0)
            self._replies.append((0x400000 if qos == 1 else 0x500000) | packet_id)

    def forget(self, receipt: list) -> None:
        """The message of ``receipt`` was not received whole; the broker sends it again."""
        if receipt in self._receipts:
            self._receipts.remove(receipt)
            if receipt[1] == 2:
                self._held.remove(receipt[0])

    def pack(self) -> int:
        """Put acknowledgements that are due behind what is in `tx`; how much there is now."""
        while self._replies and self.tx_end + 4 <= len(self.tx):
            reply = self._replies.pop(0)
            at = packets.put_header(self.tx, self.tx_end, reply >> 16, 2)
            self.tx_end = packets.put_u16(self.tx, at, reply & 0xFFFF)
        return self.tx_end

    def sent(self, count: int) -> None:
        """The first ``count`` bytes of `tx` are on their way; the rest moves to the front."""
        rest = self.tx_end - count
        if rest:
            self.tx[:rest] = self.tx[count : self.tx_end]
        self.tx_end = rest

    def take_id(self) -> int:
        """A packet identifier that is not in use. Errors: mqtt.no-identifier."""
        for _ in range(_LAST_ID):
            self._last_id = self._last_id % _LAST_ID + 1
            if not self._is_used(self._last_id):
                return self._last_id
        raise KeyfobError("mqtt.no-identifier", "%d in use" % _LAST_ID)

    def _is_used(self, packet_id: int) -> bool:
        for outgoing in self.inflight:
            if outgoing.packet_id == packet_id:
                return True
        return any(asked[0] == packet_id for asked in self._asked)

    # -- time limits ---------------------------------------------------------------------

    def awaits_answer(self) -> bool:
        """Whether the broker owes us anything that a caller may wait for."""
        return bool(self.inflight or self._asked)

    def tick(self, now_ms: int, is_deaf: bool = False) -> bool:
        """Whether a PINGREQ was put: nothing else was sent for three quarters of the keep
        alive (section 3.1.2.10). Call it every half second, or before it can matter.

        ``is_deaf``: the caller does not read now, so answers may have come.

        Errors: mqtt.no-puback, mqtt.no-suback, mqtt.no-pingresp.
        """
        if self._state != _OPEN:
            return False
        if not is_deaf:
            for outgoing in self.inflight:
                self._check_limit(outgoing.sent_ms, now_ms, "mqtt.no-puback", outgoing.packet_id)
            for packet_id, _, sent_ms in self._asked:
                self._check_limit(sent_ms, now_ms, "mqtt.no-suback", packet_id)
        if not self.keepalive_ms:
            return False
        if self._ping_is_out and not is_deaf:
            waited_ms = since(self._ping_ms, now_ms)
            if waited_ms > min(self.keepalive_ms // 2, _PING_LIMIT_MS):
                self._fail("mqtt.no-pingresp", "%d ms" % waited_ms)
            return False
        if is_deaf:
            self._ping_ms = now_ms
        if since(self._sent_ms, now_ms) < self.keepalive_ms - self.keepalive_ms // 4:
            return False
        self.tx_end = packets.put_header(self.tx, self.tx_end, 0xC0, 0)
        self._sent_ms = self._ping_ms = now_ms
        self._ping_is_out = True
        return True

    def _check_limit(self, sent_ms: int, now_ms: int, code: str, packet_id: int) -> None:
        waited_ms = since(sent_ms, now_ms)
        if waited_ms > _ACK_LIMIT_MS:
            self._fail(code, "identifier %d, %d ms" % (packet_id, waited_ms))

    def _fail(self, code: str, detail: str) -> None:
        self._state = _FAILED
        raise KeyfobError(code, detail)

    # -- what the broker sends -----------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next received bytes go; valid until `received`. Never empty after
        `next_event` returned 0. Pieces of payload handed out before are not valid any more."""
        if self._start:
            rest = self._end - self._start
            if rest:
                self._rx[:rest] = self.rx[self._start : self._end]
            self._start, self._end = 0, rest
        return self.rx[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes were written to the start of `room`."""
        self._end += count

    def next_event(self) -> int:
        """The type of the next whole packet (see the constants above), or 0.

        What it said is in the attributes that the constants name, until the next call.
        A PUBLISH larger than the buffer comes in pieces, the first with the PUBLISH; then
        ``payload`` is a view that is valid until the next call or `room`.
        Errors: mqtt.malformed, mqtt.unexpected, mqtt.too-large, and for a refusing
        CONNACK its return code's (mqtt.not-authorized, …).
        """
        try:
            if self.left:
                return self._next_part()
            while True:
                event = self._next()
                if event >= 0:
                    return event
        except KeyfobError:
            self._state = _FAILED
            raise

    def _next_part(self) -> int:
        count = min(self.left, self._end - self._start)
        if not count:
            return 0
        self.payload = self.rx[self._start : self._start + count]
        self._start += count
        self.left -= count
        return PART

    def _next(self) -> int:
        """The next event; 0 for want of bytes; -1 if the packet makes no event."""
        rx, start, have = self._rx, self._start, self._end
        if have - start < 2:
            if self._state == _FAILED:
                self._unexpected(0)
            return 0
        size = rx[start + 1]
        at = start + 2
        if size > 127:
            at, size = packets.read_remaining_length(rx, start + 1, have)
            if not at:
                return 0
        first = rx[start]
        kind = first >> 4
        end = at + size
        if end > have:
            if end - start <= len(rx):
                return 0
            self._check_size(kind, end - start)
            # More than the buffer holds: read the head as soon as the buffer is full.
            if have - start < len(rx):
                return 0
        if kind == PUBLISH and self._state == _OPEN:
            return self._read_publish(first & 15, at, end)
        if self._state != (_WAITS_FOR_CONNACK if kind == CONNACK else _OPEN):
            self._unexpected(kind)
        self._start = end
        if first & 15 != (2 if kind == _PUBREL else 0):
            raise packets.malformed("flags of packet type %d" % kind, first & 15)
        if 4 <= kind <= 7:
            return self._read_ack(kind, at, end)
        if kind == PINGRESP:
            packets.read_empty(at, end)
            self._ping_is_out = False
            return PINGRESP
        return self._read_rare(kind, at, end)

    def _check_size(self, kind: int, size: int) -> None:
        if kind != PUBLISH:
            raise KeyfobError(
                "mqtt.too-large", "%d bytes received, room for %d" % (size, len(self._rx))
            )

    def _unexpected(self, kind: int) -> None:
        raise KeyfobError("mqtt.unexpected", "packet type %d in state %d" % (kind, self._state))

    def _read_publish(self, flags: int, at: int, end: int) -> int:
        rx, have = self._rx, self._end
        if at + 2 > end:
            raise packets.malformed("PUBLISH of length", end - at)
        size = rx[at] << 8 | rx[at + 1]
        at += 2
        behind = at + size
        qos = flags >> 1 & 3
        if behind + (2 if qos else 0) > end:
            raise packets.malformed("topic of length", size)
        if end < have:
            have = end
        elif behind + (2 if qos else 0) > have:
            self._check_size(0, behind)
        # Most messages are of the topic of the one before.
        if not size or rx[at:behind] != self._name:
            self.topic = packets.read_text(self.rx, at, size)
            if size:
                packets.check_received(self.topic)
            self._name = bytes(rx[at:behind])
        at = behind
        packet_id = 0
        if flags & 14:
            if qos == 3 or not qos:
                raise packets.malformed("PUBLISH flags", flags)
            packet_id = packets.read_packet_id(rx, at, end)
            at += 2
        if self.version > 4 or not size:
            at = self._read_publish_properties(at, end, have)
        self.size = end - at
        self.payload = bytes(self.rx[at:end]) if end == have else self.rx[at:have]  # type: ignore
        self.left = end - have
        self._start = have
        self.qos = qos
        self.retain = flags & 1 == 1
        if not qos:
            self.receipt = None
            return PUBLISH
        return self._hold(packet_id, qos, flags & 8)

    def _read_publish_properties(self, at: int, end: int, have: int) -> int:
        raise packets.malformed("topic name of length", 0)

    def _hold(self, packet_id: int, qos: int, is_dup: int) -> int:
        """Keep what is owed for a PUBLISH; it is no event if it came before."""
        for receipt in self._receipts:
            if receipt[0] == packet_id and receipt[1] == qos and (is_dup or qos == 2):
                return self._skip()  # the application still has it
        if qos == 2:
            if packet_id in self._held:
                self._replies.append(0x500000 | packet_id)
                return self._skip()
            if len(self._held) >= _MOST_HELD:
                raise KeyfobError("mqtt.unexpected", "%d messages of QoS 2" % _MOST_HELD)
            self._held.append(packet_id)
        self.receipt = [packet_id, qos, False]  # type: ignore
        self._receipts.append(self.receipt)  # type: ignore
        return PUBLISH

    def _skip(self) -> int:
        # A duplicate that comes in pieces: they are events that nobody waits for.
        return -1 if not self.left else PART

    def _read_ack(self, kind: int, at: int, end: int) -> int:
        packet_id = packets.read_packet_id(self._rx, at, end)
        self.code = self._read_code(at + 2, end)
        if kind == _PUBREL:
            if packet_id in self._held:
                self._held.remove(packet_id)
            self._replies.append(0x700000 | packet_id)
            return -1
        for outgoing in self.inflight:
            if outgoing.packet_id == packet_id:
                break
        else:
            # PUBACK, PUBCOMP: of a duplicate that the first answer overtook.
            if kind == PUBREC:
                self._replies.append(0x620000 | packet_id)
            return -1
        self.outgoing = outgoing
        if outgoing.awaits == kind and (kind != PUBREC or self.code >= 128):
            self.inflight.remove(outgoing)
            outgoing.code = self.code
            return PUBACK
        if outgoing.awaits == _PUBCOMP and kind == PUBREC:
            return -1  # PUBREL is on its way
        if outgoing.awaits != PUBREC or kind != PUBREC:
            raise KeyfobError(
                "mqtt.unexpected", "packet type %d for identifier %d" % (kind, packet_id)
            )
        outgoing.awaits = _PUBCOMP
        outgoing.payload = None  # never sent again
        self._replies.append(0x620000 | packet_id)
        return PUBREC

    def _read_code(self, at: int, end: int) -> int:
        packets.read_empty(at, end)
        return 0

    def _read_rare(self, kind: int, at: int, end: int) -> int:
        if kind == CONNACK:
            self.session_present, self.code = self._read_connack(at, end)
            self._state = _OPEN
            if not self.session_present:
                self._receipts.clear()
                self._held.clear()
            return CONNACK
        if kind not in (SUBACK, UNSUBACK):
            self._unexpected(kind)
        self.packet_id = packets.read_packet_id(self._rx, at, end)
        self.code = self._read_granted(kind, at + 2, end)
        for asked in self._asked:
            if asked[0] == self.packet_id and asked[1] == kind:
                self._asked.remove(asked)
                return kind
        raise KeyfobError(
            "mqtt.unexpected", "packet type %d for identifier %d" % (kind, self.packet_id)
        )

    def _read_connack(self, at: int, end: int) -> tuple:
        packets.read_empty(at + 2, end)
        flags, code = self._rx[at], self._rx[at + 1]
        if flags > 1 or (flags and code) or code > 5:
            raise packets.malformed("CONNACK %d with return code" % flags, code)
        if code:
            # Section 3.2.2.3: the names are those of 5.0, where most are the same.
            from keyfob.mqtt import reasons

            raise KeyfobError(reasons.RETURN_CODES[code - 1], "CONNACK return code %d" % code)
        return flags == 1, 0

    def _read_granted(self, kind: int, at: int, end: int) -> int:
        if kind == UNSUBACK:
            packets.read_empty(at, end)
            return 0
        packets.read_empty(at + 1, end)
        code = self._rx[at]
        if code > 2 and code != 128:
            raise packets.malformed("SUBACK return code", code)
        return code

    def _check_open(self) -> None:
        if self._state != _OPEN:
            raise KeyfobError("mqtt.not-connected", "state %d" % self._state)


def since(then_ms: int, now_ms: int) -> int:
    """Milliseconds from one to the other."""
    # Counters wrap at 2**30 on 32-bit ports; an interval is right modulo that.
    return (now_ms - then_ms) & _TICKS_MASK
