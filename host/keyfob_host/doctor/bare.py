"""A number without a word: everything it can mean, where people meet it most often first.

A small number has as many meanings as there are libraries on the way. Each is told with its
source; which it is depends on what printed it, and that the person knows.
"""

from __future__ import annotations

import re

from keyfob_host.doctor.meaning import Meaning
from keyfob_host.doctor.numbers import (
    alerts,
    axtls,
    bearssl,
    errnos,
    mbedtls,
    mqtt,
    names,
    openssl,
    resets,
    simplelink,
    wifi,
)

_NUMBER = re.compile(r"[(\[]?\s*([+-]?)\s*(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})\s*[)\]]?\.?")
# As OpenSSL prints its errors: eight digits, of the library SSL in 3.x or 1.1.1.
_PACKED = re.compile(r"(?:0A|14)[0-9A-Fa-f]{6}")
_UMQTT = Meaning(
    "OSError(-1)", "umqtt.simple on MicroPython", "the broker closed the connection",
    ("tcp.closed-by-peer", "mqtt.same-client-id", "traffic.keep-alive"),
)  # fmt: skip
_SMALL = 5  # above that, states of clients and of Wi-Fi end
_PACKED_FROM = 0x1000000


def is_number(text: str) -> bool:
    """Whether ``text`` is a number and nothing else."""
    return any(pattern.fullmatch(text.strip()) for pattern in (_NUMBER, _PACKED))


def readings(text: str) -> list[Meaning]:
    """What a bare number can mean: ``-2``, ``48``, ``0x7780``, ``-0x7280``, ``0A000418``."""
    if _PACKED.fullmatch(text.strip()):
        return _above(int(text.strip(), 16), is_hex=True)
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return []
    number = int(match[2], 0) if match[2][:2] in ("0x", "0X") else int(match[2])
    if match[1] == "-":
        return below_zero(-number, is_hex="x" in match[2].lower())
    return _above(number, is_hex="x" in match[2].lower())


def below_zero(number: int, *, is_hex: bool = False) -> list[Meaning]:
    """What ``number`` can mean, below zero. ``is_hex``: as mbedTLS's numbers are written."""
    if mbedtls.is_error(number) or (is_hex and number > -0x80):
        return mbedtls.readings(number)
    if number >= -_SMALL:
        found = [
            *mqtt.arduino(number), *mqtt.pubsub(number), *names.readings(number),
            *axtls.readings(number), *mqtt.paho(number), *wifi.status(number),
        ]  # fmt: skip
        return [_UMQTT, *found] if number == -1 else found
    return [
        *names.readings(number), *axtls.readings(number), *simplelink.readings(number),
        *bearssl.readings(number),
    ]  # fmt: skip


def _above(number: int, *, is_hex: bool) -> list[Meaning]:
    if number >= _PACKED_FROM:
        reason = openssl.unpacked(number)
        return [] if reason is None else openssl_reason(reason, "")
    if mbedtls.is_error(-number):
        return mbedtls.readings(-number)
    if is_hex:
        return mqtt.reason(number) or [*resets.rom32(number), *alerts.readings(number)]
    if number <= _SMALL:
        return [
            *mqtt.returned(number), *wifi.status(number), *errnos.readings(number),
            *bearssl.readings(number), *resets.cause(number),
        ]  # fmt: skip
    return [
        *alerts.readings(number), *errnos.readings(number), *mqtt.reason(number),
        *wifi.status(number), *bearssl.readings(number), *resets.cause(number),
    ]  # fmt: skip


def openssl_reason(reason: int, sender: str) -> list[Meaning]:
    """What an SSL ``reason`` means: an alert that ``sender`` sent, or OpenSSL's own."""
    if reason >= openssl.ALERT_REASONS:
        return alerts.readings(reason - openssl.ALERT_REASONS, sender)
    return openssl.by_reason(reason)
