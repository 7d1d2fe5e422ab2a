"""Write a firmware image to a board with stock esptool, and refuse early.

The file is judged first (`keyfob_host.flash.firmware_file`), then the port, then the chip
itself is asked what it is and how much flash it has; only then is anything erased.
esptool compares the flash's MD5 with the file's after writing; where it does not say
so, it is asked to verify. Not checked: that the firmware then boots.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.boards import BoardKind, BoardRef, kind_names, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.esptool_run import EsptoolRun, Progress, run_esptool
from keyfob_host.flash.failures import explain_run
from keyfob_host.flash.firmware_file import Firmware, check_firmware, too_small

_CONNECT_BAUD = 115200  # the ROM finds the rate itself; this one every adapter can do
_CHIP = re.compile(r"(?:Connected to|Detecting chip type\.*) *(ESP[\w-]+)")
_MAC = re.compile(r"MAC: *([0-9a-f:]{17})")
_FLASH_SIZE = re.compile(r"Detected flash size: *(\d+)([KM])B")

_UNTOUCHED = "nothing was erased or written: the board is as it was"
_HALF_WRITTEN = "the flash is erased or half written: the board does not start until flashed again"
_WRITTEN = "the image is written and verified: the board starts with it at its next reset"


@dataclass(frozen=True)
class Chip:
    """What the chip said of itself. ``flash_size`` in bytes, 0 if it could not tell."""

    name: str
    mac: str
    flash_size: int


@dataclass(frozen=True)
class Flashed:
    """The result of `flash_board`."""

    chip: Chip
    firmware: Firmware
    offset: int
    erased: bool
    seconds: float


def flash_board(
    ref: BoardRef,
    path: Path,
    *,
    erase: bool = True,
    baud: int | None = None,
    expected_sha256: str | None = None,
    on_progress: Progress | None = None,
) -> Flashed:
    """Flash ``path`` to the board ``ref`` and verify it.

    ``erase`` erases the whole chip first, which takes the board's files with it;
    without it, only what the image covers is written. ``on_progress`` gets stage
    and per cent. Errors: those of `check_firmware` and `BoardRef.check_free`,
    ``flash.wrong-chip``, ``flash.too-small``, ``flash.interrupted`` and those of
    `keyfob_host.flash.failures`; each says whether the flash was touched.
    """
    started = time.monotonic()
    firmware = check_firmware(path, ref.kind, expected_sha256=expected_sha256)
    ref.check_free()
    command = again(ref, path, erase=erase, baud=baud)
    work = _Work()
    with _interruptible(work, command), _download_mode(ref):
        chip = identify(ref, command)
        _check_chip(chip, ref, firmware)
        work.state = _HALF_WRITTEN  # as soon as esptool is told to, it may be
        _write(ref, firmware, erase, baud or ref.kind.flash.baud, command, on_progress)
        work.state = _WRITTEN
    return Flashed(chip, firmware, ref.kind.flash.offset, erase, time.monotonic() - started)


def identify(ref: BoardRef, command: str) -> Chip:
    """Ask the chip what it is; ``command`` is what a fix tells the person to run again."""
    # Not told which chip to expect: the point is to hear what it says itself.
    run = run_esptool([*_connection(ref, "auto", _CONNECT_BAUD), "flash-id"])
    if run.status != 0:
        raise explain_run(run, ref, command, _UNTOUCHED)
    name, mac, size = (pattern.search(run.output) for pattern in (_CHIP, _MAC, _FLASH_SIZE))
    if name is None:
        raise explain_run(run, ref, command, _UNTOUCHED)
    flash_size = int(size[1]) << (20 if size[2] == "M" else 10) if size else 0
    return Chip(name[1].replace("-", "").lower(), mac[1] if mac else "", flash_size)


def again(ref: BoardRef, path: Path, *, erase: bool = True, baud: int | None = None) -> str:
    """The command that does the same once more, for a person to paste."""
    words = ["keyfob", "flash", *shlex.split(ref.options or f"--board {ref.kind.name}")]
    words += ["--firmware", str(path)]
    if not erase:
        words.append("--no-erase")
    if baud is not None:
        words += ["--baud", str(baud)]
    return shlex.join(words)


def _connection(ref: BoardRef, chip: str, baud: int) -> list[str]:
    flash = ref.kind.flash
    return [
        "--chip", chip, "--port", ref.stream_url, "--baud", str(baud),
        "--before", flash.before, "--after", flash.after,
    ]  # fmt: skip


def _check_chip(chip: Chip, ref: BoardRef, firmware: Firmware) -> None:
    kind = ref.kind
    if chip.name != kind.chip:
        fitting = [name for name in kind_names() if load_kind(name).chip == chip.name]
        fix = f"take an image for {chip.name} from micropython.org/download"
        if fitting:
            fix += f", then: keyfob flash --board {fitting[0]} --port {ref.port} --firmware FILE"
        raise KeyfobHostError(
            "flash.wrong-chip",
            f"the board on {ref.port} has an {chip.name}, not an {kind.chip}",
            evidence=f"the chip says {chip.name} (MAC {chip.mac}), board kind {kind.name} "
            f"and the image say {kind.chip}; {_UNTOUCHED}",
            fix=fix,
            status=ExitStatus.BOARD,
        )
    if chip.flash_size and chip.flash_size < firmware.flash_needed:
        raise too_small(
            firmware.path, firmware.flash_needed, chip.flash_size, "the flash chip's size"
        )


def _write(
    ref: BoardRef,
    firmware: Firmware,
    erase: bool,
    baud: int,
    command: str,
    on_progress: Progress | None,
) -> None:
    kind = ref.kind
    options = ["--flash-mode", kind.flash.mode, "--flash-freq", kind.flash.freq,
               "--flash-size", kind.flash.size_option]  # fmt: skip
    image = [hex(kind.flash.offset), str(firmware.path.resolve())]
    erase_all = ["--erase-all"] if erase else []
    run = _esptool(ref, baud, ["write-flash", *erase_all, *options, *image], on_progress)
    if run.status != 0:
        state = _UNTOUCHED if run.stage == "connect" else _HALF_WRITTEN
        raise explain_run(run, ref, command, state)
    if "Hash of data verified" in run.output:
        return
    # Without its stub, esptool cannot have the chip compute an MD5 and skips it.
    run = _esptool(ref, baud, ["verify-flash", *options, *image], on_progress)
    if run.status != 0:
        raise explain_run(run, ref, command, _HALF_WRITTEN)


def _esptool(
    ref: BoardRef, baud: int, arguments: list[str], on_progress: Progress | None
) -> EsptoolRun:
    if ref.virtual is not None:
        ref.virtual.download_mode()  # a board in its boot ROM again, without a stub of before
    return run_esptool(
        [*_connection(ref, ref.kind.chip, baud), *arguments], on_progress=on_progress
    )


@dataclass
class _Work:
    """What state the board is in while it is being worked on."""

    state: str = _UNTOUCHED


@contextmanager
def _interruptible(work: _Work, command: str) -> Iterator[None]:
    """Ctrl-C becomes an error that says what state the board is in."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyfobHostError(
            "flash.interrupted", "flashing was interrupted",
            evidence=work.state, fix=command, status=ExitStatus.INTERRUPTED,
        ) from error  # fmt: skip


@contextmanager
def _download_mode(ref: BoardRef) -> Iterator[None]:
    """A virtual board in download mode, reset at the end whatever happened.

    A real board is put there and reset by esptool, through its control lines.
    """
    if ref.virtual is None:
        yield
        return
    ref.virtual.download_mode()
    try:
        yield
    finally:
        ref.virtual.reset()


def describe(flashed: Flashed, kind: BoardKind) -> str:
    """The result for a person."""
    firmware = flashed.firmware
    return (
        f"{firmware.path.name}: {firmware.size} bytes written at {flashed.offset:#x} "
        f"and verified in {flashed.seconds:.1f} s\n"
        f"chip {flashed.chip.name}, MAC {flashed.chip.mac or 'unknown'}, "
        f"flash {(flashed.chip.flash_size or kind.flash.size) >> 20} MB"
        f"\nSHA-256 {firmware.sha256}"
    )
