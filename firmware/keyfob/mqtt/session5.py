"""What MQTT 5.0 adds to a session all the time: properties, aliases, the broker's limits.

Imported when ``broker.version`` is 5. In modules of their own is what comes seldom: `granted`
(CONNECT, CONNACK, subscriptions), `reasons` (reason codes), and `properties`, which is large,
for packets that have any. AUTH is refused: no authentication method is ever
offered, so a broker has no right to send one (section 4.12). Not checked: that a PUBLISH is
no larger than the maximum that was said, as it is taken or skipped in pieces all the same;
and that the broker's session is the one that this program left, since after a reset the
messages that wait in it are wanted.
"""

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.mqtt.session import Session

_PUBLISH = const(3)
_PUBACK = const(4)
_DISCONNECT = const(14)
_PART = const(16)
_OPEN = const(2)
_FAILED = const(3)
_TOPIC_ALIAS = const(0x23)
_MOST_UNASKED = const(64)
_MOST_IDENTIFIERS = const(65_535)
_NO_SUBSCRIBERS = const(0x10)  # reason code of PUBACK


class Session5(Session):
    """As `session.Session`. ``config``: the checked settings.

    ``granted``: the properties of the last CONNACK.
    """

    version = 5
    deferred = 0  # messages that come again with the next connection
    is_leaving = False

    def __init__(self, rx_bytes: int, tx_bytes: int, window: int, kept, config: dict) -> None:
        super().__init__(rx_bytes, tx_bytes, window, kept)
        self.config = config
        self.most_inflight = window
        self.most_aliases = config["limits"]["topic_aliases"]
        self.granted: dict = {}
        self.aliases_in: dict = {}  # number -> topic
        self.aliases_out: dict = {}  # topic -> number
        self._new_alias = 0

    def farewell(self, code: str) -> bytes:
        """What to send before a connection is closed for ``code``."""
        from keyfob.mqtt.violations import farewell

        return farewell(code)

    def publish(self, now_ms: int, outgoing) -> None:
        self._new_alias = 0
        super().publish(now_ms, outgoing)
        if self._new_alias:
            self.aliases_out[outgoing.topic] = self._new_alias

    def head_of(self, outgoing, size: int) -> tuple:
        granted, topic = self.granted, outgoing.topic
        if outgoing.qos > granted.get("maximum_qos", 2):
            raise KeyfobError("mqtt.qos-not-supported", "%d: %s" % (outgoing.qos, topic))
        if outgoing.retain and not granted.get("retain_available", 1):
            raise KeyfobError("mqtt.retain-not-supported", topic)
        if outgoing.qos:
            size += 2
        alias = self.aliases_out.get(topic, 0)
        if alias or len(self.aliases_out) < min(
            granted.get("topic_alias_maximum", 0), self.most_aliases
        ):
            number = alias or len(self.aliases_out) + 1
            name, of_packet = "" if alias else topic, outgoing.properties
            block = bytes((3, _TOPIC_ALIAS, number >> 8, number & 255))
            if of_packet:
                of_packet = dict(of_packet)
                of_packet["topic_alias"] = number
                block = encoded(of_packet, _PUBLISH)
            # With a new alias, or with one of a short topic, a packet is larger.
            need = packet_size(name, block, size)
            here = need - max(outgoing.size, 0)  # of which the buffer has to hold so much
            most = granted.get("maximum_packet_size", need)
            if need <= most and here <= len(self.tx) - self.tx_end:
                if not alias:
                    self._new_alias = number
                return name, block
        block = encoded(outgoing.properties, _PUBLISH)
        check_size(self, packet_size(topic, block, size))
        return topic, block

    # -- what the broker sends ---------------------------------------------------------------

    def next_usual(self):
        start = self.start
        payload = super().next_usual()
        if payload and not payload[0]:
            return payload[1:]  # behind an empty list of properties
        self.start = start
        return None

    def decode(self, at: int, end: int, kind: int, have: int = 0) -> int:
        """Read the properties at ``at`` into ``properties``; the offset behind them."""
        self.properties = None
        have = have or end
        if at < min(end, have) and not self._rx[at]:
            return at + 1  # none, as most often
        from keyfob.mqtt.properties import decode

        try:
            at, self.properties = decode(self.rx, at, end, have, kind)
        finally:
            del decode
            drop("mqtt.properties")
        return at

    def _read_publish_properties(self, at: int, end: int, have: int) -> int:
        at = self.decode(at, end, _PUBLISH, have)
        alias = self.properties and self.properties.pop("topic_alias", None)
        if alias is not None:
            if not 0 < alias <= self.most_aliases:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            if self.topic:
                self.aliases_in[alias] = self.topic
            elif alias not in self.aliases_in:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            self.topic = self.aliases_in[alias]
            self._name = None
        if not self.topic:
            raise KeyfobError("mqtt.unexpected", "PUBLISH without topic name and alias")
        return at

    def _hold(self, packet_id: int, qos: int, is_dup: int) -> int:
        event = super()._hold(packet_id, qos, is_dup)
        # Section 3.3.4. With each PUBACK mosquitto 2.0.11 sends as many again as were said to
        # be taken at once, and in a session taken up again all of them. Where inboxes that are
        # full do not hold it up, because the application waits for an answer, what is beyond
        # this bound, and all behind it (section 4.6), is left for the next connection.
        kept = self.kept
        most = max(2 * self.config["limits"]["inbox"], _MOST_UNASKED)
        if event == _PUBLISH and (self.deferred or len(kept.receipts) > most):
            if self.deferred == _MOST_IDENTIFIERS:  # so one of them came twice
                raise KeyfobError("mqtt.receive-maximum", "%d unacknowledged" % self.deferred)
            self.deferred += 1
            kept.forget(kept.receipts[-1])
            return _PART if self.left else -1
        return event

    def tick(self, now_ms: int, is_deaf: bool = False) -> bool:
        """As `session.Session.tick`. Errors: mqtt.more-waiting too, when all is acknowledged
        that was taken, as only in a new connection the broker sends the others again."""
        if self.deferred and self.state == _OPEN and not (self.kept.receipts or self.replies):
            if self.is_leaving:
                self.state = _FAILED
                raise KeyfobError("mqtt.more-waiting", "%d come again" % self.deferred)
            self.is_leaving = True  # not before those acknowledgements can have arrived
        return super().tick(now_ms, is_deaf)

    def _read_other(self, first: int, at: int, end: int) -> int:
        if first == 0x40 and end - at == 3 and self.state == _OPEN and end <= self._end:
            # Of a message that nobody has subscribed to, so not seldom: `acks` would stay.
            packet_id, code = self._rx[at] << 8 | self._rx[at + 1], self._rx[at + 2]
            for outgoing in self.inflight if code in (0, _NO_SUBSCRIBERS) else ():
                if outgoing.packet_id == packet_id and outgoing.awaits == _PUBACK:
                    self.properties = None
                    return self.acknowledge(outgoing, code)
        if first >> 4 == 15:
            raise KeyfobError("mqtt.auth-refused", "AUTH without a method of ours")
        if first == _DISCONNECT << 4 and self.state == _OPEN and end <= self._end:
            from keyfob.mqtt.reasons import read_code, refusal

            raise refusal(read_code(self, at, end, _DISCONNECT), "DISCONNECT", self.properties)
        return super()._read_other(first, at, end)


