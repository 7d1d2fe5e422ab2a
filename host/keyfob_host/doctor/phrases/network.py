"""What the operating system and time clients say in words: names, connections, NTP."""

from __future__ import annotations

from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.numbers import errnos
from keyfob_host.doctor.phrase import Phrase, phrases

NAME_SOURCE = "name resolution"
NTP_SOURCE = "NTP (RFC 5905 section 7.4)"

# The C library's words for an errno: the same meaning as the name's.
_SPOKEN = {
    "Connection refused": "ECONNREFUSED",
    "Connection reset by peer": "ECONNRESET",
    "Broken pipe": "EPIPE",
    "Connection timed out": "ETIMEDOUT",
    "No route to host": "EHOSTUNREACH",
    "Network is unreachable": "ENETUNREACH",
    "Network is down": "ENETDOWN",
    "Software caused connection abort": "ECONNABORTED",
    "No space left on device": "ENOSPC",
    "Read-only file system": "EROFS",
    "Too many open files": "EMFILE",
    "Cannot allocate memory": "ENOMEM",
}
_NAME = "name.not-resolved wifi.no-address"
_NTP = "clock.no-ntp-answer"


def _spoken(text: str, name: str) -> Phrase:
    (one,) = errnos.by_name(name)
    return Phrase(text, Meaning(f"{name}, {text}", one.source, one.words, one.causes))


PHRASES = (
    *phrases(
        NAME_SOURCE,
        ("Name or service not known", "the name does not resolve", _NAME),
        ("nodename nor servname provided", "the name does not resolve", _NAME),
        ("Temporary failure in name resolution", "the name server did not answer",
         "wifi.no-address name.not-resolved"),
        ("No address associated with hostname", "the name has no address", _NAME),
        ("getaddrinfo failed", "the name does not resolve", _NAME),
        ("gaierror", "the name does not resolve", _NAME),
    ),
    *phrases(
        NTP_SOURCE,
        ("kiss-o'-death", "the time server asks to stop asking", _NTP),
        ("kiss of death", "the time server asks to stop asking", _NTP),
        ("kiss code RATE", "the time server was asked too often", _NTP),
        ("kiss code DENY", "the time server does not serve this client", _NTP),
        ("kiss code RSTR", "the time server does not serve this client", _NTP),
        ("ntptime", "setting the clock failed there", _NTP + " name.not-resolved wifi.no-address"),
        ("NTP timeout", "the time server did not answer", _NTP),
        ("no response from NTP", "the time server did not answer", _NTP),
    ),
    *(_spoken(text, name) for text, name in _SPOKEN.items()),
)  # fmt: skip
