"""Finds in a line what has a meaning: numbers with the words around them, names, phrases.

Each reader yields where it found something and what it means. They come in the order of
what is most particular; what one has taken, the next ones do not read again. Patterns are
without nested repetition and every repetition has a bound, so a line costs little whatever
is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from keyfob_host.doctor import bare, codes
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
from keyfob_host.doctor.phrase import Phrase
from keyfob_host.doctor.phrases import board, broker, network, serial, tls

Hit = tuple[int, int, list[Meaning]]
Reader = Callable[[str], Iterator[Hit]]

_INT = r"(-?\d{1,6})"
_HEX_OR_INT = r"(0[xX][0-9a-fA-F]{1,4}|\d{1,3})"
_PACKED = re.compile(r"error:([0-9A-Fa-f]{8}):[^:]{0,40}:[^:]{0,60}:([^:]{0,80})")
_ALERT_TAIL = re.compile(r"SSL alert number \d{1,3}")
_VERIFY = re.compile(r"verify (?:error|return code)[: ]{1,2}(?:num=)?(\d{1,3})[^:;]{0,3}[:(]?"
                     r"[\w '()-]{0,60}")  # fmt: skip
_ALERT_TEXT = re.compile(r"(?:(?:sslv3|tlsv1|tlsv13|ssl/tls)[ _](?:alert[ _])?|alert[ _:]{1,2})",
                         re.IGNORECASE)  # fmt: skip
_ALERT_NUMBER = re.compile(
    r"alert(?: number| message| type| code| description)?[ :=#]{1,3}(\d{1,3})(?![\d.])"
    r"(?:[ ,:(-]{1,3}(\w{3,40}))?",
    re.IGNORECASE,
)
_ALERT_PAIR = re.compile(r"\[[12]:(\d{1,3})\]")
_ALERT_SENT = re.compile(r"send alert level=[12] message=(\d{1,3})")
_ALERT_SHARK = re.compile(r"alert \(level: \w{1,10}, description: ([\w ]{3,40})\)", re.IGNORECASE)
_FROM = re.compile(
    r"\b(broker|board)\b[^\n]{0,40}?\balert\b|\balert\b[^\n]{0,60}?\b(?:from|by) the (broker|board)"
    r"|\balert \d{1,3} sent\b",
    re.IGNORECASE,
)
_MBEDTLS_NAMES = re.compile(r"MBEDTLS_ERR_[A-Z0-9_]{2,60}(?:\s?\+\s?MBEDTLS_ERR_[A-Z0-9_]{2,60})?")
_MBEDTLS_NUMBER = re.compile(
    r"(?<![\w.-])-(0x[0-9a-fA-F]{2,4}|\d{4,5})(?:\s?\+\s?-?(0x[0-9a-fA-F]{1,4}))?(?![\w.]*\w)"
)
_MBEDTLS_PLAIN = re.compile(r"(?:mbedtls|ssl|tls|handshake|returned)[^\n]{0,60}?"
                            r"\b(0x[0-9a-fA-F]{4})\b", re.IGNORECASE)  # fmt: skip
_NAME = re.compile(r"\b(?:BR_ERR_[A-Z0-9_]{2,40}|SL_ESEC[A-Z0-9_]{1,40}|[A-Z0-9]{2,8}WDT_\w{3,20}|"
                   r"E[A-Z]{3,15}|[A-Z][A-Z0-9]{1,11}_[A-Z0-9_]{3,50})\b")  # fmt: skip
_OS_ERROR = re.compile(
    r"(?:OSError|\w{3,30}Error|gaierror|timeout)?[ :(]{0,3}\[?(?:Errno|errno|addrinfo error)"
    r"[ :=]{1,3}(-?\d{1,5})\]?[ ,:]{0,2}([A-Z][A-Z_]{2,20}\b)?"
    r"|OSError[:( ]{1,3}\(?(-?\d{1,5})(?:, ?'?([A-Z][A-Z_0-9]{2,30})?)?"
)
_CONNACK = re.compile(r"CONNACK[^\n]{0,80}?\(\d, ?(\d{1,3})\)|(?:MQTTException|MqttError)[:( ]{1,3}"
                      + _HEX_OR_INT, re.IGNORECASE)  # fmt: skip
_RETURNED = re.compile(r"(?:return(?:ed)?[ _]code|result code|connack)[ :=]{1,3}(?:was )?"
                       + _HEX_OR_INT + r"(?!\w)", re.IGNORECASE)  # fmt: skip
_REASON = re.compile(r"reason[ _]?code[ :=]{1,3}" + _HEX_OR_INT + r"(?!\w)", re.IGNORECASE)
_RC = re.compile(r"\b(?:rc|state)(?:\(\))?[ :=]{1,3}" + _INT + r"(?![\w.])", re.IGNORECASE)
_ARDUINO = re.compile(r"(?:Error code|connectError(?:\(\))?)[ :=]{1,3}" + _INT + r"(?![\w.])",
                      re.IGNORECASE)  # fmt: skip
_BEARSSL = re.compile(
    r"(?:BearSSL|LastSSLError|(?<!Open)SSL error)[^\d\n[-]{0,40}" + _INT, re.IGNORECASE
)
_STATUS = re.compile(
    r"(?:wlan|wi-?fi)[^\d\n-]{0,40}status[^\d\n-]{0,5}(?:-> ?)?" + _INT, re.IGNORECASE
)
_STATUS_ALONE = re.compile(r"\s*status(?:\(\))?[ :=]{1,3}(\d{3,4}|-?\d)\s*", re.IGNORECASE)
_WIFI_REASON = re.compile(r"(?:disconn|wi-?fi|sta)[^\n]{0,60}?reason[ :=]{1,3}(\d{1,3})",
                          re.IGNORECASE)  # fmt: skip
_ROM32 = re.compile(r"rst:(0x[0-9a-fA-F]{1,2}) ?(?:\(\w{3,30}\))?")
_BOOT = re.compile(r"boot:0x[0-7]\b(?: ?\(DOWNLOAD[^)]{0,40}\)?)?|boot mode: ?\(1,\d\)")
_ROM8266 = re.compile(r"rst cause: ?(\d)")
_CAUSE = re.compile(r"reset[_ ]cause(?:\(\))?[^\d\n]{0,5}(\d)\b", re.IGNORECASE)

_PHRASES = (
    *serial.PHRASES, *broker.PHRASES, *tls.PHRASES, *board.PHRASES, *network.PHRASES,
    *(Phrase(name, one) for name, one in mqtt.refusals()),
)  # fmt: skip
_DOWNLOAD = [
    Meaning(
        "boot mode: download", board.ROM_SOURCE, "GPIO0 was low at reset: the board waits to be "
        "flashed", ("firmware.download-mode",),
    )
]  # fmt: skip


def _number(text: str) -> int:
    return int(text, 16) if text[1:2] in ("x", "X") else int(text)


def _keyfob(line: str) -> Iterator[Hit]:
    for match in codes.CODE.finditer(line):
        yield match.start(), match.end(), codes.readings(match[0])


def _openssl(line: str) -> Iterator[Hit]:
    for match in _PACKED.finditer(line):
        reason = openssl.unpacked(int(match[1], 16))
        found = [] if reason is None else bare.openssl_reason(reason, _sender(line))
        if found:
            # The number names the alert: what stands at the end repeats it.
            tail = _ALERT_TAIL.search(line, match.end())
            yield match.start(), tail.end() if tail else match.end(), found
    for match in _VERIFY.finditer(line):
        if match[1] != "0":
            yield match.start(), match.end(), openssl.verify(int(match[1]))


def _alerts(line: str) -> Iterator[Hit]:
    sender = _sender(line)
    for match in _ALERT_SHARK.finditer(line):
        number = alerts.number_of(match[1])
        if number is not None:
            yield match.start(), match.end(), alerts.readings(number, sender)
    for match in _ALERT_NUMBER.finditer(line):
        yield match.start(), match.end(), alerts.readings(int(match[1]), sender)
    lower = line.lower()
    for number, start, end in alerts.spelled(lower):
        if axtls.by_name(line[start:end]):  # RECORD_OVERFLOW is a name of both
            both = [*axtls.by_name(line[start:end]), *alerts.readings(number, sender)]
            yield start, end, both
            continue
        before = lower[max(0, start - 16) : start].replace("_", " ")
        is_name = end - start == len(lower.strip()) or ("_" in line[start:end] and "ssl" in lower)
        if is_name or any(word in before for word in ("alert", "tlsv1", "tls: ")):
            lead = _ALERT_TEXT.search(line, max(0, start - 16))
            yield lead.start() if lead else start, end, alerts.readings(number, sender)
    if "alert" in lower:  # mbedTLS's own debug lines
        for pattern, who in ((_ALERT_PAIR, "broker"), (_ALERT_SENT, "board")):
            for match in pattern.finditer(line):
                yield match.start(), match.end(), alerts.readings(int(match[1]), who)


def _sender(line: str) -> str:
    """Who sent the alert that a line tells of, ``"board"`` or ``"broker"``; "" if it does not say.

    In mosquitto's log it is the board; Keyfob's firmware and its tap name the sender.
    """
    if any(words in line for words in ("OpenSSL Error", "on client", "Client connection from")):
        return "board"
    match = _FROM.search(line)
    if match is None:
        return ""
    return (match[1] or match[2] or "board").lower()


def _mqtt(line: str) -> Iterator[Hit]:
    for pattern in (_CONNACK, _RETURNED):
        for match in pattern.finditer(line):
            code = _number(next(group for group in match.groups() if group))
            yield match.start(), match.end(), mqtt.returned(code) or mqtt.reason(code)
    for match in _REASON.finditer(line):
        code = _number(match[1])
        yield match.start(), match.end(), mqtt.reason(code) or mqtt.returned(code)
    for match in _ARDUINO.finditer(line):
        yield match.start(), match.end(), mqtt.arduino(int(match[1]))
    for match in _RC.finditer(line):
        yield match.start(), match.end(), mqtt.pubsub(int(match[1]))


def _mbedtls(line: str) -> Iterator[Hit]:
    for match in _MBEDTLS_NAMES.finditer(line):
        numbers = [mbedtls.BY_NAME.get(name.strip()) for name in match[0].split("+")]
        known = [number for number in numbers if number is not None]
        yield match.start(), match.end(), mbedtls.readings(-sum(known))[:1] if known else []
    for match in _MBEDTLS_NUMBER.finditer(line):
        number = _number(match[1]) + (_number(match[2]) if match[2] else 0)
        if mbedtls.is_error(-number) or match[1][1:2] in ("x", "X"):
            yield match.start(), match.end(), mbedtls.readings(-number)
    for match in _MBEDTLS_PLAIN.finditer(line):
        if mbedtls.is_error(-int(match[1], 16)):
            yield match.start(1), match.end(1), mbedtls.readings(-int(match[1], 16))


def _os_errors(line: str) -> Iterator[Hit]:
    for match in _OS_ERROR.finditer(line):
        number, name = int(match[1] or match[3]), match[2] or match[4] or ""
        if "addrinfo" in match[0] or ("gaierror" in line and number < 0):
            found = names.readings(number)
        elif name in errnos.NAMES:
            # The name is the port's own; the number alone would leave two.
            found = [one for one in errnos.readings(number) if one.name.startswith(name)]
            found = found[:1] or errnos.by_name(name)
        else:
            found = axtls.by_name(name) or (
                errnos.readings(number) if number > 0 else _below_zero(number)
            )
        yield match.start(), match.end(), found


def _below_zero(number: int) -> list[Meaning]:
    """What MicroPython means by ``OSError(number)``, below zero."""
    if number == -1:
        return bare.below_zero(-1)[:1]
    return mbedtls.readings(number) if mbedtls.is_error(number) else [
        *names.readings(number), *axtls.readings(number)
    ]  # fmt: skip


def _arduino(line: str) -> Iterator[Hit]:
    for match in _BEARSSL.finditer(line):
        yield match.start(), match.end(), bearssl.readings(int(match[1]))


def _wifi(line: str) -> Iterator[Hit]:
    for match in chain(_STATUS.finditer(line), _STATUS_ALONE.finditer(line)):
        if match[0].strip() == line.strip() or match.re is _STATUS:
            yield match.start(), match.end(), wifi.status(int(match[1]))
    for match in _WIFI_REASON.finditer(line):
        yield match.start(), match.end(), wifi.reason(int(match[1]))


def _resets(line: str) -> Iterator[Hit]:
    for match in _ROM32.finditer(line):
        yield match.start(), match.end(), resets.rom32(int(match[1], 16))
    for match in _ROM8266.finditer(line):
        yield match.start(), match.end(), resets.rom8266(int(match[1]))
    for match in _BOOT.finditer(line):
        yield match.start(), match.end(), _DOWNLOAD
    for match in _CAUSE.finditer(line):
        yield match.start(), match.end(), resets.cause(int(match[1]))


def _names(line: str) -> Iterator[Hit]:
    for match in _NAME.finditer(line):
        name = match[0]
        found = (
            errnos.by_name(name) or axtls.by_name(name) or bearssl.by_name(name)
            or simplelink.by_name(name) or resets.by_name(name) or wifi.by_name(name)
            or mqtt.by_name(name) or names.by_name(name)
        )  # fmt: skip
        yield match.start(), match.end(), found


def _phrases(line: str) -> Iterator[Hit]:
    lower = line.lower()
    for phrase in _PHRASES:
        span = phrase.find(lower)
        if span is not None:
            yield *span, [phrase.meaning]


READERS: tuple[Reader, ...] = (
    _keyfob, _openssl, _alerts, _mqtt, _mbedtls, _os_errors, _arduino, _wifi, _resets, _phrases,
    _names,
)  # fmt: skip
