"""An MQTT session without I/O: bytes in, events out; messages in, bytes to send out.

It knows which packets are in order, which packet identifiers are in use, what is on
its way in both directions, and which time limits have passed (time comes in as
``now_ms``, any counter that `since` can subtract). Here is what goes on all the time:
PUBLISH with its acknowledgements, and keeping alive. Imported when they are needed:
`connect`, `subscribe`, `acks` (QoS 2, and what is unusual), `violations` (what is wrong
with a packet), `session5` (MQTT 5.0). After an error it stays failed until
`connect.connect`. A method takes 60 bytes of heap, where this comes from flash too.

What survives reconnects is in `state`; the CONNACK says whether the broker kept its half.

Not here: connections, subscriptions (the caller asks again), and whose a message is.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import is_text, put_header, put_publish, read_remaining_length
from keyfob.mqtt.state import Outgoing, SessionState, since

# Events are numbered as the packets are (section 2.2.1), beside a piece of a PUBLISH.
_PUBLISH = const(3)
_PUBACK = const(4)
_PUBREC = const(5)
_PINGRESP = const(13)
_PART = const(16)

_OPEN = const(2)  # 0 is idle, 1 waits for a CONNACK
_FAILED = const(3)
_ACK_LIMIT_MS = const(20_000)  # PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK
_PING_LIMIT_MS = const(20_000)
_PROGRESS_BYTES = const(64)  # of payload between two ticks; a peer that sends less is silent
# The packet identifiers above are those of stored messages (`keyfob.outbox`).
_LAST_ID = const(0xFEFF)


class Session:
    """One session over any number of connections.

    ``rx_bytes``, ``tx_bytes``: sizes of the two buffers, which are there while there is a
    connection. ``window``: how many messages may be unacknowledged at once. ``kept``: the
    state of the session so far.

    All attributes are there from the beginning, because another one may move the dictionary
    of 230 bytes that they are in. It has 29 places: with none of them free, looking for what
    is not there (each method) would go over all of it.
    """

    version = 4
    properties = None  # of the last packet that can have any: a dict, in 5.0

    def __init__(self, rx_bytes: int, tx_bytes: int, window: int = 4, kept=None) -> None:
        self.sizes = rx_bytes, tx_bytes
        self.kept = kept = kept or SessionState()
        self.inflight: list[Outgoing] = kept.inflight
        self.replies: list[int] = kept.replies
        self.asked: list[Outgoing] = []  # SUBSCRIBE and UNSUBSCRIBE without an answer
        self.window = window
        self.keepalive_ms = 0
        self.session_present = False
        self.outgoing: Outgoing | None = None
        # Of the last PUBLISH.
        self.topic = ""
        self.payload: bytes | memoryview = b""
        self.size = self.qos = 0
        self.retain = False
        self.receipt: list | None = None
        self.reset(0, 0)

    def reset(self, rx_bytes: int, tx_bytes: int) -> None:
        """Forget what belongs to one connection; buffers for the next one, if any."""
        self.state = 0
        self.tx = bytearray(tx_bytes)
        self._rx = bytearray(rx_bytes)
        self.rx = memoryview(self._rx)
        self.start = self._end = 0  # of the bytes in `rx` that wait
        self.left = 0  # bytes of a PUBLISH that comes in pieces
        self._left_before = 0  # when `tick` was called last
        self.tx_end = 0  # bytes of `tx` that are packets
        self.replies.clear()
        self.sent_ms = 0
        self._ping_ms: int | None = None  # when the PINGREQ without an answer was put
        self._name: bytearray | None = None  # topic of the last PUBLISH, its length in front
        self.again: tuple | None = None  # see `publish_again`

    # -- sending -------------------------------------------------------------------------

    def publish(self, now_ms: int, outgoing: Outgoing) -> None:
        """Put a PUBLISH into `tx`, with DUP and its identifier if it was sent before.

        Of an ``outgoing`` with a size only the head is put; the caller sends the payload
        directly behind it. Event: PUBACK (4), at QoS 2 after PUBREC (5). Errors:
        mqtt.too-large, mqtt.not-connected, mqtt.no-identifier.
        """
        if self.state != _OPEN:
            self.check_open()
        qos, payload, size = outgoing.qos, outgoing.payload, outgoing.size
        first = 0x30 | qos << 1 | outgoing.retain
        if outgoing.awaits:
            first |= 8
        elif qos and not outgoing.packet_id:
            outgoing.packet_id = self.take_id()
        if size < 0:
            size = len(payload)
        else:
            payload = None
        topic, block = outgoing.topic, b""
        if self.version > 4:
            topic, block = self.head_of(outgoing, size)  # type: ignore[attr-defined]
        at = self.tx_end
        self.tx_end = put_publish(
            self.tx, at, first, topic, outgoing.packet_id, block, payload, size
        )
        self.again = None
        if first == 0x32 and not (at or block) and payload is not None and size != 2:
            self.again = topic, size, self.tx_end
        if qos and not outgoing.awaits:
            outgoing.awaits = _PUBREC if qos == 2 else _PUBACK
            self.inflight.append(outgoing)
        outgoing.sent_ms = self.sent_ms = now_ms

    def publish_again(self, now_ms: int, topic: str, payload) -> int:
        """Put a PUBLISH as the last one, if nothing but its payload differs and nothing is
        on its way either way; the end of it in `tx`, or 0 if it has to go the usual way.

        The caller sends it at once, and either finds its PUBACK, for ``last_id``, to be all
        that comes into `rx`, or makes it one of `inflight`. `tx_end` stays as it was.
        """
        if self.inflight or self.tx_end or self.asked or self.replies or not self.again:
            return 0
        same_topic, size, end = self.again
        if len(payload) != size or topic != same_topic or self.start != self._end or self.left:
            return 0
        self.start = self._end = 0
        kept = self.kept
        packet_id = kept.last_id = kept.last_id % _LAST_ID + 1
        tx, at = self.tx, end - size
        tx[at - 2] = packet_id >> 8
        tx[at - 1] = packet_id & 255
        tx[at:end] = payload
        self.sent_ms = now_ms
        return end

    def pack(self) -> int:
        """Put acknowledgements that are due behind what is in `tx`; how much there is now."""
        while self.replies and self.tx_end + 4 <= len(self.tx):
            reply = self.replies.pop(0)
            self.again = None
            at = put_header(self.tx, self.tx_end, reply >> 16, 2)
            self.tx[at] = reply >> 8 & 255
            self.tx[at + 1] = reply & 255
            self.tx_end = at + 2
        return self.tx_end

    def sent(self, count: int) -> None:
        """The first ``count`` bytes of `tx` are on their way; the rest moves to the front."""
        rest = self.tx_end - count
        if rest:
            self.tx[:rest] = self.tx[count : self.tx_end]
            self.again = None
        self.tx_end = rest

    def take_id(self) -> int:
        """A packet identifier that is not in use. Errors: mqtt.no-identifier."""
        kept = self.kept
        for _ in range(_LAST_ID):
            kept.last_id = kept.last_id % _LAST_ID + 1
            for each in (self.inflight, self.asked):
                for waiting in each:
                    if waiting.packet_id == kept.last_id:
                        break
                else:
                    continue
                break
            else:
                return kept.last_id
        raise KeyfobError("mqtt.no-identifier", "%d in use" % _LAST_ID)

    def check_open(self) -> None:
        if self.state != _OPEN:
            raise KeyfobError("mqtt.not-connected", "state %d" % self.state)

    # -- time limits ---------------------------------------------------------------------

    def tick(self, now_ms: int, is_deaf: bool = False) -> bool:
        """Whether a PINGREQ was put: nothing else was sent for three quarters of the keep
        alive (section 3.1.2.10). Call it every half second, or before it can matter.

        ``is_deaf``: the caller does not read now, so answers may have come. As much holds
        while a PUBLISH in pieces comes, behind which they are.

        Errors: mqtt.no-puback, mqtt.no-suback, mqtt.no-pingresp.
        """
        if self.state != _OPEN:
            return False
        if abs(self._left_before - self.left) > _PROGRESS_BYTES:
            is_deaf = True
        self._left_before = self.left
        for waiting in self.inflight + self.asked:
            if is_deaf:
                waiting.sent_ms = now_ms
            waited_ms = since(waiting.sent_ms, now_ms)
            if waited_ms > _ACK_LIMIT_MS:
                self.state = _FAILED
                code = "mqtt.no-suback" if waiting.awaits > 8 else "mqtt.no-puback"
                raise KeyfobError(code, "identifier %d, %d ms" % (waiting.packet_id, waited_ms))
        keepalive_ms = self.keepalive_ms
        if not keepalive_ms:
            return False
        if self._ping_ms is not None:
            if not is_deaf:
                waited_ms = since(self._ping_ms, now_ms)
                if waited_ms > min(keepalive_ms // 2, _PING_LIMIT_MS):
                    self.state = _FAILED
                    raise KeyfobError("mqtt.no-pingresp", "%d ms" % waited_ms)
                return False
            self._ping_ms = now_ms
        if since(self.sent_ms, now_ms) < keepalive_ms - keepalive_ms // 4:
            return False
        self.tx_end = put_header(self.tx, self.tx_end, 0xC0, 0)
        self.again = None
        self.sent_ms = self._ping_ms = now_ms
        return True

    # -- what the broker sends -----------------------------------------------------------

    def room(self) -> memoryview:
        """Where the next received bytes go; valid until `received`. Never empty after
        `next_event` returned 0. Pieces of payload handed out before are not valid any more."""
        if self.start:
            rest = self._end - self.start
            if rest:
                self._rx[:rest] = self.rx[self.start : self._end]
            self.start, self._end = 0, rest
        return self.rx[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes were written to the start of `room`."""
        self._end += count

    def next_usual(self):
        """The payload of the next packet if it is a PUBLISH of QoS 0, not retained, of
        `topic` as the one before, and all there; otherwise None, and see `next_event`."""
        rx, start, name, have = self.rx, self.start, self._name, self._end
        if name and have - start > 1 and rx[start] == 0x30:
            size = rx[start + 1]
            end = start + 2 + size
            at = start + 2 + len(name)
            if at <= end <= have and size < 128 and rx[start + 2 : at] == name:
                self.start = end
                return bytes(rx[at:end])
        return None

    def next_event(self) -> int:
        """The type of the next whole packet, or 0 if there is not all of it.

        What it said is in attributes, until the next call: PUBLISH (3) topic, payload,
        size, qos, retain, receipt, properties; PUBACK (4) outgoing, which the broker has,
        or refused with its code; PUBREC (5) outgoing, whose PUBREL goes out with the next
        `pack`; CONNACK (2) session_present; SUBACK (9) and UNSUBACK (11) outgoing, with its
        code; PINGRESP (13). A PUBLISH larger than the buffer comes in pieces, the first with
        the PUBLISH, the others as events 16; then ``payload`` is a view that is valid
        until the next call or `room`.
        Errors: mqtt.malformed, mqtt.unexpected, mqtt.too-large, and for a refusing
        CONNACK its return code's (mqtt.not-authorized, …).
        """
        try:
            while True:
                if self.left:
                    at = self.start
                    end = min(at + self.left, self._end)
                    if at == end:
                        return 0
                    self.payload = self.rx[at:end]
                    self.start = end
                    self.left -= end - at
                    return _PART
                event = self._next()
                if event >= 0:
                    return event
        except KeyfobError:
            self.state = _FAILED
            raise

    def _next(self) -> int:
        """The next event; 0 for want of bytes; -1 if the packet makes no event."""
        rx, start, have = self._rx, self.start, self._end
        if have - start < 2:
            return 0 if self.state != _FAILED else self._read_other(0, 0, 0)
        first, size, at = rx[start], rx[start + 1], start + 2
        if size > 127:
            at, size = read_remaining_length(rx, start + 1, have)
            if not at:
                return 0
        end = at + size
        # More than the buffer holds: read the head as soon as the buffer is full.
        is_larger = first & 0xF0 != 0x30 or have - start == len(rx)
        if end > have and (end - start <= len(rx) or not is_larger):
            return 0
        if self.state == _OPEN:
            if first & 0xF0 == 0x30:
                return self._read_publish(first & 15, at, end)
            if first == 0x40 and size == 2:
                packet_id = rx[at] << 8 | rx[at + 1]
                for outgoing in self.inflight:
                    if outgoing.packet_id == packet_id and outgoing.awaits == _PUBACK:
                        self.start = end
                        return self.acknowledge(outgoing, 0)
            elif first == 0xD0 and not size:
                self.start = end
                self._ping_ms = None
                return _PINGRESP
        event = self._read_other(first, at, end)
        self.start = end
        return event

    def acknowledge(self, outgoing: Outgoing, code: int) -> int:
        """The broker has it, or refused it."""
        self.inflight.remove(outgoing)
        self.outgoing = outgoing
        outgoing.code = code
        return _PUBACK

    def _read_other(self, first: int, at: int, end: int) -> int:
        if self.state == (_OPEN if first != 0x20 else 1) and end <= self._end:
            if first == 0x20:
                from keyfob.mqtt.connack import read_connack

                return read_connack(self, at, end)
            if first in (0x90, 0xB0):
                from keyfob.mqtt.subscribe import read_answer

                return read_answer(self, at, end)
            if first in (0x40, 0x50, 0x62, 0x70):
                from keyfob.mqtt.acks import read_ack

                return read_ack(self, at, end)
        from keyfob.mqtt.violations import refused

        raise refused(self, first, at, end)

    def _read_publish(self, flags: int, at: int, end: int) -> int:
        rx, have, qos, head = self._rx, self._end, flags >> 1, at
        if end < have:
            have = end
        if end - at > 1:
            at += 2 + (rx[at] << 8 | rx[at + 1])
        name = rx[head:at]
        is_sound = at <= have and (name == self._name or (at > head and self._read_topic(name)))
        self.receipt = None
        packet_id = 0
        if qos:
            qos &= 3
            at += 2
            if at <= have:
                packet_id = rx[at - 2] << 8 | rx[at - 1]
            is_sound = is_sound and packet_id > 0 and 0 < qos < 3
        if not is_sound:
            from keyfob.mqtt.violations import refused_publish

            raise refused_publish(rx, flags, head, end, self._end)
        if self.version > 4:
            at = self._read_publish_properties(at, end, have)  # type: ignore[attr-defined]
        self.size = end - at
        self.left = end - have
        self.payload = self.rx[at:have]
        if not self.left:
            self.payload = bytes(self.payload)
        self.start = have
        self.qos = qos
        self.retain = flags & 1 == 1
        return self._hold(packet_id, qos, flags & 8) if qos else _PUBLISH

    def _read_topic(self, name: bytearray) -> bool:
        """``name`` has its length in front. In 5.0 an alias may stand for an empty one."""
        try:
            topic = str(name[2:], "utf-8")
        except ValueError:
            return False
        if "#" in topic or "+" in topic or "\0" in topic or not (topic or self.version > 4):
            return False
        if len(topic) + 2 != len(name) and not is_text(topic):
            return False
        self.topic = topic
        self._name = name if topic else None
        return True

    def _hold(self, packet_id: int, qos: int, is_dup: int) -> int:
        """Keep what is owed for a PUBLISH; it is no event if it came before."""
        is_known = False
        for receipt in self.kept.receipts:
            if receipt[0] == packet_id and receipt[1] == qos and (is_dup or qos == 2):
                is_known = True  # the application still has it
        if qos == 2 and not is_known:
            from keyfob.mqtt.acks import is_held

            is_known = is_held(self, packet_id)
        if is_known:
            # A duplicate that comes in pieces: they are events that nobody waits for.
            return _PART if self.left else -1
        self.receipt = [packet_id, qos, False]
        self.kept.receipts.append(self.receipt)
        return _PUBLISH
