"""What MQTT 5.0 adds to a session: properties, reason codes, aliases, the broker's limits.

Imported when ``broker.version`` is 5; `properties` only for packets that have any, which is
large beside this. AUTH is refused: no authentication method is ever
offered, so a broker has no right to send one (section 4.12). Not checked: that a PUBLISH is
no larger than the maximum that was said, as it is taken or skipped in pieces all the same;
and that the broker's session is the one that this program left, since after a reset the
messages that wait in it are wanted.
"""

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed
from keyfob.mqtt.session import Session

_WILL = const(0)  # `properties.WILL`
_CONNECT = const(1)
_CONNACK = const(2)
_PUBLISH = const(3)
_PUBREL = const(6)
_SUBSCRIBE = const(8)
_UNSUBSCRIBE = const(10)
_UNSUBACK = const(11)
_DISCONNECT = const(14)
_OPEN = const(2)
_TOPIC_ALIAS = const(0x23)
_NO_SUBSCRIBERS = const(0x10)  # reason code of PUBACK and PUBREC


class Session5(Session):
    """As `session.Session`. ``config``: the checked settings.

    ``granted``: the properties of the last CONNACK.
    """

    version = 5

    def __init__(self, rx_bytes: int, tx_bytes: int, window: int, kept, config: dict) -> None:
        super().__init__(rx_bytes, tx_bytes, window, kept)
        self._config = config
        self._most_inflight = window
        self._most_aliases = config["limits"]["topic_aliases"]
        self.granted: dict = {}
        self._aliases_in: dict = {}  # number -> topic
        self._aliases_out: dict = {}  # topic -> number
        self._new_alias = 0

    # -- what `connect`, `subscribe` and `publish` ask for --------------------------

    def offer(self, will) -> tuple:
        """The blocks of properties of CONNECT and of its will; a new connection begins."""
        broker, limits = self._config["broker"], self._config["limits"]
        self.granted = {}
        self.window = self._most_inflight
        self._aliases_in = {}
        self._aliases_out = {}
        offered = {
            "session_expiry_interval": broker["session_expiry_s"],
            "receive_maximum": limits["inbox"],
            "maximum_packet_size": limits["packet_bytes"] or self.sizes[0],
        }
        if self._most_aliases:
            offered["topic_alias_maximum"] = self._most_aliases
        of_will = dict(will[4]) if will and len(will) > 4 else {}
        if broker["will_delay_s"]:
            of_will["will_delay_interval"] = broker["will_delay_s"]
        return _encoded(offered, _CONNECT), _encoded(of_will, _WILL) if will else b""

    def farewell(self, code: str) -> bytes:
        """What to send before a connection is closed for ``code``."""
        from keyfob.mqtt.violations import farewell

        return farewell(code)

    def publish(self, now_ms: int, outgoing) -> None:
        self._new_alias = 0
        super().publish(now_ms, outgoing)
        if self._new_alias:
            self._aliases_out[outgoing.topic] = self._new_alias

    def head_of(self, outgoing, size: int) -> tuple:
        granted, topic = self.granted, outgoing.topic
        if outgoing.qos > granted.get("maximum_qos", 2):
            raise KeyfobError("mqtt.qos-not-supported", "%d: %s" % (outgoing.qos, topic))
        if outgoing.retain and not granted.get("retain_available", 1):
            raise KeyfobError("mqtt.retain-not-supported", topic)
        alias = self._aliases_out.get(topic, 0)
        if alias:
            topic = ""
        elif len(self._aliases_out) < min(
            granted.get("topic_alias_maximum", 0), self._most_aliases
        ):
            self._new_alias = alias = len(self._aliases_out) + 1
        of_packet = outgoing.properties
        if alias and not of_packet:
            block = bytes((3, _TOPIC_ALIAS, alias >> 8, alias & 255))
        else:
            if alias:
                of_packet = dict(of_packet)
                of_packet["topic_alias"] = alias
            block = _encoded(of_packet, _PUBLISH)
        size += 2 + len(topic.encode()) + len(block)
        self._check_size(size + 2 if outgoing.qos else size)
        return topic, block

    def ask_for(self, topic_filter: str, options: int, of_packet) -> bytes:
        """The block of properties of a SUBSCRIBE or, with negative ``options``, UNSUBSCRIBE.
        Errors: mqtt.bad-property, mqtt.packet-too-large, and for what the broker has not."""
        if options >= 0:
            from keyfob.mqtt.granted import check_available

            check_available(self.granted, topic_filter, of_packet)
        block = _encoded(of_packet, _SUBSCRIBE if options >= 0 else _UNSUBSCRIBE)
        size = 4 + len(topic_filter.encode()) + len(block)
        self._check_size(size + 1 if options >= 0 else size)
        return block

    def _check_size(self, size: int) -> None:
        """Of a packet of remaining length ``size``, section 3.2.2.3.6."""
        size += 2 + (size > 127) + (size > 16_383) + (size > 2_097_151)
        most = self.granted.get("maximum_packet_size", size)
        if size > most:
            detail = "%d bytes, the broker takes %d" % (size, most)
            raise KeyfobError("mqtt.packet-too-large", detail)

    # -- what the broker sends ---------------------------------------------------------------

    def _decode(self, at: int, end: int, kind: int, have: int = 0) -> int:
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
        at = self._decode(at, end, _PUBLISH, have)
        alias = self.properties and self.properties.pop("topic_alias", None)
        if alias is not None:
            if not 0 < alias <= self._most_aliases:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            if self.topic:
                self._aliases_in[alias] = self.topic
            elif alias not in self._aliases_in:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            self.topic = self._aliases_in[alias]
            self._name = None
        if not self.topic:
            raise KeyfobError("mqtt.unexpected", "PUBLISH without topic name and alias")
        return at

    def _hold(self, packet_id: int, qos: int, is_dup: int) -> int:
        event = super()._hold(packet_id, qos, is_dup)
        # Section 3.3.4. mosquitto 2.0 sends up to twice as many where a PUBACK comes early,
        # and the inboxes' own bounds hold it up then.
        count = len(self.kept.receipts)
        if count > 2 * self._config["limits"]["inbox"]:
            raise KeyfobError("mqtt.receive-maximum", "%d unacknowledged" % count)
        return event

    def _read_other(self, first: int, at: int, end: int) -> int:
        if first >> 4 == 15:
            raise KeyfobError("mqtt.auth-refused", "AUTH without a method of ours")
        if first == _DISCONNECT << 4 and self.state == _OPEN and end <= self._end:
            raise _refusal(self.read_code(at, end, _DISCONNECT), "DISCONNECT", self.properties)
        return super()._read_other(first, at, end)

    def read_code(self, at: int, end: int, kind: int) -> int:
        """Reason code and properties of an acknowledgement or DISCONNECT (section 2.4).

        Above 0x7f all are taken for a refusal, those of other packets too: a message that
        is never answered would be sent for ever.
        """
        self.properties = None
        if at == end:
            return 0
        if at + 1 < end and self._decode(at + 1, end, kind) != end:
            raise malformed("bytes behind the properties of packet type", kind)
        code = self._rx[at]
        if 0 < code < 128 and not (code == _NO_SUBSCRIBERS and kind < _PUBREL):
            raise malformed("reason code of packet type %d" % kind, code)
        return code

    def read_connack(self, at: int, end: int) -> bool:
        """Section 3.2: session present. Errors: the refusal's."""
        if end - at == 2 and 0 < self._rx[at + 1] <= 5:
            # The answer of a broker that knows 3.1.1 only.
            from keyfob.mqtt.connack import read_flags

            return read_flags(self._rx, at, end)
        if end - at < 3 or self._decode(at + 2, end, _CONNACK) != end:
            raise malformed("CONNACK of length", end - at)
        flags, code = self._rx[at], self._rx[at + 1]
        if code >= 128:
            raise _refusal(code, "CONNACK", self.properties)
        if flags > 1 or code:
            raise malformed("CONNACK flags %d, reason code" % flags, code)
        from keyfob.mqtt.granted import check_granted

        granted = self.granted = self.properties or {}
        check_granted(granted)
        self.window = min(self.window, granted.get("receive_maximum", 65_535))
        if "server_keep_alive" in granted:
            self.keepalive_ms = granted["server_keep_alive"] * 1000
        return flags == 1

    def read_granted(self, kind: int, at: int, end: int) -> int:
        """Sections 3.9.3 and 3.11.3: one reason code."""
        at = self._decode(at, end, kind)
        if end - at != 1:
            raise malformed("payload of packet type %d, of length" % kind, end - at)
        code = self._rx[at]
        if code < 128 and (code not in (0, 17) if kind == _UNSUBACK else code > 2):
            raise malformed("reason code of packet type %d" % kind, code)
        return code


def _refusal(code: int, doing: str, of_packet):
    from keyfob.mqtt.reasons import refusal

    return refusal(code, doing, of_packet)


def size_of(of_packet: dict) -> int:
    """How many bytes the program's ``of_packet`` and an alias of ours add to a PUBLISH.
    Errors: mqtt.bad-property, mqtt.bad-topic."""
    if "topic_alias" in of_packet:
        raise KeyfobError("mqtt.bad-property", "topic_alias: see limits.topic_aliases")
    return len(_encoded(of_packet, _PUBLISH)) + 3


def _encoded(of_packet, kind: int) -> bytes:
    """The block of a packet of type ``kind``. Errors: mqtt.bad-property, mqtt.bad-topic."""
    if not of_packet:
        return b"\0"
    from keyfob.mqtt.properties import encode

    try:
        return encode(of_packet, kind)
    finally:
        del encode
        drop("mqtt.properties")
