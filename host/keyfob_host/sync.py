"""Bring the board's files to what the firmware's folder says, sending only what differs.

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

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.mpy import BoardFile, board_files, bytecode_version
from keyfob_host.parts import left_out
from keyfob_host.transport import Transport, Via, files, open_transport
from keyfob_host.transport.upload import TEMPORARY

if TYPE_CHECKING:
    from keyfob_host.boards import BoardRef

MANIFEST = "/keyfob.sync"
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (/.+)")

Manifest = dict[str, set[bytes]]
OnStep = Callable[[str], None]


@dataclass(frozen=True)
class SyncReport:
    """What a sync did. Paths are the board's; sizes in bytes."""

    total: int
    sent: dict[str, int]
    removed: tuple[str, ...]
    kept_aside: tuple[str, ...]  # the user's files, now NAME.old
    left: tuple[str, ...]  # ours once, changed on the board since, so left there

    def summary(self) -> str:
        """One line for people: ``12 files: 3 sent (5.1 KB), 9 already there``."""
        there = self.total - len(self.sent)
        size = f" ({sum(self.sent.values()) / 1000:.1f} KB)" if self.sent else ""
        text = f"{self.total} files: {len(self.sent)} sent{size}, {there} already there"
        return text + (f", {len(self.removed)} removed" if self.removed else "")

    def as_dict(self) -> dict[str, object]:
        """The ``--json`` shape."""
        return {
            "files": self.total, "sent": self.sent, "removed": list(self.removed),
            "kept_aside": list(self.kept_aside), "left": list(self.left),
        }  # fmt: skip


def sync_board(
    ref: BoardRef,
    *,
    via: Via = "mpremote",
    source: Path | None = None,
    compiled: bool = True,
    prune: bool = False,
    reset: bool = True,
    on_step: OnStep = lambda _text: None,
) -> SyncReport:
    """Sync the board ``ref`` and restart it; ``source`` is Keyfob's own firmware by default.

    The folder is read and compiled before the board is touched. Of the TLS engine a board
    is sent what its kind uses. Errors: ``sync.*``,
    ``port.*``, ``board.*``, ``file.*``.
    """
    folder = source or data_path("firmware")
    without = left_out(folder, ref.kind.tls.engine) if folder.is_dir() else set()
    wanted = board_files(folder, compiled=compiled, without=without)
    with open_transport(ref, via) as board:
        report = sync_files(board, wanted, prune=prune, on_step=on_step)
        if reset:
            board.reset()
    return report


def sync_files(
    board: Transport,
    wanted: list[BoardFile],
    *,
    prune: bool = False,
    on_step: OnStep = lambda _text: None,
) -> SyncReport:
    """Make the board hold ``wanted``, in that order; then remove what sync once put there.

    ``prune`` also removes what else is in the folders that ``wanted`` fills. Errors:
    ``sync.mpy-mismatch``, ``sync.shadowed``, ``board.*``.
    """
    _check_bytecode(board, wanted)
    target = _manifest_text({file.path: {file.sha256} for file in wanted})
    manifest_file = BoardFile(MANIFEST, target)
    there = files.hashes(board, [file.path for file in wanted] + [MANIFEST])
    send = [file for file in wanted if there[file.path] != file.sha256]
    clean = there[MANIFEST] == manifest_file.sha256
    note = target if clean else b"" if there[MANIFEST] is None else board.read(MANIFEST)
    known = _read_manifest(note)
    stale = sorted(set(known) - {file.path for file in wanted})
    strangers = _strangers(board, wanted, set(known))
    _check_shadows(wanted, strangers, prune, board.board)

    aside: list[str] = []
    if send:
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
    removed, left = _remove_stale(board, stale, known)
    if prune and strangers:
        files.remove(board, strangers)
        removed += strangers
    for path in removed:
        on_step(f"  removed {path}")
    if removed:
        _tidy_folders(board, removed)
    if not clean:
        # What an earlier, interrupted sync may have left half-written.
        files.remove(board, [file.path + TEMPORARY for file in wanted])
    if not clean or send:
        board.write(MANIFEST, target)
    return SyncReport(
        total=len(wanted),
        sent={file.path: len(file.data) for file in send},
        removed=tuple(removed),
        kept_aside=tuple(aside),
        left=tuple(left),
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


def _strangers(board: Transport, wanted: list[BoardFile], known: set[str]) -> list[str]:
    """Files in the folders we fill that sync knows nothing of."""
    ours = {file.path for file in wanted} | known
    tops = sorted({file.path.split("/")[1] for file in wanted if file.path.count("/") > 1})
    found: list[str] = []
    for top in tops:
        found += [path for path in files.list_tree(board, f"/{top}") if path not in ours]
    temporary = {path + TEMPORARY for path in ours}
    return sorted(path for path in found if path not in temporary and not path.endswith(".old"))


def _check_shadows(wanted: list[BoardFile], strangers: list[str], prune: bool, board: str) -> None:
    compiled = {file.path for file in wanted if file.path.endswith(".mpy")}
    shadows = [path for path in strangers if path[:-3] + ".mpy" in compiled and path[-3:] == ".py"]
    if shadows and not prune:
        raise KeyfobHostError(
            "sync.shadowed",
            "files that sync did not put on the board would be loaded instead of those it sends",
            evidence=", ".join(shadows),
            fix=f"to remove them: keyfob sync --board {board} --prune; "
            f"to keep one: mpremote fs cp :{shadows[0]} .",
            status=ExitStatus.BOARD,
        )


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
