"""From what was seen to the first rung that does not hold, and its cause.

A board goes up the ladder by itself and says where it stops, so its last error is the rung;
which of the causes of that error it is, the rest decides: the broker's log at that moment,
the tap, certificates and clocks (`keyfob_host.doctor.judge_certificates`). Of a connection
that stands only what comes after it is judged, traffic last. What nothing decides is told
as likely, with what it could be too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from shlex import quote

from keyfob_host.console import Event
from keyfob_host.doctor.catalogue import causes_of_device_code, load_catalogue
from keyfob_host.doctor.diagnosis import Confidence, Diagnosis, Evidence
from keyfob_host.doctor.judge_board import board_itself, not_verified
from keyfob_host.doctor.judge_broker import (
    CLOSED,
    CLOUD,
    OF_ANYBODY,
    broker_down,
    closed_after_connect,
    matching,
    of_client,
    refused_by_broker,
)
from keyfob_host.doctor.judge_certificates import own_certificate, server_certificate
from keyfob_host.doctor.sightings import Sightings

_DAY_S = 86_400
_TLS_PORT = 8883
_RECORD_BYTES = 16384  # RFC 8446 section 5.1; mbedTLS takes no longer handshake message
_AFTER_STORE = ("tls", "x509", "mqtt")  # beginnings of the codes of later rungs
_WAITS = timedelta(seconds=20)  # longer than any handshake takes, on an ESP8266 too
_HEAP_SHARE = 8  # of a heap as small as an ESP8266's more is never free in one piece
_TOO_LONG = ("tls.failed", "tls.broken", "tls.record-overflow", "tls.malformed")


def judge(seen: Sightings) -> Diagnosis | None:
    """The diagnosis, or None where no rung is seen to be broken."""
    return (
        board_itself(seen)
        or not_verified(seen, trouble(seen))
        or _connection(seen)
        or _waiting(seen)
        or _standing(seen)
    )


def trouble(seen: Sightings) -> Event | None:
    """The error that keeps the board from its connection, None while that stands.

    An identity that it could not use is one too, though it connects with the one of before.
    """
    board = seen.board
    if board.is_connected():
        return board.last("store.fallback") or board.last("store.rolled-back")
    for event in reversed(board.events):
        if event["ev"] == "error":
            is_later = str(event.get("code", "")).partition(".")[0] in _AFTER_STORE
            return (board.last("store.fallback") if is_later else None) or event
        if event["ev"] == "mqtt.up":
            return None
    return None


# -- a connection that does not come about


def _connection(seen: Sightings) -> Diagnosis | None:
    event = trouble(seen)
    if event is None:
        return None
    code, error = str(event.get("code", "")), seen.board.evidence(event)
    if code == "store.no-identity":
        # Each slot has its own reason, the active one's first.
        inner = re.search(r"(?:store|x509)\.[a-z0-9-]+", str(event.get("detail", "")))
        code = inner[0] if inner else code
    found = of_client(seen) if code in CLOSED or code.startswith("mqtt.") else None
    found = found or (
        server_certificate(seen, error, code)
        or own_certificate(seen, error, code)
        or _long_chain(seen, error, code)
        or _way(seen, error, code)
        or refused_by_broker(seen, error, code)
        or closed_after_connect(seen, error, code)
    )
    if found is not None:
        return found
    return _by_code(seen, error, code)


def _long_chain(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """A chain that the board has no room for, or whose refusal takes more room than it has."""
    served = seen.served
    if served is None or not served.chain:
        return None
    size, is_short = sum(map(len, served.chain)), code == "tls.no-memory"
    most = min(_RECORD_BYTES, seen.board.kind.heap_bytes // _HEAP_SHARE)
    if size > most and (is_short or (code in _TOO_LONG and size > _RECORD_BYTES)):
        text = f"the {len(served.chain)} certificates that the broker shows, in bytes"
        told = Evidence("host", text, seen.now, str(size), f"at most {most}")
        others = ("tls.heap-too-small",) if is_short else ()
        sure: Confidence = "likely" if is_short else "certain"
        return Diagnosis("tls.chain-over-buffer", sure, (error, told), others)
    if is_short:
        found = server_certificate(seen, error, "x509.untrusted")
        if found is not None and len(found.evidence) > 1:
            # The chain is wrong for certain; that the board would say so otherwise, is not.
            return replace(found, confidence="likely", others=("tls.heap-too-small",))
    return None


def _way(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """Name look-up and TCP, held against what this host meets at the same address."""
    served, broker = seen.served, seen.broker
    if code == "clock.no-server":
        # It is the time server's name that was looked up, and not the broker's.
        others = ("wifi.no-address", "name.not-resolved")
        fix = _own_time(seen)
        return Diagnosis("clock.no-ntp-answer", "likely", (error,), others, fix=fix)
    if code.startswith("clock.") and code not in ("clock.never-set", "clock.floor-not-kept"):
        return _time_server(seen, error)
    if code == "tls.name-not-found":
        told = _met(seen) if served and served.stage == "name" else ()
        if told or seen.host.endswith(".local"):
            return Diagnosis("name.not-resolved", "certain", (error, *told))
        return Diagnosis("name.not-resolved", "likely", (error,), ("wifi.no-address",))
    if code not in ("tls.refused", "tls.not-tls", *CLOSED):
        return None
    if served is not None and served.is_plain:
        text = f"{served.host}:{served.port} answers MQTT in clear"
        told = (Evidence("host", text, seen.now, "no TLS", "TLS"),)
        fix = _to_port(seen, broker.port if broker.port != seen.port else 0)
        return Diagnosis("tcp.wrong-port", "certain", (error, *told), fix=fix)
    is_answered = served is not None and served.stage == "done"
    if broker.is_ours and not broker.is_up and not is_answered:
        return broker_down(seen, error)
    return _refused(seen, error) if code == "tls.refused" else None


def _to_port(seen: Sightings, port: int) -> str:
    """Send the board to ``port``, the bench's broker's; 0: to where MQTT over TLS is by custom."""
    return f"keyfob provision --broker {quote(seen.host)}:{port or _TLS_PORT}"


def _time_server(seen: Sightings, error: Evidence) -> Diagnosis:
    """What a time server said that the board did not take; or it is the board that is ahead."""
    told = re.search(r"(\d{1,11}), want (\d{1,11}) to", error.text)
    if told is None:
        return Diagnosis("clock.no-ntp-answer", "certain", (error,), fix=_own_time(seen))
    said_s, floor_s = (int(one) - seen.now.timestamp() for one in told.groups())
    is_true = abs(said_s) < _DAY_S
    what = "the latest time that the board has seen" if is_true else "what the time server said"
    shown = f"{(floor_s if is_true else said_s) / _DAY_S:+.1f} days from this host's clock"
    compared = Evidence("board", what, error.at, shown, "the same")
    code = "clock.board-ahead" if is_true and floor_s > _DAY_S else "clock.no-ntp-answer"
    fix = _own_time(seen) if code == "clock.no-ntp-answer" else ""
    return Diagnosis(code, "certain", (error, compared), fix=fix)


def _own_time(seen: Sightings) -> str:
    """A virtual board is given the bench's own server, which it reaches by the bench's name."""
    return "keyfob ntp up; keyfob provision" if seen.board.kind.virtual else ""


def _refused(seen: Sightings, error: Evidence) -> Diagnosis:
    broker = seen.broker
    if broker.is_up and broker.port and seen.port and broker.port != seen.port:
        text = f"the board's port, and that of this bench's broker {broker.name}"
        told = Evidence("host", text, seen.now, str(seen.port), str(broker.port))
        return Diagnosis(
            "tcp.wrong-port", "certain", (error, told), fix=_to_port(seen, broker.port)
        )
    met = _met(seen)
    if met:
        return Diagnosis("tcp.listener-down", "certain", (error, *met))
    return Diagnosis("tcp.listener-down", "likely", (error,), ("tcp.wrong-port",))


def _met(seen: Sightings) -> tuple[Evidence, ...]:
    """What stopped this host on the same way, if anything did."""
    served = seen.served
    if served is None or served.stage == "done":
        return ()
    text = f"this host at {served.host}:{served.port}: {served.stage}: {served.trouble}"
    return (Evidence("host", text, seen.now),)


def _by_code(seen: Sightings, error: Evidence, code: str) -> Diagnosis:
    """By the board's word alone; the broker's log may put another of its causes first."""
    lines = seen.around(error.at)
    known = causes_of_device_code(code)
    # A cloud's refusal comes after CONNECT: that was looked for before.
    causes = [one for one in known if one != CLOUD] or list(known)
    shown: tuple[Evidence, ...] = ()
    for pattern, cause in OF_ANYBODY:
        told = matching(lines, pattern)
        if cause in causes and told:
            causes = [cause, *(one for one in causes if one != cause)]
            shown = told[-1:]
    if not causes:
        return Diagnosis(code, "certain", (error,))
    if len(causes) == 1 or shown:
        return Diagnosis(causes[0], "certain", (error, *shown))
    return Diagnosis(causes[0], "likely", (error,), tuple(causes[1:3]))


def _waiting(seen: Sightings) -> Diagnosis | None:
    """A board that began to connect long ago, and has said nothing since."""
    board = seen.board
    last = next((one for one in reversed(board.events) if one["ev"] != "clock.kept"), None)
    if last is None or last["ev"] != "store.loaded" or board.said_at is None:
        return None
    waits = seen.now - board.said_at
    if waits < _WAITS:
        return None
    told = Evidence("board", f"nothing for {waits.seconds} s", seen.now, "", "tls.up, or an error")
    return Diagnosis("tcp.silent", "likely", (board.evidence(last), told), ("firmware.crash",))


# -- a connection that stands, or stood


def _standing(seen: Sightings) -> Diagnosis | None:
    if not seen.board.is_connected():
        return None
    found = of_client(seen)
    if found is not None:
        return found
    since = [one["ev"] for one in seen.board.events]
    after = seen.board.events[len(since) - since[::-1].index("mqtt.up") :]
    for event in reversed(after):
        if event["ev"] == "error":
            causes = causes_of_device_code(str(event.get("code", "")))
            late = [
                one
                for one in causes
                if load_catalogue()[one].place in ("authorization", "traffic", "firmware", "clock")
            ]
            if late:
                return Diagnosis(late[0], "certain", (seen.board.evidence(event),))
    return None
