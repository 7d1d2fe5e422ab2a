"""Look at a board without changing it: what it prints, and what is in its files.

A virtual board's console log has what it printed before; a real board is listened to. Files
are read from a virtual board's flash image. On a real one they can be read at its prompt
only, which ends its program: so that is done on demand, and a soft reset makes up for it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from littlefs import LittleFS, LittleFSError

from keyfob_host.boards import BoardKind, BoardRef
from keyfob_host.console import Console, Event, parse_event
from keyfob_host.doctor.sightings import BoardFiles, BoardSight
from keyfob_host.errors import KeyfobHostError
from keyfob_host.lint.private_keys import form_of
from keyfob_host.lint.reading import FileRead, take_apart
from keyfob_host.transport import open_transport
from keyfob_host.virtual import VirtualBoard
from keyfob_host.virtual.flash import BadTable, Flash, Partition, read_partitions
from keyfob_host.virtual.rom8266 import USER_START

_POLL_S = 0.1
_QUIET_S = 3.0  # the sensor's own period: a board that is well says something in it
_TAP_S = 1.0  # a tap's word on a connection that only the broker has ended
_LOG_BYTES = 256 << 10
_BLOCK_BYTES = 4096
_SDK_BYTES = 20480  # at the end of an ESP8266's flash
_MOST_FILE_BYTES = 8192
_TRIES = 3
_KEY_FILE = re.compile(r"key[^/]*\.(der|pem|key)$|\.key$", re.IGNORECASE)
_SECRETS = ("password", "username")


def look_at_board(
    ref: BoardRef, *, limit_s: float, reset: bool = False, read_files: bool = False
) -> BoardSight:
    """Listen until what the board says decides it, at most ``limit_s``.

    ``reset``: first let it boot again. ``read_files``: of a real board too. What does not
    open is in the sight, and no error.
    """
    sight = BoardSight(ref.kind, ref.name, port="" if ref.virtual else ref.port)
    if ref.virtual is not None:
        sight = replace(sight, state=str(ref.virtual.info()["state"]))
    try:
        ref.check_free()
        sight = _listen(ref, sight, limit_s, reset)
    except KeyfobHostError as error:
        sight = replace(_from_log(ref, sight), busy=error)
    if ref.virtual is not None:
        return replace(sight, files=_files_in_flash(ref.kind, ref.virtual))
    if read_files and sight.busy is None:
        return replace(sight, files=_files_at_prompt(ref))
    return sight


def look_at_hand(
    ref: BoardRef, heard: Iterable[str] = (), last_at: datetime | None = None
) -> BoardSight:
    """Without opening its port: a virtual board's log and files, of a real one what was heard.

    ``heard``: console lines that were read of it, whose last event came at ``last_at``.
    """
    if ref.virtual is not None:
        sight = BoardSight(ref.kind, ref.name, state=str(ref.virtual.info()["state"]))
        return replace(_from_log(ref, sight), files=_files_in_flash(ref.kind, ref.virtual))
    found = _since_boot(BoardSight(ref.kind, ref.name, port=ref.port, lines=tuple(heard)))
    if last_at is None:
        return found
    found = replace(found, said_at=last_at)
    return _dated(found, [(last_at.timestamp(), event) for event in found.events[-1:]])


def _listen(ref: BoardRef, sight: BoardSight, limit_s: float, reset: bool) -> BoardSight:
    heard: list[tuple[float, Event]] = []
    said_at: datetime | None = None

    def on_line(line: str) -> None:
        nonlocal said_at
        said_at = datetime.now(timezone.utc)
        event = parse_event(line)
        if event is not None:
            heard.append((time.time(), event))

    began = time.monotonic()
    with Console(ref.stream_url, baud=ref.kind.serial.baud, on_line=on_line) as console:
        if reset:
            _reset(ref, console)
        while True:
            past = _from_log(ref, sight)
            if ref.virtual is None:
                past = replace(past, lines=tuple(console.lines()), said_at=said_at)
            now = _since_boot(past)
            lasted_s = time.monotonic() - began
            if lasted_s > limit_s or ((not reset or heard) and _is_decided(now, lasted_s, heard)):
                break
            time.sleep(_POLL_S)
    return _dated(now, heard)


def _reset(ref: BoardRef, console: Console) -> None:
    """As a press of its button does; over the prompt where there may be no line to it."""
    if ref.virtual is not None:
        ref.virtual.reset()
        return
    console.write(b"\x03\x03")
    time.sleep(0.3)
    console.write(b"\x02import machine; machine.reset()\r")


def _is_decided(sight: BoardSight, lasted_s: float, heard: list[tuple[float, Event]]) -> bool:
    """Whether waiting longer would tell no more than what was said."""
    if sight.state not in ("", "running"):
        return True
    if _has_ended(sight):
        return lasted_s > _TAP_S
    if not sight.events:
        return False
    last = sight.events[-1]
    if sight.is_connected():
        return any(event["ev"] == "publish" for _, event in heard)
    if last["ev"] == "error":
        # One that is tried again soon may be over with the next attempt.
        waits_s = float(last.get("next_ms") or 0) / 1000
        return last.get("retry") == "stop" or (lasted_s > _QUIET_S and waits_s > _QUIET_S)
    return False


def _has_ended(sight: BoardSight) -> bool:
    """Whether its program ended with an exception, and the prompt stands below that."""
    said = [line for line in sight.lines if line.strip()]
    is_prompt = bool(said) and said[-1].startswith(">>>")
    return is_prompt and any(line.startswith("Traceback (") for line in said)


def _from_log(ref: BoardRef, sight: BoardSight) -> BoardSight:
    """A virtual board's own log, which has what it printed before anybody listened."""
    if ref.virtual is None:
        return sight
    path = Path(ref.virtual.info()["log"])
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            text = file.read(_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return sight
    # The last piece may be half a line, about to be printed.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    found = _since_boot(replace(sight, lines=tuple(lines)))
    said_s = path.stat().st_mtime
    found = replace(found, said_at=datetime.fromtimestamp(said_s, timezone.utc))
    return _dated(found, [(said_s, event) for event in found.events[-1:]])


def _since_boot(sight: BoardSight) -> BoardSight:
    """Only what came since the last boot: of the chip, or of the program after Ctrl-D."""
    start = 0
    for index, line in enumerate(sight.lines):
        event = parse_event(line)
        if "ets J" in line or (event is not None and event["ev"] == "boot"):
            start = index
    lines = sight.lines[start:]
    events = tuple(event for line in lines if (event := parse_event(line)) is not None)
    return replace(sight, lines=lines, events=events)


def _dated(sight: BoardSight, heard: list[tuple[float, Event]]) -> BoardSight:
    """With the moment of its boot, by the last event of it that arrived at a known moment."""
    known = {id(event) for event in sight.events}
    for arrived_s, event in reversed(heard):
        t = event.get("t")
        is_of_this_boot = id(event) in known or event in sight.events
        if is_of_this_boot and isinstance(t, (int, float)):
            arrived = datetime.fromtimestamp(arrived_s, timezone.utc)
            return replace(sight, booted_at=arrived - timedelta(milliseconds=t))
    return sight


# -- its files


def _files_in_flash(kind: BoardKind, virtual: VirtualBoard) -> BoardFiles:
    """From a copy of the flash image; one made while the board wrote is made again."""
    for _ in range(_TRIES):
        with suppress(OSError, LittleFSError, KeyfobHostError, BadTable, ValueError):
            volume = _volume(kind, Path(virtual.info()["flash"]))

            def read(path: str, volume: LittleFS = volume) -> bytes:
                with volume.open(path, "rb") as file:
                    content: bytes = file.read(_MOST_FILE_BYTES)
                return content

            return _files(read, "its flash image", [f"/{one}" for one in volume.listdir("/")])
    return BoardFiles()


def _volume(kind: BoardKind, path: Path) -> Any:
    flash = Flash(path, kind.flash.size)
    try:
        part = _file_system(kind, flash)
        image = flash.read(part.offset, part.size)
    finally:
        flash.close()
    volume = LittleFS(block_size=_BLOCK_BYTES, block_count=part.size // _BLOCK_BYTES, mount=False)
    volume.context.buffer = bytearray(image)
    volume.mount()
    return volume


def _file_system(kind: BoardKind, flash: Flash) -> Partition:
    if kind.flash.partition_table is None or kind.vfs is None:
        return Partition("vfs", 1, 0, USER_START, flash.size - USER_START - _SDK_BYTES)
    label = kind.vfs.label
    table = read_partitions(flash, kind.flash.partition_table)
    return next(part for part in table if part.label == label)


def _files_at_prompt(ref: BoardRef) -> BoardFiles:
    """Its program is interrupted for it, and runs again afterwards."""
    with open_transport(ref) as board:
        try:
            return _files(board.read, "its prompt; its program was restarted")
        finally:
            board.reset()


def _files(read: Callable[[str], bytes], how: str, names: Collection[str] = ()) -> BoardFiles:
    """The settings without their secrets, and the certificates of the active slot.

    ``names``: of the files in the root, where keys may be looked at: the forms of those there
    and in the slot. Over a serial line no key is read.
    """

    def maybe(path: str) -> bytes | None:
        try:
            return read(path)
        except (KeyfobHostError, OSError, LittleFSError):
            return None

    settings: dict[str, Any] = {}
    with suppress(ValueError):
        settings = _without_secrets(json.loads(maybe("/keyfob.json") or b"{}"))
    slot = f"/id/{(maybe('/id/active') or b'a').decode('ascii', 'replace')[:1]}"
    anchors = [maybe(f"{slot}/{name}") for name in ("ca.der", "ca1.der", "ca2.der", "ca3.der")]
    found = tuple(one for one in anchors if one)
    places = [name for name in names if _KEY_FILE.search(name)]
    places += [f"{slot}/key.der"] if names else []
    keys = [(path, _form(maybe(path) or b"")) for path in places]
    return BoardFiles(how, settings, maybe(f"{slot}/cert.der"), found, tuple(keys))


def _form(content: bytes) -> str:
    """What form a key has, and nothing else of it."""
    read = FileRead(Path("key"))
    take_apart(content, read)
    form = next((form_of(one.der) for one in read.items if one.kind == "key"), "") or "no key"
    return f"PEM, {form}" if read.is_pem else form


def _without_secrets(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, dict):
        return {}
    return {
        key: _without_secrets(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in _SECRETS
    }
