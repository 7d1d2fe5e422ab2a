"""Alerts by name, which one says what we refuse, and how a connection ends.

Loaded when there is one, and dropped again.

RFC 5246 section 7.2.2, RFC 8446 section 6.2, RFC 6066 section 9.
"""

from micropython import const

from keyfob import unload
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS13
from keyfob.tls.reasons import alert

_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
# What TLS 1.3 or an extension adds to `keyfob.tls.reasons`.
_RECEIVED = {
    112: "tls.alert-unrecognized-name",
    115: "tls.alert-unknown-psk-identity",
    116: "tls.alert-certificate-required",
    120: "tls.alert-no-application-protocol",
}
_SENT = {
    "tls.unexpected-message": 10,
    "tls.flood": 10,
    "tls.bad-record-mac": 20,
    "tls.record-overflow": 22,
    "tls.no-secure-renegotiation": 40,
    "tls.no-common-scheme": 40,
    "tls.not-offered": 47,
    "tls.illegal-parameter": 47,
    "tls.downgrade": 47,
    "tls.malformed": 50,
    "tls.bad-signature": 51,
    "tls.bad-finished": 51,
    "tls.wrong-version": 70,
    "tls.missing-extension": 109,
    "tls.unknown-extension": 110,
    "x509.no-certificate": 50,
    "x509.untrusted": 48,
    "x509.expired": 45,
    "x509.not-yet-valid": 45,
    "x509.wrong-usage": 43,
    "x509.not-v3": 43,
}
# The connection is gone, or nobody is there who understands an alert.
_SILENT = ("tls.truncated", "tls.closed", "tls.no-answer", "tls.not-tls")
_MODULES = (
    "keyfob.tls.alerts", "keyfob.tls.reasons", "keyfob.tls.os_errors", "keyfob.tls.refusals",
)  # fmt: skip
_HANDSHAKE = const(22)
_CLOSE_NOTIFY = const(0)
_BAD_CERTIFICATE = const(42)
_INTERNAL_ERROR = const(80)
_USER_CANCELED = const(90)
_NO_RENEGOTIATION = const(100)


def received(engine) -> None:
    """The record at hand is an alert. Errors: tls.malformed, tls.closed, tls.flood, and
    those of a fatal alert from the server."""
    unload(*_MODULES)
    at, size = engine.at, engine.end - engine.at
    engine.at = engine.end
    if size != 2:
        raise KeyfobError("tls.malformed", "alert of %d bytes" % size)
    level, number = engine.rx[at], engine.rx[at + 1]
    if number == _CLOSE_NOTIFY:
        engine.is_closed = True
        if not engine.is_open:
            raise KeyfobError("tls.closed", "close_notify during the handshake")
    elif number == _USER_CANCELED or (level == 1 and engine.version != TLS13):
        engine.count_idle()
    else:
        error = alert(number)
        error.code = _RECEIVED.get(number, error.code)
        error.detail += ", " + _NAMES.get(number, "unknown")
        raise error


def ended(engine) -> KeyfobError:
    """The error for a connection that ended without close_notify."""
    if engine.is_open:
        return KeyfobError("tls.truncated", "no close_notify from the broker")
    if engine.seen_bytes:
        return KeyfobError("tls.closed", "%d bytes during the handshake" % engine.seen_bytes)
    return KeyfobError("tls.no-answer", "closed before its first byte")


def renegotiation(engine) -> None:
    """The record at hand belongs to a handshake, which TLS 1.2 does not get a second time.
    A HelloRequest is answered by a warning (RFC 5246 section 7.4.1.1)."""
    unload(*_MODULES)
    at, end = engine.at, engine.end
    engine.at = end
    if engine.kind != _HANDSHAKE or bytes(engine.rx[at:end]) != bytes(4):
        detail = "record of type %d, message %d" % (engine.kind, engine.rx[at])
        raise KeyfobError("tls.unexpected-message", detail)
    engine.count_idle()
    engine.put_alert(1, _NO_RENEGOTIATION)


def number_for(error: KeyfobError, engine) -> int:
    """The alert that tells the server of ``error``, noted in its detail; -1 if none does.

    A session does not outlive a fatal alert, whoever sends it: RFC 5246 section 7.2.2, RFC
    8446 section 6.2.
    """
    unload(*_MODULES)
    code = error.code
    if code in _SILENT:
        return -1
    engine.session = None
    if code.startswith("tls.alert"):
        return -1
    number = _SENT.get(code, _BAD_CERTIFICATE if code[:5] == "x509." else _INTERNAL_ERROR)
    error.detail += "; alert %d sent, %s" % (number, _NAMES[number])
    return number
