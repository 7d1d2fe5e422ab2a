"""What esptool's last words mean: cause, evidence and fix for each usual failure.

The patterns are esptool 5's sentences, matched on the text because its exit status
is 2 for all of them. What matches nothing is shown as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyfob_host.boards import BoardRef
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.esptool_remote import UNCONFIRMED, read_not_served
from keyfob_host.flash.esptool_run import EsptoolRun
from keyfob_host.ports import port_busy, port_missing, port_not_permitted
from keyfob_host.remote_ports import how_to_bring_back, port_not_served

_SLOW_BAUD = 115200
# While connecting, these words mean that a program answers (MicroPython's prompt echoes).
_NOT_THE_ROM = r"Invalid head of packet|Invalid SLIP|content transfer stopped|doesn't match request"
_NO_LINES = (
    "the port's server confirmed no change of DTR and RTS: either the port has no such lines, so "
    "that nothing over there can put the board into download mode but its buttons, or the server "
    "moves them without a word (esp_rfc2217_server)"
)
_FATAL = re.compile(r"(?:A fatal error occurred|ERROR|error): (?!A fatal)(.*?)(?:\n\n|\Z)", re.S)


@dataclass(frozen=True)
class _Fault:
    pattern: str
    code: str
    cause: str
    # {again}: the same command; {slow}: the same at a low baud rate; {button}; {back}: to
    # bring back the port
    fix: str


_WRONG_MODE = _Fault(
    r"Wrong boot mode detected", "flash.not-in-download-mode",
    "the board runs its program instead of waiting in download mode", "{button}; then: {again}",
)  # fmt: skip
_FAULTS = (
    _WRONG_MODE,
    _Fault(r"serial TX path seems to be down", "flash.no-transmit",
           "the board is in download mode but hears nothing from this machine",
           "check the wire from the adapter's TX to the board's RX, then: {again}"),
    _Fault(r"No serial data received|Timed out waiting for packet header", "flash.no-answer",
           "nothing answers on the port: the board is not in download mode, not powered, "
           "or on another port",
           "{button}; then: {again}"),
    _Fault(r"MD5 of file does not match|Verification failed|written flash region is empty",
           "flash.verify-failed", "what is in the flash now is not what was written",
           "{slow}; if it fails again, the supply is too weak or the flash chip is worn out"),
    _Fault(r"will not fit in", "flash.too-small",
           "the image does not fit into the flash of this board",
           "take the firmware variant for this flash size from micropython.org/download"),
    _Fault(r"[Ss]ecure [Bb]oot|[Ss]ecure [Dd]ownload|[Ff]lash encryption|security features",
           "flash.locked", "this chip is locked: secure boot or flash encryption is in force",
           "use another board; the fuses of this one cannot be set back"),
    _Fault(r"the server closed the connection|connection failed", "port.server-gone",
           "the server of the board's port went away during the work",
           "{back}; then: {again}"),
    _Fault(r"disconnected|returned no data|Input/output error|No such device|not configured",
           "port.unplugged", "the port went away during the work: the cable or the board's "
           "power was lost", "plug the board in again, another cable if it repeats; then: {again}"),
    _Fault(r"Failed to set baud rate", "flash.baud-refused",
           "the serial adapter does not take this baud rate", "{slow}"),
    _Fault(r"Invalid head of packet|serial noise|stream stopped|content transfer stopped|"
           r"doesn't match request|Corrupt data|status response|Timed out|Failed to ",
           "flash.serial-noise",
           "bytes are lost or spoilt between this machine and the board",
           "{slow}; if it fails again, take a shorter cable or another USB port"),
    _Fault(r"Connection refused", "port.refused", "nobody listens behind this port's address",
           "check the address; for a virtual board: keyfob board list"),
)  # fmt: skip


def explain_run(run: EsptoolRun, ref: BoardRef, command: str, state: str) -> KeyfobHostError:
    """The error for an esptool run that failed.

    ``command`` is the person's own command, to be pasted again; ``state`` says in a
    sentence what is in the board's flash now.
    """
    not_served = read_not_served(run.output)
    if not_served is not None:
        error = port_not_served(ref.port, not_served)
        error.evidence += f"\n{state}"
        return error
    words = last_words(run.output)
    for pattern, port_error in (
        (r"No such file or directory|FileNotFound", port_missing),
        (r"Permission denied", port_not_permitted),
        (r"exclusively lock|Resource busy|Device or resource busy|Access is denied", port_busy),
    ):
        if re.search(pattern, words) and ref.virtual is None:
            return port_error(ref.port)
    evidence = f"esptool: {words}\n{state}"
    if run.stage == "connect" and UNCONFIRMED in run.output:
        evidence += f"\n{_NO_LINES}"
    if run.timed_out:
        return KeyfobHostError(
            "flash.stuck", "esptool fell silent and was ended", evidence=evidence,
            fix=f"{ref.kind.serial.download_mode}; then: {command}", status=ExitStatus.BOARD,
        )  # fmt: skip
    if run.stage == "connect" and re.search(_NOT_THE_ROM, words):
        return _error(_WRONG_MODE, ref, command, evidence)
    for fault in _FAULTS:
        if re.search(fault.pattern, words):
            return _error(fault, ref, command, evidence)
    return KeyfobHostError(
        "flash.esptool-failed",
        f"esptool failed with status {run.status}",
        evidence=evidence,
        fix=f"{ref.kind.serial.download_mode}; then: {command}",
        status=ExitStatus.BOARD,
    )


def _error(fault: _Fault, ref: BoardRef, command: str, evidence: str) -> KeyfobHostError:
    button = ref.kind.serial.download_mode
    fix = fault.fix.format(
        again=command, slow=slower(command), button=button, back=how_to_bring_back(ref.port)
    )
    return KeyfobHostError(
        fault.code, fault.cause, evidence=evidence, fix=fix, status=ExitStatus.BOARD
    )


def last_words(output: str) -> str:
    """esptool's fatal error, on one line; its last line where it names none."""
    found: list[str] = _FATAL.findall(output)
    if found:
        text = found[-1].split("\nFor troubleshooting")[0]
    else:
        lines = [line for line in output.splitlines() if line.strip()]
        text = lines[-1] if lines else "no output"
    return " ".join(text.split())


def slower(command: str) -> str:
    """``command`` with the baud rate that every adapter and cable can do."""
    without = re.sub(r" --baud \d+", "", command)
    return f"{without} --baud {_SLOW_BAUD}"
