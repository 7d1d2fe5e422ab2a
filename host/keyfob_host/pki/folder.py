"""Folders that change as one: key and certificate on disk never disagree.

All files are written into a temporary folder beside the target, synced, and the
folder is renamed. Readers see the old set or the new one. `files.write_atomic` does
the same for one file.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keyfob_host.errors import explain_os_error

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # macOS sys/stdio.h


def write_folder(
    path: Path, files: Mapping[str, tuple[bytes, int]], *, replace: bool = False
) -> None:
    """Make the folder ``path`` (mode 0700) with ``files``: name -> (content, mode).

    A name may be in a folder below (``issuing/ca.cert.pem``). With ``replace`` an existing
    folder is exchanged whole and then removed; without it `FileExistsError` is raised, also
    when another process was first. Other
    errors are `KeyfobHostError` (``host.disk-full``, ``file.no-permission``, …), and
    then nothing has changed.
    """
    doing = f"write {path.name}"
    with explain_os_error(path, doing):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_remains(path)
        prefix = f".{path.name}.{os.getpid()}-"
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    try:
        with explain_os_error(path, doing):
            for name, (content, mode) in files.items():
                _write(temporary / name, content, mode)
            for folder in {(temporary / name).parent for name in files} | {temporary}:
                sync_folder(folder)
        if not _rename_new(temporary, path, doing):
            if not replace:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            with explain_os_error(path, doing):
                _exchange(temporary, path)
        with explain_os_error(path, doing):
            sync_folder(path.parent)
    finally:
        # Holds the old set after an exchange, or what there was of a new one.
        shutil.rmtree(temporary, ignore_errors=True)


def remove_remains(path: Path) -> None:
    """Remove what writers of ``path`` left that were killed: there may be keys in it."""
    # Matched whole: the name of another folder may begin as that of a temporary one here.
    ours = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)-[a-z0-9_]+")
    for remains in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        found = ours.fullmatch(remains.name)
        if found and not _runs(int(found[1])):
            shutil.rmtree(remains, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # O_CREAT with the final mode: a key is never readable by others, even for a moment.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename_new(temporary: Path, path: Path, doing: str) -> bool:
    """Rename to a name that is free; False when it is taken (and holds something)."""
    with explain_os_error(path, doing):
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
    return True


def _exchange(one: Path, other: Path) -> None:
    """Put ``one`` in the place of ``other``, in one step where the system can."""
    if _exchange_at_once(one, other):
        return
    aside = one.with_name(one.name + ".old")
    try:
        other.rename(aside)
        one.rename(other)
    except BaseException:
        if aside.exists() and not other.exists():
            aside.rename(other)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _exchange_at_once(one: Path, other: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            return bool(libc.renamex_np(first, second, _RENAME_SWAP) == 0)
        return bool(libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0)
    except AttributeError:  # a C library without the call
        return False


def sync_folder(path: Path) -> None:
    """The names in ``path`` are on the disk afterwards."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
