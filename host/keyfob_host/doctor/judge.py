"""From what was seen to the first rung that does not hold, and its cause.

A board goes up the ladder by itself and says where it stops, so its last error is the rung;
which of the causes of that error it is, the rest decides: the broker's log at that moment,
the tap, certificates and clocks (`keyfob_host.doctor.judge_certificates`). Of a connection
that stands only what comes after it is judged, traffic last. What nothing decides is told
as likely, with what it could be too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from keyfob_host.console import Event
from keyfob_host.doctor.catalogue import causes_of_device_code, load_catalogue
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.explain import explain
from keyfob_host.doctor.judge_certificates import (
    client_certificate,
    own_certificate,
    server_certificate,
)
from keyfob_host.doctor.sightings import LogLine, Sightings
from keyfob_host.errors import KeyfobHostError

_SHOWN = 4
_LAST_LINES = 12
_DAY_S = 86_400
_PORT_CAUSES = {
    "port.missing": "serial.no-port",
    "port.busy": "serial.port-busy",
    "port.no-permission": "serial.no-permission",
}
_OFF_RUNGS = ("serial", "firmware")
# What mosquitto says of one client, and what that means; "{id}" is the board's.
_OF_CLIENT = (
    (r"Client {id} already connected, closing old connection", "mqtt.same-client-id", 3),
    (r"Client {id} has exceeded timeout", "traffic.keep-alive", 1),
    (r"Client {id} disconnected due to oversize packet", "traffic.packet-too-large", 1),
    (r"Client {id} disconnected, not authorised", "authorization.not-mapped", 1),
    (r"(Denied PUBLISH|Dropped too large PUBLISH) from {id} ", "authorization.denied-topic", 1),
)
# And of a connection whose client it does not know yet.
_OF_ANYBODY = (
    (r"max_connections exceeded|denied: Too many connections", "mqtt.too-many-connections"),
    (r"peer did not return a certificate", "client-certificate.not-sent"),
    (r"no shared cipher", "tls.no-shared-cipher"),
    (r"unsupported protocol", "tls.version"),
    (r"bad signature", "client-certificate.key-mismatch"),
    (r"wrong version number|http request", "tcp.wrong-port"),
    (r"not authorised", "authorization.not-mapped"),
    (r"Invalid protocol .*in CONNECT", "mqtt.protocol-version"),
)
_NOT_STARTED = (
    (r"ee key too small|ca md too weak", "x509.weak-algorithm"),
    (r"Unable to load|key values mismatch|Address already in use|Error: ", "tcp.listener-down"),
)
# Errors that a closed connection shows, whatever it was closed for.
_CLOSED = (
    "tls.reset", "tls.closed", "tls.truncated", "tls.broken", "tls.no-answer",
    "mqtt.no-connack", "mqtt.closed-again",
)  # fmt: skip


def judge(seen: Sightings) -> Diagnosis | None:
    """The diagnosis, or None where no rung is seen to be broken."""
    return (
        _board_itself(seen) or _not_verified(seen) or _connection(seen) or _standing(seen)
    )  # fmt: skip


def trouble(seen: Sightings) -> Event | None:
    """The error that keeps the board from its connection, None while that stands.

    An identity that it could not use is one too, though it connects with the one of before.
    """
    board = seen.board
    if board.is_connected():
        return board.last("store.fallback") or board.last("store.rolled-back")
    for event in reversed(board.events):
        if event["ev"] == "error":
            return event
        if event["ev"] == "mqtt.up":
            return None
    return None


# -- the board itself


def _board_itself(seen: Sightings) -> Diagnosis | None:
    """Serial line and firmware, where there is no event to go by."""
    board = seen.board
    if board.busy is not None and not board.events:
        error = board.busy
        told = Evidence("host", f"{error.code}: {error.cause}; {error.evidence}", seen.now)
        code = _PORT_CAUSES.get(error.code, "serial.no-answer")
        return Diagnosis(code, "certain", (told,), fix=error.fix)
    if board.state == "off":
        told = Evidence("host", "its power is off", seen.now, "off", "on")
        return Diagnosis(
            "serial.no-answer", "certain", (told,), fix=f"keyfob board power on {board.name}"
        )
    if board.events:
        return None
    found = _by_console(seen)
    if found is not None:
        return found
    if board.state == "download":
        told = Evidence("host", "the ROM waits for esptool", seen.now, "download mode", "running")
        return Diagnosis(
            "firmware.download-mode", "certain", (told,), fix=f"keyfob board reset {board.name}"
        )
    said = [line for line in board.lines if line.strip()]
    if any(">>>" in line or "MicroPython v" in line for line in said):
        # Not what stands there: it may be a file that was on its way.
        last = Evidence("board", "MicroPython's prompt, and no event", None, "", "Keyfob's boot")
        return Diagnosis("firmware.file-missing", "likely", (last,), ("settings.missing",))
    if said:
        last = Evidence("board", f"{len(said)} lines that are neither the ROM's nor MicroPython's")
        return Diagnosis("serial.noise", "possible", (last,), ("firmware.crash",))
    told = Evidence("host", "it said nothing", seen.now)
    others = ("serial.no-prompt", "serial.wiring")
    return Diagnosis("serial.no-answer", "possible", (told,), others)


def _by_console(seen: Sightings) -> Diagnosis | None:
    """What ROM and MicroPython said, before Keyfob or instead of it."""
    try:
        explanation = explain("\n".join(seen.board.lines[-200:]))
    except KeyfobHostError:
        return None
    causes = [one for one in explanation.causes if one.place in _OFF_RUNGS]
    if not causes:
        return None
    lines = [one.text for one in explanation.findings if any(r.causes for r in one.readings)]
    evidence = tuple(Evidence("board", line) for line in lines[:_SHOWN])
    others = tuple(one.code for one in causes[1:3])
    return Diagnosis(causes[0].code, "likely", evidence, others)


def _not_verified(seen: Sightings) -> Diagnosis | None:
    """A TLS that verifies nobody is broken, however well all goes."""
    board = seen.board
    error = trouble(seen)
    if error is not None and error.get("code") == "tls.cannot-verify":
        return Diagnosis("tls.not-verified", "certain", (board.evidence(error),))
    engine = board.files.settings.get("tls", {}).get("engine", board.kind.tls.engine)
    is_unfit = engine == "mbedtls" and board.kind.tls.engine != "mbedtls"
    if is_unfit and error is not None and error.get("code") == "tls.no-engine":
        told = _unfit(seen, engine)
        return Diagnosis("tls.not-verified", "certain", (board.evidence(error), told))
    is_up = board.last("mqtt.up")
    if is_up is None:
        return None
    up = board.last("tls.up")
    version = str(up.get("version", "")) if up else ""
    if up is None or not re.search(r"1\.[23]$", version):
        shown = version or "no event tls.up"
        told = Evidence(
            "board",
            "connected, but it told of no verified TLS",
            board.at(is_up),
            shown,
            "TLS 1.2 or 1.3",
        )
        return Diagnosis("tls.not-verified", "likely", (board.evidence(is_up), told))
    if is_unfit:
        told = _unfit(seen, engine)
        return Diagnosis("tls.not-verified", "certain", (board.evidence(up), told))
    return None


def _unfit(seen: Sightings, engine: str) -> Evidence:
    kind = seen.board.kind
    text = f"TLS engine in its settings; that of the port verifies nobody on {kind.name}"
    return Evidence("host", text, seen.now, engine, kind.tls.engine)


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
    found = _of_client(seen) if code in _CLOSED or code.startswith("mqtt.") else None
    found = found or (
        server_certificate(seen, error, code)
        or own_certificate(seen, error, code)
        or _way(seen, error, code)
        or _refused_by_broker(seen, error, code)
    )
    if found is not None:
        return found
    return _by_code(error, code, seen.around(error.at))


def _way(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """Name look-up and TCP, held against what this host meets at the same address."""
    served, broker = seen.served, seen.broker
    if code == "clock.no-server":
        # It is the time server's name that was looked up.
        return Diagnosis("name.not-resolved", "likely", (error,), ("clock.no-ntp-answer",))
    if code.startswith("clock.") and code not in ("clock.never-set", "clock.floor-not-kept"):
        return _time_server(seen, error)
    if code == "tls.name-not-found":
        told = _met(seen) if served and served.stage == "name" else ()
        if told or seen.host.endswith(".local"):
            return Diagnosis("name.not-resolved", "certain", (error, *told))
        return Diagnosis("name.not-resolved", "likely", (error,), ("wifi.no-address",))
    if code not in ("tls.refused", "tls.not-tls", *_CLOSED):
        return None
    if served is not None and served.is_plain:
        text = f"{served.host}:{served.port} answers MQTT in clear"
        told = (Evidence("host", text, seen.now, "no TLS", "TLS"),)
        return Diagnosis("tcp.wrong-port", "certain", (error, *told))
    if broker.is_ours and not broker.is_up:
        return _broker_down(seen, error)
    return _refused(seen, error) if code == "tls.refused" else None


def _time_server(seen: Sightings, error: Evidence) -> Diagnosis:
    """What a time server said that the board did not take; or it is the board that is ahead."""
    told = re.search(r"(\d{1,11}), want (\d{1,11}) to", error.text)
    if told is None:
        return Diagnosis("clock.no-ntp-answer", "certain", (error,))
    said_s, floor_s = (int(one) - seen.now.timestamp() for one in told.groups())
    is_true = abs(said_s) < _DAY_S
    what = "the latest time that the board has seen" if is_true else "what the time server said"
    shown = f"{(floor_s if is_true else said_s) / _DAY_S:+.1f} days from this host's clock"
    compared = Evidence("board", what, error.at, shown, "the same")
    code = "clock.board-ahead" if is_true and floor_s > _DAY_S else "clock.no-ntp-answer"
    return Diagnosis(code, "certain", (error, compared))


def _broker_down(seen: Sightings, error: Evidence) -> Diagnosis:
    """Why this bench's own broker does not run, if its last words say it."""
    for pattern, cause in _NOT_STARTED:
        lines = _matching(seen.broker.log[-_LAST_LINES:], pattern)
        if lines:
            return Diagnosis(cause, "certain", (error, *lines[-2:]))
    told = Evidence("host", "this bench's broker", seen.now, "not running", "running")
    return Diagnosis("tcp.listener-down", "certain", (error, told))