def size_of(of_packet: dict) -> int:
    """How many bytes the program's ``of_packet`` and an alias of ours add to a PUBLISH.
    Errors: mqtt.bad-property, mqtt.bad-topic."""
    if "topic_alias" in of_packet:
        raise KeyfobError("mqtt.bad-property", "topic_alias: see limits.topic_aliases")
    return len(encoded(of_packet, _PUBLISH)) + 3


def encoded(of_packet, kind: int) -> bytes:
    """The block of a packet of type ``kind``. Errors: mqtt.bad-property, mqtt.bad-topic."""
    if not of_packet:
        return b"\0"
    from keyfob.mqtt.properties import encode

    try:
        return encode(of_packet, kind)
    finally:
        del encode
        drop("mqtt.properties")


def packet_size(text: str, block: bytes, size: int) -> int:
    """Of the packet with a field of ``text``, properties, and ``size`` bytes beside these."""
    size += 2 + len(text.encode()) + len(block)
    return size + 2 + (size > 127) + (size > 16_383) + (size > 2_097_151)


def check_size(session, size: int) -> None:
    """Of a packet of ``size`` bytes, section 3.2.2.3.6. Errors: mqtt.packet-too-large."""
    most = session.granted.get("maximum_packet_size", size)
    if size > most:
        detail = "%d bytes, the broker takes %d" % (size, most)
        raise KeyfobError("mqtt.packet-too-large", detail)
