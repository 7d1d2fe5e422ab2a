"""What is offered to a broker of MQTT 5.0 and granted by it: CONNECT, CONNACK, subscriptions.

Sections 3.1, 3.2, 3.8 to 3.11. Imported for those. The functions work on a
`session5.Session5`, in which is what concerns a PUBLISH.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed
from keyfob.mqtt.session5 import check_size, encoded, packet_size

_WILL = const(0)  # `properties.WILL`
_CONNACK = const(2)
_SUBSCRIBE = const(8)
_UNSUBSCRIBE = const(10)
_UNSUBACK = const(11)

_NEVER_0 = ("receive_maximum", "maximum_packet_size")
_0_OR_1 = (
    "maximum_qos", "retain_available", "wildcard_subscription_available",
    "subscription_identifier_available", "shared_subscription_available",
)  # fmt: skip
# No CONNECT of ours asks for it (sections 3.1.2.11.6 and 4.12).
_NOT_ASKED = ("authentication_method", "authentication_data", "response_information")


def offer(session, will) -> tuple:
    """The blocks of properties of CONNECT and of its will; a new connection begins."""
    broker, limits = session.config["broker"], session.config["limits"]
    session.granted = {}
    session.window = session.most_inflight
    session.aliases_in = {}
    session.aliases_out = {}
    if session.deferred:
        session.deferred, session.is_leaving = 0, False
    # Without `properties`, for which a small board has no room beside what it has here.
    block = bytearray(b"\x11") + broker["session_expiry_s"].to_bytes(4, "big")
    block += b"\x21" + limits["inbox"].to_bytes(2, "big")  # receive maximum
    if session.most_aliases:
        block += b"\x22" + session.most_aliases.to_bytes(2, "big")
    most = limits["packet_bytes"] or session.sizes[0]
    block += b"\x27" + most.to_bytes(4, "big")  # maximum packet size
    of_will = dict(will[4]) if will and len(will) > 4 else {}
    if broker["will_delay_s"]:
        of_will["will_delay_interval"] = broker["will_delay_s"]
    return bytes((len(block),)) + block, encoded(of_will, _WILL) if will else b""


def read_connack(session, at: int, end: int) -> bool:
    """Section 3.2: session present. Errors: the refusal's."""
    rx = session.rx
    if end - at == 2 and 0 < rx[at + 1] <= 5:
        # The answer of a broker that knows 3.1.1 only.
        from keyfob.mqtt.connack import read_flags

        return read_flags(rx, at, end)
    if end - at < 3 or session.decode(at + 2, end, _CONNACK) != end:
        raise malformed("CONNACK of length", end - at)
    flags, code = rx[at], rx[at + 1]
    if code >= 128:
        from keyfob.mqtt.reasons import refusal

        raise refusal(code, "CONNACK", session.properties)
    if flags > 1 or code:
        raise malformed("CONNACK flags %d, reason code" % flags, code)
    granted = session.granted = session.properties or {}
    _check_granted(granted)
    session.window = min(session.window, granted.get("receive_maximum", 65_535))
    # Section 3.1.2.10: a client may ping more often. A larger one, and 0 for none, would let a
    # link that is dead go unnoticed.
    theirs_ms = granted.get("server_keep_alive", 0) * 1000
    if theirs_ms and not 0 < session.keepalive_ms < theirs_ms:
        session.keepalive_ms = theirs_ms
    return flags == 1


def _check_granted(granted: dict) -> None:
    """The properties of a CONNACK. Errors: mqtt.unexpected."""
    for name in granted:
        value = granted[name]
        is_bad = name in _NOT_ASKED or (name in _0_OR_1 and value > 1)
        if is_bad or (name in _NEVER_0 and not value):
            raise KeyfobError("mqtt.unexpected", "%s in CONNACK: %r" % (name, value))


def ask_for(session, topic_filter: str, options: int, of_packet) -> bytes:
    """The block of properties of a SUBSCRIBE or, with negative ``options``, UNSUBSCRIBE.
    Errors: mqtt.bad-property, mqtt.packet-too-large, and for what the broker has not."""
    if options >= 0:
        _check_available(session.granted, topic_filter, of_packet)
    block = encoded(of_packet, _SUBSCRIBE if options >= 0 else _UNSUBSCRIBE)
    check_size(session, packet_size(topic_filter, block, 3 if options >= 0 else 2))
    return block


def _check_available(granted: dict, topic_filter: str, of_packet) -> None:
    """A SUBSCRIBE, before it is sent: who asks for what the broker has not is thrown out.
    Errors: mqtt.wildcards-not-supported and the like."""
    has_identifier = of_packet and "subscription_identifier" in of_packet
    for name, is_wanted, code in (
        ("wildcard_subscription", "+" in topic_filter or "#" in topic_filter, "wildcards"),
        ("shared_subscription", topic_filter.startswith("$share/"), "shared"),
        ("subscription_identifier", has_identifier, "identifiers"),
    ):
        if is_wanted and not granted.get(name + "_available", 1):
            raise KeyfobError("mqtt.%s-not-supported" % code, topic_filter)


def read_granted(session, kind: int, at: int, end: int) -> int:
    """The answer of a SUBSCRIBE or UNSUBSCRIBE, sections 3.9.3 and 3.11.3: one reason code."""
    at = session.decode(at, end, kind)
    if end - at != 1:
        raise malformed("payload of packet type %d, of length" % kind, end - at)
    code = session.rx[at]
    if code < 128 and (code not in (0, 17) if kind == _UNSUBACK else code > 2):
        raise malformed("reason code of packet type %d" % kind, code)
    return code