def _refused(seen: Sightings, error: Evidence) -> Diagnosis:
    broker = seen.broker
    if broker.is_up and broker.port and seen.port and broker.port != seen.port:
        text = f"the board's port, and that of this bench's broker {broker.name}"
        told = Evidence("host", text, seen.now, str(seen.port), str(broker.port))
        fix = f"keyfob provision --broker {seen.host}:{broker.port}"
        return Diagnosis("tcp.wrong-port", "certain", (error, told), fix=fix)
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


def _refused_by_broker(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """The broker's judgement of the board: its own certificate, by all that is known here."""
    candidates = set(causes_of_device_code(code))
    is_refusal = code.startswith("tls.alert") or code in _CLOSED
    if not is_refusal:
        return None
    lines = seen.around(error.at)
    tap = seen.tap(error.at)
    wire: tuple[Evidence, ...] = ()
    if tap is not None:
        wire = (Evidence("wire", tap["meaning"]),)
        if tap["alert"] and tap["alert"]["from"] == "broker":
            candidates = set(tap["causes"])
    told = _matching(lines, r"verify failed|alert|did not return|certificate")[:2]
    found = [
        one for one in client_certificate(seen, (error, *told, *wire)) if one.code in candidates
    ]
    if found:
        return found[0]
    for pattern, cause in _OF_ANYBODY:
        matching = _matching(lines, pattern)
        if matching and (cause in candidates or code in _CLOSED):
            return Diagnosis(
                cause, "likely" if code in _CLOSED else "certain", (error, *matching[-1:], *wire)
            )
    # What the board's end broke off may have been another doctor's look.
    if tap is not None and tap["causes"] and tap["ended_by"] == "broker":
        first, *others = tap["causes"]
        return Diagnosis(
            first, "likely" if others else "certain", (error, *told, *wire), tuple(others[:2])
        )
    return None


def _by_code(error: Evidence, code: str, lines: tuple[LogLine, ...]) -> Diagnosis:
    """By the board's word alone; the broker's log may put another of its causes first."""
    causes = list(causes_of_device_code(code))
    shown: tuple[Evidence, ...] = ()
    for pattern, cause in _OF_ANYBODY:
        matching = _matching(lines, pattern)
        if cause in causes and matching:
            causes = [cause, *(one for one in causes if one != cause)]
            shown = matching[-1:]
    if not causes:
        return Diagnosis(code, "certain", (error,))
    if len(causes) == 1 or shown:
        return Diagnosis(causes[0], "certain", (error, *shown))
    return Diagnosis(causes[0], "likely", (error,), tuple(causes[1:3]))


# -- a connection that stands, or stood


def _standing(seen: Sightings) -> Diagnosis | None:
    if not seen.board.is_connected():
        return None
    found = _of_client(seen)
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


def _of_client(seen: Sightings) -> Diagnosis | None:
    """What the broker's log says of this very client, of late."""
    up = seen.board.last("mqtt.up")
    client = (
        str(up.get("client_id", "")) if up else str(seen.board.files.settings.get("device_id", ""))
    )
    if not client:
        return None
    recent = seen.recent()
    for pattern, cause, least in _OF_CLIENT:
        lines = _matching(recent, pattern.replace("{id}", re.escape(client)))
        if len(lines) >= least:
            return Diagnosis(cause, "certain", tuple(lines[-2:]))
    return None


def _matching(lines: Iterable[LogLine], pattern: str) -> tuple[Evidence, ...]:
    found = re.compile(pattern)
    return tuple(one.evidence() for one in lines if found.search(one.text))
