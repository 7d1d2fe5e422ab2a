"""What a broker's return codes (3.1.1) and reason codes (5.0) are called.

MQTT 3.1.1 table 3.1; MQTT 5.0 section 2.4. Imported when a broker refuses something.
"""

from keyfob.errors import KeyfobError

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
