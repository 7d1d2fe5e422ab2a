"""mosquitto's log, 2.0 and 2.1, with and without times, alone or behind syslog's.

What clients suffered becomes signs, who was let in arrivals. A takeover now and then is what a
board does that comes back after a power cut, so that only repeated ones count. What the log
does not say of a client that failed in TLS is which one it was.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from keyfob_host.doctor.offline.readings import by_phrases, by_readers
from keyfob_host.doctor.offline.signs import Arrival, LogRead, Sign, merged
from keyfob_host.doctor.offline.stamps import split
from keyfob_host.doctor.phrases import broker
from keyfob_host.pki.names import HOST_ID
from keyfob_host.printable import LINE_CHARS, printable

LET_IN = re.compile(
    r"New client connected from (\S{1,60}?)(?::\d{1,5})? as (\S{1,200}) \((.{0,200})\)"
)
_CONNECTION = re.compile(r"New connection from (\S{1,60}?)(?::\d{1,5})? on port (\d{1,5})")
_CLIENT = re.compile(
    r"(?:Client|PUBLISH from|SUBSCRIBE from|CONNECT from|client) ([^\s<,]{1,200})[ ,]"
)
_ANNOUNCED = ("New client connected", "New connection", "Received ", "Sending ", "Config loaded")
# OpenSSL's errors come in two wrappings within one version.
_TLS = re.compile(r"(?:OpenSSL Error|Client connection from (\S{1,60}?)(?::\d{1,5})? failed: )")
_OF_CLIENT = re.compile(r"Client (?!<unknown>)\S{1,200} ")
# 2.0 writes so of a client that was let in and whose TCP connection was reset.
_VANISHED = re.compile(r"Client (?!<unknown>)\S{1,200} disconnected: Protocol error")
_RUNNING = re.compile(r"mosquitto version \S{1,20} running")
_NOT_SENT = "peer did not return a certificate"
_EOF = "unexpected eof while reading"
_USER = f"u'{HOST_ID}'"
_OTHER = re.compile(
    r"Client \S{1,200} (?:closed|disconnected|has|already)\b|Error: |mosquitto version \d"
)
# It takes this many of a kind to be more than a board that came back.
_FEW = {"mqtt.same-client-id": 2, "traffic.keep-alive": 2}
# Also shown so: what the issuing machine dated ahead, and to clients with OpenSSL a date to come.
_MORE = (
    ("certificate verify failed", ("clock.issuer-ahead", "x509.weak-algorithm")),
    ("bad certificate", ("clock.issuer-ahead", "clock.board-never-set")),
)
# What a client that is let in suffers all the same.
_LASTING = ("authorization.denied-topic", "traffic.packet-too-large", "traffic.misused-protocol")
_LATER = timedelta(minutes=2)
_LOOPBACK = ("127.", "::1")


def is_of_broker(line: str) -> bool:
    """Whether mosquitto wrote it, as far as its text tells (its time stands no longer before)."""
    if line.startswith(_ANNOUNCED) or _TLS.match(line) or _OTHER.match(line):
        return True
    return by_phrases(line, broker.PHRASES) is not None


def read_broker_log(where: str, lines: list[tuple[int, str]], now: datetime) -> LogRead:
    """``lines``: with their numbers, those of other programs among them passed over."""
    read = LogRead(where, "broker's log", len(lines))
    signs: list[Sign] = []
    address = ""
    came: list[tuple[int, Arrival]] = []
    previous = ""
    is_first = False
    for number, whole in lines:
        at, line = split(whole, now)
        if _EOF in previous and _OF_CLIENT.match(line) and signs:
            signs.pop()  # it was let in before, and went without a close_notify
        previous = line
        is_first = is_first or bool(_RUNNING.match(line))
        read.saw(at)
        connection, let_in = _CONNECTION.match(line), LET_IN.match(line)
        if connection:
            address = connection[1]
        elif let_in and _USER not in let_in[3]:
            arrival = Arrival(let_in[2], at, let_in[1])
            read.arrivals.append(arrival)
            came.append((len(signs), arrival))
        elif not line.startswith(_ANNOUNCED):
            sign = _sign(f"{where}:{number}", line, at, address)
            if sign is not None:
                # So `keyfob broker` looks whether it is up, if it has no identity of its own.
                is_look = is_first and _NOT_SENT in line and sign.peer.startswith(_LOOPBACK)
                signs.append(replace(sign, is_echo=sign.is_echo or is_look))
                is_first = False
    read.signs = [
        one
        for one in merged([_judged(one, index, came, read.last) for index, one in enumerate(signs)])
        if one.count >= _FEW.get(one.causes[0], 1)
    ]
    return read


def _sign(where: str, line: str, at: datetime | None, address: str) -> Sign | None:
    tls = _TLS.match(line)
    if tls is not None:
        kind, causes = by_readers(line)
        for text, more in _MORE:
            causes += more if text in line else ()
        # Probes and health checks end so too.
        peer, is_echo = tls[1] or address, _EOF in line
    elif _VANISHED.match(line):
        return None
    else:
        meaning = by_phrases(line, broker.PHRASES)
        if meaning is None:
            kind, causes = by_readers(line) if line.startswith("Error: ") else ("", ())
            is_echo, peer = False, ""
        else:
            client = _CLIENT.search(line)
            kind, causes, is_echo = meaning.name, meaning.causes, meaning.is_echo
            peer = client[1] if client else address
    if not causes:
        return None
    shown = printable(line, limit=LINE_CHARS)
    return Sign("broker", kind, shown, where, causes, at, peer, is_echo=is_echo)


def _judged(
    sign: Sign, index: int, came: list[tuple[int, Arrival]], last: datetime | None
) -> Sign:  # fmt: skip
    """Over, if the same client, or one of the same machine, was let in afterwards.

    All boards of a virtual bench are one machine: there the log must have gone on for a while.
    """
    if sign.causes[0] in (*_FEW, *_LASTING):
        return sign
    is_shared = sign.peer.startswith(_LOOPBACK)
    if is_shared and sign.at and last and last - sign.at < _LATER:
        return sign
    later = [arrival for before, arrival in came if before > index]
    is_over = any(sign.peer in (arrival.client_id, arrival.address) for arrival in later)
    return replace(sign, is_over=is_over)
