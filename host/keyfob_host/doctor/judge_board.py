"""What is wrong on the board itself: its serial line, its program, a TLS that verifies nobody.

Where Keyfob's events are missing, or its program ended with an exception, what the console
shows is read by `keyfob_host.doctor.explain`; a user's own program is left to
`keyfob_host.doctor.judge_program`.
"""

from __future__ import annotations

import re

from keyfob_host.console import Event
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.explain import explain
from keyfob_host.doctor.judge_program import ended_program, unverified_program
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.errors import KeyfobHostError

_SHOWN = 4
_PORT_CAUSES = {
    "port.missing": "serial.no-port",
    "port.busy": "serial.port-busy",
    "port.no-permission": "serial.no-permission",
}
_OFF_RUNGS = ("serial", "firmware")
# What each start from power-on shows; a supply that is too weak shows it again and again.
_POWER_ON = re.compile(r"rst:0x1 |rst cause:1,")


def board_itself(seen: Sightings) -> Diagnosis | None:
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
    if board.state == "download":
        told = Evidence("host", "the ROM waits for esptool", seen.now, "download mode", "running")
        return Diagnosis(
            "firmware.download-mode", "certain", (told,), fix=f"keyfob board reset {board.name}"
        )
    ended = ended_program(seen)
    if ended is not None or board.events:
        return ended
    found = _by_console(seen) or unverified_program(seen)
    if found is not None:
        return found
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
        lines = [line for line in seen.board.lines[-200:] if not _POWER_ON.search(line)]
        explanation = explain("\n".join(lines))
    except KeyfobHostError:
        return None
    causes = [one for one in explanation.causes if one.place in _OFF_RUNGS]
    if not causes:
        return None
    told = [one.text for one in explanation.findings if any(r.causes for r in one.readings)]
    evidence = tuple(Evidence("board", line, seen.board.said_at) for line in told[:_SHOWN])
    others = tuple(one.code for one in causes[1:3])
    return Diagnosis(causes[0].code, "likely", evidence, others)


def not_verified(seen: Sightings, error: Event | None) -> Diagnosis | None:
    """A TLS that verifies nobody is broken, however well all goes; ``error``: its trouble."""
    board = seen.board
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
