"""Bring the board's files to what the firmware's folder says, sending only what differs.

There are two ways: every file into the file system, or the packages in one ROMFS image
(`keyfob_host.romfs`) and the rest as files. The interpreter looks for a package in the
file system first, so a way is changed in this order: the image while the old files are
still in use, then ``main.py`` away, folders away, and ``main.py`` last; and back again
the image away after all files are there. A board that is cut off in between has the old
program, none, or the new one.

What sync put on the board it notes in ``/keyfob.sync`` (lines of ``sha256sum``:
digest, two spaces, path), and only that does it ever remove. A file of the user's
that stands where one of ours must go is kept as ``NAME.old``. Each file arrives
whole (see `keyfob_host.transport.upload`); identity and settings are not touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from keyfob_host import romfs, shadows
from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.mpy import BoardFile, board_files, bytecode_version
from keyfob_host.names import merge_names
from keyfob_host.parts import left_out
from keyfob_host.transport import Transport, Via, files, open_transport
from keyfob_host.transport.upload import TEMPORARY

if TYPE_CHECKING:
    from keyfob_host.boards import BoardRef, Engine, Names, SyncTo

MANIFEST = "/keyfob.sync"
_MAIN = "/main.py"
_FILES_HEAP_KB = 64  # where bytecode is in the heap (tools/RESULTS_ESP8266.md)
_REMOVED_AT_ONCE = 32  # on a chip each takes some 50 ms
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (/.+)")

Manifest = dict[str, set[bytes]]
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class SyncReport:
    """What a sync did. Paths are the board's; sizes in bytes. ``total``: plain files."""

    total: int
    sent: dict[str, int]
    removed: tuple[str, ...]
    kept_aside: tuple[str, ...]  # the user's files, now NAME.old
    left: tuple[str, ...]  # ours once, changed on the board since, so left there
    image: romfs.Image | None = None
    image_sent: bool = False
    image_dropped: bool = False  # the board had one of ours, and has none now

    def summary(self) -> str:
        """One line for people: ``12 files: 3 sent (5.1 KB), 9 already there``."""
        there = self.total - len(self.sent)
        size = f" ({sum(self.sent.values()) / 1000:.1f} KB)" if self.sent else ""
        text = f"{self.total} files: {len(self.sent)} sent{size}, {there} already there"
        text += f", {len(self.removed)} removed" if self.removed else ""
        if self.image_dropped:
            return f"{text}; ROMFS image taken away"
        if self.image is None:
            return text
        done = "sent" if self.image_sent else "already there"
        size = f"{len(self.image.data) / 1000:.1f} KB"
        return f"ROMFS image of {self.image.files} files ({size}) {done}; {text}"

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape."""
        image = self.image and {
            "files": self.image.files, "bytes": len(self.image.data), "sent": self.image_sent,
        }  # fmt: skip
        return {
            "to": "romfs" if image else "files", "image": image,
            "files": self.total, "sent": self.sent, "removed": list(self.removed),
            "kept_aside": list(self.kept_aside), "left": list(self.left),
        }  # fmt: skip


def sync_board(
    ref: BoardRef,
    *,
    via: Via = "mpremote",
    source: Path | None = None,
    to: SyncTo | None = None,
    engine: Engine | None = None,
    names: Names | None = None,
    compiled: bool = True,
    prune: bool = False,
    reset: bool = True,
    on_step: OnStep = lambda _text: None,
) -> SyncReport:
    """Sync the board ``ref`` and restart it; ``source`` is Keyfob's own firmware by default.

    The folder is read and compiled before the board is touched. ``to`` (where packages
    go), ``engine`` (the only one of the TLS engines that is sent) and ``names`` (see
    `keyfob_host.names`) are the kind's by default. Errors: ``sync.*``, ``port.*``,
    ``board.*``, ``file.*``.
    """
    folder = source or data_path("firmware")
    without = left_out(folder, engine or ref.kind.tls.engine) if folder.is_dir() else set()
    wanted = board_files(folder, compiled=compiled, without=without)
    if (names or ref.kind.sync.names) == "short":
        wanted = merge_names(folder, wanted)
    with open_transport(ref, via) as board:
        report = sync_files(board, wanted, to=to or ref.kind.sync.to, prune=prune, on_step=on_step)
        if reset:
            board.reset()
    if to == "files" and ref.kind.sync.to == "romfs" and not source:
        # Said and not refused: parts of it run so, and it is how an image is got rid of.
        heap = f"about {_FILES_HEAP_KB} KB of heap are wanted, {ref.kind.heap_bytes >> 10} are here"
        on_step(f"note   the program does not connect from plain files: {heap}")
        on_step(f"fix    keyfob sync --board {ref.kind.name} --to romfs")
    return report


def sync_files(
    board: Transport,
    wanted: list[BoardFile],
    *,
    to: SyncTo = "files",
    prune: bool = False,
    on_step: OnStep = lambda _text: None,
) -> SyncReport:
    """Make the board hold ``wanted``, in that order; then remove what sync once put there.

    ``prune`` also removes what else is in the folders that ``wanted`` fills. Errors:
    ``sync.mpy-mismatch``, ``sync.shadowed``, ``sync.romfs-*``, ``sync.no-romfs``,
    ``board.*``.
    """
    _check_bytecode(board, wanted)
    plain, packed = romfs.split(wanted) if to == "romfs" else (wanted, [])
    image = romfs.build(packed) if packed else None
    part = romfs.look(board, image)
    if image:
        romfs.check_room(part, image, board.board, prune=prune)

    target = _manifest_text({file.path: {file.sha256} for file in plain})
    there = files.hashes(board, [file.path for file in plain] + [MANIFEST])
    send = [file for file in plain if there[file.path] != file.sha256]
    clean = there[MANIFEST] == BoardFile(MANIFEST, target).sha256
    note = target if clean else b"" if there[MANIFEST] is None else board.read(MANIFEST)
    known = _read_manifest(note)
    stale = sorted(set(known) - {file.path for file in plain})
    if image:
        strangers: list[str] = []
        before = shadows.in_the_way(board, image.folders, known)
        hiding = list(before.strangers)
    else:
        before = shadows.InTheWay()
        strangers, hiding = shadows.strangers_beside(board, wanted, known)
    if hiding and not prune:
        raise shadows.refusal(hiding, board.board)

    image_sent = image is not None and part.digest != image.sha256
    if image and image_sent:
        romfs.deploy(board, image, on_step)
    image_dropped = part.is_ours and not image
    if before.standing or (image_dropped and any(file.path.count("/") > 1 for file in send)):
        send = _stop_program(board, plain, send, there, known)
    # Before anything is sent: what stands there hides the image.
    cleared = _clear(board, before, on_step) if before.standing else []
    aside = _send(board, send, there, known, on_step)
    removed, left = _remove_stale(board, [path for path in stale if path not in cleared], known)
    if prune and strangers:
        files.remove(board, strangers)
        removed += strangers
    for path in removed:
        on_step(f"  removed {path}")
    if removed:
        _tidy_folders(board, removed)
    if not clean:
        # What an earlier, interrupted sync may have left half-written.
        files.remove(board, [file.path + TEMPORARY for file in plain])
    if not clean or send:
        board.write(MANIFEST, target)
    if image_dropped:
        romfs.drop(board)
    return SyncReport(
        total=len(plain),
        sent={file.path: len(file.data) for file in send},
        removed=(*cleared, *removed),
        kept_aside=tuple(aside),
        left=tuple(left),
        image=image,
        image_sent=image_sent,
        image_dropped=image_dropped,
    )


def _check_bytecode(board: Transport, wanted: list[BoardFile]) -> None:
    ours = bytecode_version(wanted)
    if ours is None:
        return
    # Bytecode alone needs the same version; the sub-version counts for native code only.
    seen = board.eval(
        "(getattr(__import__('sys').implementation,'_mpy',0)&255,__import__('sys').version)"
    )
    assert isinstance(seen, tuple)  # noqa: S101 - the expression above
    theirs, version = seen
    if theirs != ours:
        raise KeyfobHostError(
            "sync.mpy-mismatch",
            "the board's MicroPython does not load the bytecode that is made here",
            evidence=f"board: .mpy version {theirs or 'none'} ({version}); made here: {ours}",
            fix=f"keyfob flash --board {board.board}, or send sources: keyfob sync --no-compile",
            status=ExitStatus.BOARD,
        )


def _announce(board: Transport, send: list[BoardFile], known: Manifest) -> None:
    """Note what will be sent before it is, so that after an interruption it is known as ours."""
    both: Manifest = {path: set(digests) for path, digests in known.items()}
    for file in send:
        both.setdefault(file.path, set()).add(file.sha256)
    board.write(MANIFEST, _manifest_text(both))


def _send(
    board: Transport,
    send: list[BoardFile],
    there: dict[str, bytes | None],
    known: Manifest,
    on_step: OnStep,
) -> list[str]:
    """Send files; where those of the user's are now that stood in the way."""
    aside: list[str] = []
    if not send:
        return aside
    files.mkdirs(board, {str(PurePosixPath(file.path).parent) for file in send} - {"/"})
    _announce(board, send, known)
    for file in send:
        on_step(f"  {file.path} ({len(file.data)} bytes)")
        found = there[file.path]
        if found is not None and found not in known.get(file.path, set()):
            files.rename(board, file.path, file.path + ".old")
            aside.append(file.path + ".old")
            on_step(f"  what stood there is now {file.path}.old")
        board.write(file.path, file.data)
    return aside


