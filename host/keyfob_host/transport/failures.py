"""What can go wrong between host and board, in words.

Device output is evidence only where it cannot be an echo of what was sent: a board
that reboots in the middle of an upload echoes the rest of it at its friendly
prompt, and the upload may be a private key. So device text is shown when no code
was under way, and from an exception only its traceback.
"""

from __future__ import annotations

import errno
import re

from keyfob_host import ports
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.printable import EVIDENCE_CHARS, printable
from keyfob_host.remote_ports import how_to_bring_back, port_not_served
from keyfob_host.rfc2217_port import NotServed

# "Traceback", its File lines, and "SomeError: text" with a text of sane length:
# MicroPython's tracebacks carry no source lines, so nothing sent can be in them.
_TRACEBACK_LINE = re.compile(
    r'^(Traceback \(most recent call last\):|  File ".{1,120}|[A-Za-z_][\w.]{0,60}(: .{0,160})?)$'
)
_NO_SPACE = re.compile(r"OSError: (\[Errno 28\]|28\b|ENOSPC)")


def tail_of(data: bytes) -> str:
    """The end of what a board said, its lines kept."""
    text = data.decode("utf-8", "backslashreplace").replace("\r", "")
    return printable(text, keep="\n").strip()[-EVIDENCE_CHARS:]


def traceback_of(stderr: bytes) -> str:
    """The traceback in a board's error output; nothing else of it."""
    lines = stderr.decode("utf-8", "replace").replace("\r", "").split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), None)
    if start is None:
        return "the board gave no traceback"
    return "\n".join(line for line in lines[start:] if _TRACEBACK_LINE.match(line))


def exec_failed(stderr: bytes, doing: str) -> KeyfobHostError:
    """The board raised an exception; ``doing`` completes "while …" (``"writing /main.py"``)."""
    seen = traceback_of(stderr)
    if _NO_SPACE.search(seen):
        return KeyfobHostError(
            "board.disk-full", f"the board's filesystem is full, while {doing}",
            evidence=seen,
            fix="remove files that are not needed: mpremote fs ls :/ and mpremote fs rm :NAME",
            status=ExitStatus.BOARD,
        )  # fmt: skip
    if "MemoryError" in seen:
        return KeyfobHostError(
            "board.out-of-memory", f"the board ran out of memory, while {doing}",
            evidence=seen, fix="reset the board and run the command again",
            status=ExitStatus.BOARD,
        )  # fmt: skip
    return KeyfobHostError(
        "board.exec-failed", f"the board raised an exception, while {doing}",
        evidence=seen,
        fix="read the last line of the traceback; if the board's MicroPython is old: keyfob flash",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def connection_lost(url: str, doing: str, why: str) -> KeyfobHostError:
    """The port went away: unplugged, the board's power cut, the bridge closed."""
    return KeyfobHostError(
        "board.connection-lost", f"the connection to the board was lost, while {doing}",
        evidence=f"{url}: {why}",
        fix=f"{how_to_bring_back(url)}, then run the same command again: it goes on where it "
        "stopped",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def no_answer(url: str, doing: str, timeout_s: float) -> KeyfobHostError:
    """The board had the prompt and does not answer any more."""
    return KeyfobHostError(
        "board.no-answer", f"the board stopped answering, while {doing}",
        evidence=f"{url}: no end of the answer in {timeout_s:g} s",
        fix="reset the board (its EN/RST button, or power) and run the same command again",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def unsupported(what: str, board: str) -> KeyfobHostError:
    """The board's MicroPython lacks something the host needs."""
    return KeyfobHostError(
        "board.unsupported", f"this board's MicroPython has no {what}",
        fix=f"write a current image: keyfob flash --board {board}",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def no_prompt(url: str, board: str, seen: bytes, timeout_s: float) -> KeyfobHostError:
    """No raw REPL within ``timeout_s``; ``seen`` is what came instead, and names the cause."""
    text = tail_of(seen)
    flash = f"keyfob flash --board {board}" + ("" if "virtual" in board else f" --port {url}")
    status = ExitStatus.BOARD
    evidence = (
        f"{url}: {text!r} in {timeout_s:g} s" if text else f"{url}: silent for {timeout_s:g} s"
    )
    if "invalid header" in text or "No bootable app" in text or "ets_main.c" in text:
        return KeyfobHostError(
            "board.no-firmware", "there is no MicroPython in the board's flash",
            evidence=evidence, fix=flash, status=status,
        )  # fmt: skip
    if "waiting for download" in text:
        return KeyfobHostError(
            "board.in-download-mode", "the board is in download mode, waiting to be flashed",
            evidence=evidence,
            fix=f"press its EN/RST button with BOOT/IO0 released, or: {flash}", status=status,
        )  # fmt: skip
    if not text:
        return KeyfobHostError(
            "board.silent", "nothing answers on this port",
            evidence=evidence,
            fix="check that this is the board's port and that it has power; "
            f"no MicroPython on it yet: {flash}",
            status=status,
        )  # fmt: skip
    strange = sum(byte >= 0x80 or byte < 7 for byte in seen)
    if strange * 4 > len(seen):
        return KeyfobHostError(
            "board.wrong-baud", "what comes from the board is noise: its baud rate is another one",
            evidence=evidence,
            fix=f"check serial.baud in boards/{board}.toml (MicroPython uses 115200), or: {flash}",
            status=status,
        )  # fmt: skip
    return KeyfobHostError(
        "board.no-prompt",
        "the board speaks but gives no MicroPython prompt: its program cannot be interrupted, "
        "or this is not MicroPython",
        evidence=evidence,
        fix=f"press the board's EN/RST button and run the command again at once, or: {flash}",
        status=status,
    )  # fmt: skip


def port_not_opened(url: str, error: Exception) -> KeyfobHostError:
    """The port could not be opened: missing, busy, not ours to open, nobody listening."""
    if isinstance(error, NotServed):
        return port_not_served(url, error)
    if ports.is_url(url):
        return KeyfobHostError(
            "port.unreachable", "nobody serves the board's port at this address",
            evidence=f"{url}: {error}",
            fix="keyfob board list shows what is up; keyfob board up virtual-esp32 starts one",
            status=ExitStatus.HOST,
        )  # fmt: skip
    try:
        ports.check_port(url)
    except KeyfobHostError as known:
        return known
    # Nobody is seen to hold it, but it is locked: another user's process.
    if "exclusively lock" in str(error) or getattr(error, "errno", None) == errno.EBUSY:
        return ports.port_busy(url)
    return KeyfobHostError(
        "port.not-opened", "the port cannot be opened as a serial port",
        evidence=f"{url}: {error}", fix="python3 -m serial.tools.list_ports -v",
        status=ExitStatus.HOST,
    )  # fmt: skip
