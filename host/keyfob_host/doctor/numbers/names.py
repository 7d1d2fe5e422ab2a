"""What ``getaddrinfo`` raises: -2 and -202 on boards, ``[addrinfo error -2]`` on unix.

Numbers as in lwIP's ``netdb.h``, which MicroPython on ESP32 raises below zero, and in glibc's.
On ESP8266 every failure is -2 (``extmod/modlwip.c``), on ESP32 -2 is a name that resolves to
nothing.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning

LWIP_SOURCE = "socket.getaddrinfo of MicroPython on ESP32 (lwIP)"
PLAIN_SOURCE = "socket.getaddrinfo of MicroPython on ESP8266, ESP32 and unix"

_NAME = "name.not-resolved wifi.no-address"
_LWIP: dict[int, Entry] = {
    -200: ("EAI_NONAME", "no name was given, or one that cannot be", _NAME),
    -201: ("EAI_SERVICE", "the port is none", "settings.missing"),
    -202: ("EAI_FAIL", "the name server gave no address for the name, or none answered", _NAME),
    -203: ("EAI_MEMORY", "no memory to resolve a name", "firmware.out-of-memory"),
    -204: ("EAI_FAMILY", "this kind of address is not supported", "tcp.unreachable"),
    -210: ("HOST_NOT_FOUND", "the name is not known", _NAME),
    -211: ("NO_DATA", "the name has no address", _NAME),
    -212: ("NO_RECOVERY", "the name server failed", _NAME),
    -213: ("TRY_AGAIN", "the name server did not answer", "wifi.no-address name.not-resolved"),
}  # fmt: skip
_PLAIN: dict[int, Entry] = {
    -2: ("name does not resolve", "the name is not known to the network's DNS", _NAME),
    -3: ("EAI_AGAIN", "the name server did not answer (unix)", "wifi.no-address name.not-resolved"),
}


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name, as ``EAI_FAIL``."""
    for number, entry in {**_PLAIN, **_LWIP}.items():
        if entry[0] == name:
            return readings(number)
    return []


def readings(number: int) -> list[Meaning]:
    """What ``getaddrinfo`` means by ``number``, below zero."""
    if number in _PLAIN:
        return [meaning(_PLAIN[number], PLAIN_SOURCE, number=str(number))]
    if number in _LWIP:
        return [meaning(_LWIP[number], LWIP_SOURCE, number=str(number))]
    return []
