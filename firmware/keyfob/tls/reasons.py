"""Turn what a TLS engine says into a `KeyfobError` with evidence.

Texts are those of mbedTLS 3.6 ``x509_crt.h`` (X509_CRT_ERROR_INFO_LIST), which
MicroPython raises as a ValueError; numbers of alerts are those of RFC 5246 section
7.2 and RFC 8446 section 6. With several reasons the most specific is reported: a
wrong name or a date says more than "not correctly signed".
"""

from keyfob.errors import KeyfobError
from keyfob.tls.os_errors import os_error

# Most specific first. "%s" in no text: each is searched for as it stands.
_REFUSALS = (
    ("validity starts in the future", "x509.not-yet-valid"),
    ("validity has expired", "x509.expired"),
    ("does not match with the expected CN", "x509.wrong-name"),
    ("extendedKeyUsage", "x509.wrong-usage"),
    ("keyUsage", "x509.wrong-usage"),
    ("unacceptable", "x509.weak"),
    ("not correctly signed by the trusted CA", "x509.untrusted"),
)
_ALERTS = {
    40: "tls.alert-handshake-failure",
    42: "tls.alert-bad-certificate",
    43: "tls.alert-unsupported-certificate",
    44: "tls.alert-certificate-revoked",
    45: "tls.alert-certificate-expired",
    46: "tls.alert-certificate-unknown",
    48: "tls.alert-unknown-ca",
    51: "tls.alert-decrypt-error",
    70: "tls.alert-protocol-version",
}


def refusal(text: str, chain) -> KeyfobError:
    """The error for mbedTLS's verdict ``text`` on ``chain`` (`keyfob.tls.chain.Chain`)."""
    from keyfob.tls.evidence import of_chain

    for part, code in _REFUSALS:
        if part in text:
            return KeyfobError(code, of_chain(chain, code))
    return KeyfobError("x509.refused", text.replace("\n", "; ") + of_chain(chain, ""))


def handshake(error: OSError | ValueError, tap, chain) -> KeyfobError:
    """Why a handshake ended with ``error``. ``tap``: `keyfob.tls.tap.Tap`."""
    if chain.error:
        return chain.error
    if isinstance(error, ValueError):
        return refusal(str(error), chain)
    # A broker that refuses our certificate sends its alert and closes while we are
    # still writing: the engine meets a reset and never reads why.
    rest = bytearray(64)
    tap.reads = 64
    while (tap.readinto(rest) or 0) > 0:
        pass
    watch = tap.watch
    if watch.alert >= 0:
        return alert(watch.alert)
    if not watch.is_tls:
        return KeyfobError("tls.not-tls", "first bytes from the broker are no TLS record")
    if watch.seen_bytes == 0:
        return closed(watch, 0)
    return os_error(error, "handshake")


def closed(watch, count: int) -> KeyfobError:
    """The error for a handshake that read ``count`` bytes instead of waiting."""
    if watch.seen_bytes == 0:
        return KeyfobError("tls.no-answer", "closed before its first byte")
    return KeyfobError("tls.closed", "%d bytes during the handshake" % count)


def alert(number: int) -> KeyfobError:
    """The error for a fatal alert that the broker sent."""
    return KeyfobError(_ALERTS.get(number, "tls.alert"), "alert %d from the broker" % number)
