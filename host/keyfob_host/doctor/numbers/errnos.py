"""The operating system's errors: ``OSError(104)``, ``[Errno 111] ECONNREFUSED``, ``ETIMEDOUT``.

Up to 34 every system has the same numbers, above that two tables are in use: Linux's, which
MicroPython takes too where it brings its own (ESP8266, unix), and newlib's on ESP32. So 113
is EHOSTUNREACH here and ECONNABORTED there. Numbers as in ``py/mperrno.h`` and newlib's
``sys/errno.h``.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Meaning

LINUX_SOURCE = "OSError of MicroPython (ESP8266, unix) and Linux"
NEWLIB_SOURCE = "OSError of MicroPython on ESP32 (newlib's numbers)"
_BOTH_SOURCE = "OSError, the same number everywhere"

_RESET = (
    "client-certificate.unknown-ca client-certificate.not-sent client-certificate.expired "
    "tcp.wrong-port client-certificate.wrong-usage tcp.closed-by-peer clock.broker-behind "
    "client-certificate.revoked client-certificate.crl-overdue mqtt.too-many-connections "
    "traffic.packet-too-large mqtt.same-client-id tls.no-server-name x509.same-subject-twice"
)
_PIPE = (
    "client-certificate.unknown-ca client-certificate.expired client-certificate.not-sent "
    "x509.same-subject-twice clock.broker-behind client-certificate.revoked "
    "client-certificate.crl-overdue client-certificate.wrong-usage tcp.closed-by-peer"
)
_WORDS: dict[str, tuple[str, str]] = {
    "EPERM": ("this is not permitted", ""),
    "ENOENT": ("the file is not there; as -2: the name does not resolve", "firmware.file-missing"),
    "EINTR": ("interrupted; call again", ""),
    "EIO": ("reading or writing failed", "firmware.flash-full"),
    "EBADF": ("the socket or file is closed already", "tcp.closed-by-peer"),
    "EAGAIN": ("nothing there yet; with a time limit: it is over", "tcp.silent"),
    "ENOMEM": ("no memory, in TLS mostly for its buffers",
               "tls.heap-too-small firmware.out-of-memory"),
    "EACCES": ("no permission", "serial.no-permission"),
    "EBUSY": ("in use", "serial.port-busy"),
    "EEXIST": ("it is there already", ""),
    "ENODEV": ("there is no such device", "serial.no-port"),
    "ENOTDIR": ("a folder of the path is a file", "firmware.file-missing"),
    "EISDIR": ("a folder where a file is wanted", ""),
    "EINVAL": ("a value that this function does not take", "tls.no-server-name"),
    "ENFILE": ("too many open files or sockets", "mqtt.broker-unavailable"),
    "EMFILE": ("too many open files or sockets", "mqtt.broker-unavailable"),
    "ENOSPC": ("the file system is full", "firmware.flash-full"),
    "EROFS": ("the file system is read-only", "firmware.flash-full"),
    "EPIPE": ("the other end closed while this one was writing, as a broker does that refuses a "
              "certificate", _PIPE),
    "EOPNOTSUPP": ("this is not supported here", ""),
    "EAFNOSUPPORT": ("this kind of address is not supported, as IPv6", "tcp.unreachable"),
    "EADDRINUSE": ("the port is taken", "tcp.listener-down"),
    "EADDRNOTAVAIL": ("the address is none of this machine's", "tcp.listener-down"),
    "ENETDOWN": ("the network is down", "wifi.weak-signal wifi.no-address"),
    "ENETUNREACH": ("there is no way to that network", "tcp.unreachable wifi.no-address"),
    "ECONNABORTED": ("the connection was given up here, as when the Wi-Fi is lost",
                     "wifi.weak-signal tcp.silent tcp.closed-by-peer"),
    "ECONNRESET": ("the other end reset the connection", _RESET),
    "ENOBUFS": ("no network buffers", "firmware.out-of-memory tls.heap-too-small"),
    "EISCONN": ("connected already", ""),
    "ENOTCONN": ("not connected: it never was, or the other end closed",
                 "tcp.closed-by-peer tcp.listener-down wifi.weak-signal"),
    "ETIMEDOUT": ("no answer in time", "tcp.silent clock.no-ntp-answer wifi.weak-signal"),
    "ECONNREFUSED": ("nothing listens on that port",
                     "tcp.listener-down tcp.wrong-port x509.weak-algorithm"),
    "EHOSTDOWN": ("the other machine is off", "tcp.unreachable"),
    "EHOSTUNREACH": ("there is no way to that machine, or the Wi-Fi is down",
                     "tcp.unreachable wifi.no-address wifi.weak-signal"),
    "EALREADY": ("it is under way already", ""),
    "EINPROGRESS": ("it is under way; nothing is wrong with a non-blocking socket", ""),
    "EMSGSIZE": ("the packet is too large", "traffic.packet-too-large"),
    "ECANCELED": ("it was called off", ""),
}  # fmt: skip
_COMMON = {
    1: "EPERM", 2: "ENOENT", 4: "EINTR", 5: "EIO", 9: "EBADF", 11: "EAGAIN", 12: "ENOMEM",
    13: "EACCES", 16: "EBUSY", 17: "EEXIST", 19: "ENODEV", 20: "ENOTDIR", 21: "EISDIR",
    22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 28: "ENOSPC", 30: "EROFS", 32: "EPIPE",
    95: "EOPNOTSUPP", 104: "ECONNRESET", 105: "ENOBUFS", 111: "ECONNREFUSED",
}  # fmt: skip
LINUX = {
    90: "EMSGSIZE", 97: "EAFNOSUPPORT", 98: "EADDRINUSE", 99: "EADDRNOTAVAIL", 100: "ENETDOWN",
    101: "ENETUNREACH", 103: "ECONNABORTED", 106: "EISCONN", 107: "ENOTCONN", 110: "ETIMEDOUT",
    112: "EHOSTDOWN", 113: "EHOSTUNREACH", 114: "EALREADY", 115: "EINPROGRESS", 125: "ECANCELED",
}  # fmt: skip
NEWLIB = {
    106: "EAFNOSUPPORT", 112: "EADDRINUSE", 113: "ECONNABORTED", 114: "ENETUNREACH",
    115: "ENETDOWN", 116: "ETIMEDOUT", 117: "EHOSTDOWN", 118: "EHOSTUNREACH", 119: "EINPROGRESS",
    120: "EALREADY", 122: "EMSGSIZE", 125: "EADDRNOTAVAIL", 127: "EISCONN", 128: "ENOTCONN",
    140: "ECANCELED",
}  # fmt: skip
NAMES = frozenset(_WORDS)


def readings(number: int) -> list[Meaning]:
    """What ``OSError(number)`` means; two answers where the systems differ."""
    found = []
    for table, source in (
        (_COMMON, _BOTH_SOURCE), (LINUX, LINUX_SOURCE), (NEWLIB, NEWLIB_SOURCE)
    ):  # fmt: skip
        if number in table:
            found.append(_meaning(table[number], source, f" ({number})"))
    return found


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name, as ``ECONNRESET``."""
    return [_meaning(name, "OSError", "")] if name in _WORDS else []


def _meaning(name: str, source: str, number: str) -> Meaning:
    words, causes = _WORDS[name]
    return Meaning(f"{name}{number}", source, words, tuple(causes.split()))
