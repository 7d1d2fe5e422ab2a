"""What a broker's return codes (3.1.1) and reason codes (5.0) are called.

MQTT 3.1.1 table 3.1; MQTT 5.0 section 2.4. Imported when a broker refuses something.
"""

from keyfob.errors import KeyfobError

RETURN_CODES = (
    "mqtt.unacceptable-protocol",
    "mqtt.identifier-rejected",
    "mqtt.server-unavailable",
    "mqtt.bad-credentials",
    "mqtt.not-authorized",
)
_REASONS = {
    0x80: "mqtt.unspecified",
    0x81: "mqtt.found-malformed",
    0x82: "mqtt.found-protocol-error",
    0x83: "mqtt.implementation-specific",
    0x84: "mqtt.unacceptable-protocol",
    0x85: "mqtt.identifier-rejected",
    0x86: "mqtt.bad-credentials",
    0x87: "mqtt.not-authorized",
    0x88: "mqtt.server-unavailable",
    0x89: "mqtt.server-busy",
    0x8A: "mqtt.banned",
    0x8B: "mqtt.server-shutting-down",
    0x8C: "mqtt.bad-authentication-method",
    0x8D: "mqtt.keep-alive-timeout",
    0x8E: "mqtt.taken-over",
    0x8F: "mqtt.filter-invalid",
    0x90: "mqtt.topic-name-invalid",
    0x91: "mqtt.identifier-in-use",
    0x92: "mqtt.identifier-not-found",
    0x93: "mqtt.receive-maximum-exceeded",
    0x94: "mqtt.topic-alias-invalid",
    0x95: "mqtt.packet-too-large",
    0x96: "mqtt.message-rate-too-high",
    0x97: "mqtt.quota-exceeded",
    0x98: "mqtt.administrative-action",
    0x99: "mqtt.payload-format-invalid",
    0x9A: "mqtt.retain-not-supported",
    0x9B: "mqtt.qos-not-supported",
    0x9C: "mqtt.use-another-server",
    0x9D: "mqtt.server-moved",
    0x9E: "mqtt.shared-not-supported",
    0x9F: "mqtt.connection-rate-exceeded",
    0xA0: "mqtt.maximum-connect-time",
    0xA1: "mqtt.identifiers-not-supported",
    0xA2: "mqtt.wildcards-not-supported",
}
# Of these and of those of `session5`: no other attempt succeeds before somebody acts.
STOP_CODES = (
    "mqtt.auth-refused",
    "mqtt.bad-authentication-method",
    "mqtt.bad-property",
    "mqtt.banned",
    "mqtt.filter-invalid",
    "mqtt.identifiers-not-supported",
    "mqtt.packet-too-large",
    "mqtt.payload-format-invalid",
    "mqtt.qos-not-supported",
    "mqtt.retain-not-supported",
    "mqtt.server-moved",
    "mqtt.shared-not-supported",
    "mqtt.topic-name-invalid",
    "mqtt.use-another-server",
    "mqtt.wildcards-not-supported",
)


def refusal(code: int, doing: str, properties) -> KeyfobError:
    """The error for reason ``code`` (0x80 and above); ``doing`` says what was refused.

    The detail carries the broker's reason string and server reference, if it sent any.
    """
    detail = "%s: reason code 0x%02x" % (doing, code)
    for name in ("reason_string", "server_reference"):
        if properties and name in properties:
            detail += ", " + properties[name]
    return KeyfobError(_REASONS.get(code, "mqtt.unspecified"), detail)
