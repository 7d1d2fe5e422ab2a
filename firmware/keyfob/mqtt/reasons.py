"""What a broker's return codes (3.1.1) and reason codes (5.0) are called.

MQTT 3.1.1 table 3.1; MQTT 5.0 section 2.4. Imported when a broker refuses something, or says
more with an acknowledgement than that it has it.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.mqtt.publish import malformed

_PUBREL = const(6)
_NO_SUBSCRIBERS = const(0x10)  # reason code of PUBACK and PUBREC

# Return codes 1 to 5 as reason codes: most mean the same.
_RETURNED = b"\x84\x85\x88\x86\x87"
# From 0x80 on; one text takes less memory than its words.
_NAMES = (
    "unspecified found-malformed found-protocol-error implementation-specific "
    "unacceptable-protocol identifier-rejected bad-credentials not-authorized "
    "server-unavailable server-busy banned server-shutting-down "
    "bad-authentication-method keep-alive-timeout taken-over filter-invalid "
    "topic-name-invalid identifier-in-use identifier-not-found receive-maximum-exceeded "
    "topic-alias-invalid packet-too-large message-rate-too-high quota-exceeded "
    "administrative-action payload-format-invalid retain-not-supported qos-not-supported "
    "use-another-server server-moved shared-not-supported connection-rate-exceeded "
    "maximum-connect-time identifiers-not-supported wildcards-not-supported"
)


def read_code(session, at: int, end: int, kind: int) -> int:
    """Reason code and properties of an acknowledgement or DISCONNECT (section 2.4 of 5.0).

    Above 0x7f all are taken for a refusal, those of other packets too: a message that
    is never answered would be sent for ever.
    """
    session.properties = None
    if at == end:
        return 0
    if at + 1 < end and session.decode(at + 1, end, kind) != end:
        raise malformed("bytes behind the properties of packet type", kind)
    code = session.rx[at]
    if 0 < code < 128 and not (code == _NO_SUBSCRIBERS and kind < _PUBREL):
        raise malformed("reason code of packet type %d" % kind, code)
    return code


def refusal(code: int, doing: str, properties) -> KeyfobError:
    """The error for reason ``code`` (0x80 and above); ``doing`` says what was refused.

    The detail carries the broker's reason string and server reference, if it sent any.
    """
    detail = "%s: reason code 0x%02x" % (doing, code)
    for name in ("reason_string", "server_reference"):
        if properties and name in properties:
            detail += ", " + properties[name]
    return KeyfobError(_slug(code), detail)


def returned(code: int) -> KeyfobError:
    """The error for a CONNACK's return ``code`` of 3.1.1, 1 to 5."""
    return KeyfobError(_slug(_RETURNED[code - 1]), "CONNACK return code %d" % code)


def _slug(code: int) -> str:
    names, at = _NAMES.split(" "), code - 128
    return "mqtt." + names[at if 0 < at < len(names) else 0]
