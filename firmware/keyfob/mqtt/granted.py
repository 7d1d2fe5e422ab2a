"""What a broker of MQTT 5.0 says in its CONNACK that it has, and has not: section 3.2.2.3.

Imported by `session5` for a CONNACK and for subscriptions. What concerns a PUBLISH is there.
"""

from keyfob.errors import KeyfobError

_NEVER_0 = ("receive_maximum", "maximum_packet_size")
_0_OR_1 = (
    "maximum_qos", "retain_available", "wildcard_subscription_available",
    "subscription_identifier_available", "shared_subscription_available",
)  # fmt: skip
# No CONNECT of ours asks for it (sections 3.1.2.11.6 and 4.12).
_NOT_ASKED = ("authentication_method", "authentication_data", "response_information")


def check_granted(granted: dict) -> None:
    """The properties of a CONNACK. Errors: mqtt.unexpected."""
    for name in granted:
        value = granted[name]
        is_bad = name in _NOT_ASKED or (name in _0_OR_1 and value > 1)
        if is_bad or (name in _NEVER_0 and not value):
            raise KeyfobError("mqtt.unexpected", "%s in CONNACK: %r" % (name, value))


def check_available(granted: dict, topic_filter: str, of_packet) -> None:
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
