"""What MQTT 5.0 adds to a session: properties, reason codes, aliases, the broker's limits.

Imported when ``broker.version`` is 5. AUTH is refused: no authentication method is ever
offered, so a broker has no right to send one (section 4.12).
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt import packets, properties, session
from keyfob.mqtt.reasons import RETURN_CODES, refusal

_CONNECT = const(1)
_SUBSCRIBE = const(8)
_UNSUBSCRIBE = const(10)
_DISCONNECT = const(14)
_AUTH = const(15)
_NO_PROPERTIES = b"\0"
# Section 4.13: what we tell the broker before we hang up.
_FAREWELLS = {
    "mqtt.malformed": 0x81,
    "mqtt.unexpected": 0x82,
    "mqtt.auth-refused": 0x82,
    "mqtt.topic-alias-unknown": 0x94,
    "mqtt.too-large": 0x95,
}


class Session5(session.Session):
    """As `session.Session`. ``config``: the checked settings.

    ``granted``: the properties of the last CONNACK.
    """

    version = 5

    def __init__(self, rx_bytes: int, tx_bytes: int, window: int, config: dict) -> None:
        super().__init__(rx_bytes, tx_bytes, window)
        broker, limits = config["broker"], config["limits"]
        self._most_aliases = limits["topic_aliases"]
        self._will_delay_s = broker["will_delay_s"]
        self._offered = {
            "session_expiry_interval": broker["session_expiry_s"],
            "receive_maximum": limits["inbox"],
            "maximum_packet_size": limits["packet_bytes"] or rx_bytes,
        }
        if self._most_aliases:
            self._offered["topic_alias_maximum"] = self._most_aliases
        self.granted: dict = {}

    def start(
        self, now_ms: int, client_id: str, keepalive_s: int, clean: bool, will=None, **more
    ) -> None:
        self.granted = {}
        self._aliases_in: dict = {}  # number -> topic
        self._aliases_out: dict = {}  # topic -> number
        if will:
            of_will = dict(will[4]) if len(will) > 4 else {}
            if self._will_delay_s:
                of_will["will_delay_interval"] = self._will_delay_s
            more["will_properties"] = properties.encode(of_will, properties.WILL)
            more["will"] = will[:4]
        block = properties.encode(self._offered, _CONNECT)
        super().start(now_ms, client_id, keepalive_s, clean, version=5, properties=block, **more)

    def size_of(self, of_packet: dict) -> int:
        """How many bytes ``of_packet`` and an alias add to a PUBLISH. Errors: mqtt.bad-property."""
        return len(properties.encode(of_packet, session.PUBLISH)) + 3

    def farewell(self, code: str) -> bytes:
        reason = _FAREWELLS.get(code)
        return bytes((_DISCONNECT << 4, 1, reason)) if reason else b""

    def _put_publish(self, first: int, outgoing, payload, size: int) -> None:
        granted, topic = self.granted, outgoing.topic
        if outgoing.qos > granted.get("maximum_qos", 2):
            raise KeyfobError("mqtt.qos-not-supported", "%d: %s" % (outgoing.qos, topic))
        if outgoing.retain and not granted.get("retain_available", 1):
            raise KeyfobError("mqtt.retain-not-supported", topic)
        block, alias = _NO_PROPERTIES, 0
        if granted.get("topic_alias_maximum") and self._most_aliases:
            alias = self._aliases_out.get(topic, 0)
            if alias:
                topic = ""
            elif len(self._aliases_out) < min(granted["topic_alias_maximum"], self._most_aliases):
                alias = len(self._aliases_out) + 1
        if outgoing.properties or alias:
            of_packet = dict(outgoing.properties or {})
            if alias:
                of_packet["topic_alias"] = alias
            block = properties.encode(of_packet, session.PUBLISH)
        most = granted.get("maximum_packet_size", 0)
        # At most: 5 of the fixed header, 2 of the topic's length, 2 of the identifier.
        if most and size + len(topic) + len(block) + 9 > most:
            detail = "%d bytes, the broker takes %d" % (size + len(topic) + len(block) + 9, most)
            raise KeyfobError("mqtt.packet-too-large", detail)
        self.tx_end = packets.put_publish(
            self.tx, self.tx_end, first, topic, outgoing.packet_id, block, payload, size
        )
        if alias:
            self._aliases_out[outgoing.topic] = alias

    def _put_subscribe(self, packet_id: int, topic_filter: str, options: int, of_packet) -> None:
        kind = _SUBSCRIBE if options >= 0 else _UNSUBSCRIBE
        block = properties.encode(of_packet, kind)
        self.tx_end = packets.put_subscribe(
            self.tx, self.tx_end, packet_id, topic_filter, options, block
        )

    def _decode(self, at: int, end: int, kind: int, have: int = 0) -> int:
        at, self.properties = properties.decode(self.rx, at, end, have or end, kind)
        return at

    def _read_publish_properties(self, at: int, end: int, have: int) -> int:
        at = self._decode(at, end, session.PUBLISH, have)
        alias = self.properties and self.properties.pop("topic_alias", None)
        if alias is not None:
            if not 0 < alias <= self._most_aliases:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            if self.topic:
                self._aliases_in[alias] = self.topic
            elif alias not in self._aliases_in:
                raise KeyfobError("mqtt.topic-alias-unknown", "%d" % alias)
            self.topic = self._aliases_in[alias]
            self._name = b""
        if not self.topic:
            raise packets.malformed("topic name of length", 0)
        return at

    def _hold(self, packet_id: int, qos: int, is_dup: int) -> int:
        event = super()._hold(packet_id, qos, is_dup)
        if len(self._receipts) > self._offered["receive_maximum"]:
            raise KeyfobError("mqtt.unexpected", "%d unacknowledged" % len(self._receipts))
        return event

    def _read_code(self, at: int, end: int, kind: int = session.PUBACK) -> int:
        self.properties = None
        if at == end:
            return 0
        code = self._rx[at]
        if at + 1 < end:
            packets.read_empty(self._decode(at + 1, end, kind), end)
        return code

    def _read_rare(self, kind: int, at: int, end: int) -> int:
        if kind == _DISCONNECT:
            raise refusal(self._read_code(at, end, kind), "DISCONNECT", self.properties)
        return super()._read_rare(kind, at, end)

    def _unexpected(self, kind: int) -> None:
        if kind == _AUTH:
            raise KeyfobError("mqtt.auth-refused", "AUTH without a method of ours")
        super()._unexpected(kind)

    def _read_connack(self, at: int, end: int) -> tuple:
        if end - at < 2:
            raise packets.malformed("CONNACK of length", end - at)
        flags, code = self._rx[at], self._rx[at + 1]
        if end - at == 2 and 0 < code <= len(RETURN_CODES):
            # The answer of a broker that knows 3.1.1 only (there: section 3.2.2.3).
            raise KeyfobError(RETURN_CODES[code - 1], "CONNACK return code %d" % code)
        packets.read_empty(self._decode(at + 2, end, session.CONNACK), end)
        if code >= 128:
            raise refusal(code, "CONNACK", self.properties)
        if flags > 1 or code:
            raise packets.malformed("CONNACK flags %d, reason code" % flags, code)
        granted = self.granted = self.properties or {}
        for name in ("receive_maximum", "maximum_packet_size"):
            if granted.get(name) == 0:
                raise packets.malformed(name, 0)
        self.window = min(self._window, granted.get("receive_maximum", 65_535))
        if "server_keep_alive" in granted:
            self.keepalive_ms = granted["server_keep_alive"] * 1000
        return flags == 1, code

    def _read_granted(self, kind: int, at: int, end: int) -> int:
        at = self._decode(at, end, kind)
        packets.read_empty(at + 1, end)
        code = self._rx[at]
        if 2 < code < 128 and not (kind == session.UNSUBACK and code == 17):
            raise packets.malformed("reason code of packet type %d" % kind, code)
        return code