def _stop_program(
    board: Transport,
    plain: list[BoardFile],
    send: list[BoardFile],
    there: dict[str, bytes | None],
    known: Manifest,
) -> list[BoardFile]:
    """Take our ``main.py`` away, so that no half of the firmware is run; what to send now."""
    main = [file for file in plain if file.path == _MAIN]
    ours = known.get(_MAIN, set()) | {file.sha256 for file in main}
    if not main or there[_MAIN] not in ours:
        return send
    files.remove(board, [_MAIN])
    there[_MAIN] = None
    return [*(file for file in send if file not in main), *main]


def _clear(board: Transport, hidden: shadows.InTheWay, on_step: OnStep) -> list[str]:
    """Remove all that stands before an image; which files that were."""
    remove = [*hidden.ours, *hidden.strangers]
    for at in range(0, len(remove), _REMOVED_AT_ONCE):
        files.remove(board, remove[at : at + _REMOVED_AT_ONCE])
    files.remove_empty_trees(board, hidden.standing)
    on_step(f"  removed {', '.join(hidden.standing)} ({len(remove)} files)")
    return [path for path in remove if not path.endswith(TEMPORARY)]


def _remove_stale(
    board: Transport, stale: list[str], known: Manifest
) -> tuple[list[str], list[str]]:
    """Remove files of ours that are no longer wanted; (removed, left because changed)."""
    if not stale:
        return [], []
    there = files.hashes(board, stale)
    remove = [path for path in stale if there[path] in known[path]]
    left = [path for path in stale if there[path] is not None and there[path] not in known[path]]
    files.remove(board, remove)
    return remove, left


def _tidy_folders(board: Transport, removed: list[str]) -> None:
    parents = {str(up) for path in removed for up in PurePosixPath(path).parents} - {"/"}
    files.remove_empty_folders(board, parents)


def _manifest_text(manifest: Manifest) -> bytes:
    lines = [f"{d.hex()}  {path}\n" for path in sorted(manifest) for d in sorted(manifest[path])]
    return "".join(lines).encode()


def _read_manifest(content: bytes) -> Manifest:
    """Path -> digests; lines that are not ours are passed over, so nothing follows from them."""
    manifest: Manifest = {}
    for line in content.decode("utf-8", "replace").splitlines():
        match = _MANIFEST_LINE.fullmatch(line)
        if match:
            manifest.setdefault(match[2], set()).add(bytes.fromhex(match[1]))
    return manifest
