"""Which port the chip with a MAC is on: the chips are asked, which restarts their boards.

esptool asks, as before flashing. An answer is kept until the board is unplugged, by the
device file that the kernel made for it; a board that is in use is not asked at all. Chips
with USB of their own (ESP32-C3, -S3) have their MAC as serial number and need no asking.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from serial.tools.list_ports_common import ListPortInfo

from keyfob_host.bench.finding_ports import (
    Address,
    find_port,
    fits,
    is_board,
    not_plugged_in,
    usb_ports,
)
from keyfob_host.boards import BoardRef, kind_names, load_kind
from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic
from keyfob_host.flash.flashing import Chip, identify
from keyfob_host.hil.lock import board_lock, holder_of, lock_path
from keyfob_host.home import Home

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CHIP_KIND = "esp32"  # how esptool resets a board; it finds out which chip it is


@dataclass(frozen=True)
class Asked:
    """What came of asking the chip on ``device``: the ``chip``, or why there is no answer."""

    device: str
    chip: Chip | None
    why_not: str = ""


def find_mac(
    mac: str,
    what: str,
    home: Home,
    ports: Sequence[ListPortInfo] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> str:
    """The port of the chip with ``mac``; ``what`` names its board in the error.

    ``on_step`` is told of each chip that is asked: who is silent takes seconds. Errors:
    ``port.not-plugged-in`` with what was asked, and what could not be.
    """
    there = usb_ports() if ports is None else ports
    address = Address(mac=mac)
    if any(fits(address, port) for port in there):
        return find_port(address, what, there)
    # Those that are known first: who is silent takes seconds each time.
    devices = sorted(
        (port.device for port in there if is_board(port)),
        key=lambda device: known_chip(device, home) is None,
    )
    notes = []
    for asked in ask_chips(devices, home, on_step):
        if asked.chip is not None and asked.chip.mac == mac:
            return asked.device
        notes.append(f"{asked.device}: {asked.chip.mac if asked.chip else asked.why_not}")
    error = not_plugged_in(address, what)
    error.evidence = "\n".join([error.evidence, *notes])
    raise error


def ask_chips(
    devices: Sequence[str], home: Home, on_step: Callable[[str], None] | None = None
) -> Iterator[Asked]:
    """Each of ``devices``, asked unless its chip is known since it was plugged in.

    One after the other, and one command at a time: a second one finds the first one's answers.
    """
    with _memory(home) as known:
        for device in devices:
            key = _plugged_in(device)
            if key in known:
                yield Asked(device, known[key])
                continue
            if on_step:
                on_step(f"asking the chip on {device} for its MAC, which restarts its board")
            asked = _ask(device, home)
            if asked.chip is not None and key:
                known[key] = asked.chip
            yield asked


def known_chip(device: str, home: Home) -> Chip | None:
    """What is known of the chip on ``device`` since it was plugged in; nobody is asked."""
    return _read(_memory_path(home)).get(_plugged_in(device))


def kind_of(chip: Chip) -> str:
    """The board kind for that chip, "" if there is none."""
    kinds = (load_kind(name) for name in kind_names())
    return next((one.name for one in kinds if one.chip == chip.name and not one.virtual), "")


def _ask(device: str, home: Home) -> Asked:
    ref = BoardRef(load_kind(_CHIP_KIND), device, device)
    path = lock_path(home, device, device)
    holder = holder_of(path)
    # A run that looks for its own board again, after its power was cut, has it already.
    has_it = holder is not None and holder.is_ours
    try:
        with nullcontext() if has_it else board_lock(path, device):
            ref.check_free()
            return Asked(device, identify(ref, "keyfob bench scan --probe"))
    except KeyfobHostError as error:
        seen = error.evidence.partition("\n")[0]
        if error.code.startswith(("port.", "board.")):
            return Asked(device, None, f"its chip was not asked: {error.cause} ({seen})")
        return Asked(device, None, f"its chip did not answer: {seen or error.cause}")


def _plugged_in(device: str) -> str:
    """What is another text after the board was unplugged; "" where the system cannot tell.

    The kernel makes the device file anew each time: another inode, at another time.
    """
    try:
        status = Path(device).stat()
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        return ""
    return f"{boot} {device} {status.st_ino} {status.st_ctime_ns}"


def _is_there(key: str) -> bool:
    return _plugged_in(key.split(" ")[1]) == key


def _memory_path(home: Home) -> Path:
    return home.runtime_dir.parent / "chips.json"


@contextmanager
def _memory(home: Home) -> Iterator[dict[str, Chip]]:
    """The chips that are known; what is added is kept."""
    home.ensure_runtime()
    path = _memory_path(home)
    with explain_os_error(path, "lock what is known of chips"):
        lock = FileLock(path.with_suffix(".lock"), mode=0o600)
        lock.acquire()
    try:
        known = _read(path)
        before = dict(known)
        try:
            yield known
        finally:
            if known != before:
                there = {key: vars(one) for key, one in known.items() if _is_there(key)}
                write_atomic(path, json.dumps(there))
    finally:
        lock.release()


def _read(path: Path) -> dict[str, Chip]:
    try:
        return {key: Chip(**told) for key, told in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # none yet, or of another version: the chips are asked again
