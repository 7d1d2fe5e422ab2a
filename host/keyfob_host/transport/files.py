"""The board's files, all of it on exec, so that both back ends share every line.

Each function is one round trip. Paths are absolute. Nothing here follows a mounted
filesystem specially: what ``os.ilistdir`` shows is there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import cast

from keyfob_host.transport.base import Transport

_HASHES = """\
import hashlib,binascii
def _h(p):
 d=hashlib.sha256()
 b=bytearray(512)
 m=memoryview(b)
 with open(p,'rb') as f:
  while 1:
   k=f.readinto(b)
   if not k:break
   d.update(m[:k])
 return binascii.hexlify(d.digest()).decode()
for p in %r:
 try:print(_h(p))
 except OSError as e:
  if e.args[0] not in(2,20,21):raise
  print('-')
"""

_TREE = """\
import os
def _t(p):
 for e in os.ilistdir(p or '/'):
  q=p+'/'+e[0]
  if e[1]&0x4000:_t(q)
  else:print(repr((q,e[3] if len(e)>3 else os.stat(q)[6])))
try:_t(%r)
except OSError as e:
 if e.args[0]!=2:raise
"""

_MKDIRS = """\
import os
for p in %r:
 try:os.mkdir(p)
 except OSError as e:
  if e.args[0]!=17:raise
"""

_REMOVE = """\
import os
for p in %r:
 try:os.remove(p)
 except OSError as e:
  if e.args[0]!=2:raise
"""

_RMDIRS = """\
import os
for p in %r:
 try:os.rmdir(p)
 except OSError:pass
"""

_EXISTING = """\
import os
for p in %r:
 try:os.stat(p)
 except OSError:continue
 print(p)
"""

_RM_EMPTY_TREES = """\
import os
def _t(p):
 for e in list(os.ilistdir(p)):
  if e[1]&0x4000:_t(p+'/'+e[0])
 try:os.rmdir(p)
 except OSError:pass
for p in %r:
 try:_t(p)
 except OSError:pass
"""


def hashes(
    board: Transport, paths: Iterable[str], *, timeout_s: float = 60.0
) -> dict[str, bytes | None]:
    """SHA-256 of each file, computed on the board in one round trip; None where none is."""
    wanted = list(paths)
    lines = board.exec(_HASHES % wanted, timeout_s=timeout_s, doing="hashing files").split()
    found = [None if line == b"-" else bytes.fromhex(line.decode()) for line in lines]
    return dict(zip(wanted, found, strict=True))


def list_tree(board: Transport, folder: str = "/") -> dict[str, int]:
    """Size in bytes of every file below ``folder``; empty if there is no such folder."""
    output = board.exec(_TREE % folder.rstrip("/"), timeout_s=30.0, doing=f"listing {folder}")
    return dict(
        cast("tuple[str, int]", ast.literal_eval(line)) for line in output.decode().splitlines()
    )


def mkdirs(board: Transport, folders: Iterable[str]) -> None:
    """Make folders and those above them; those already there are left alone."""
    needed = {"/".join(parts[:end]) for parts in (f.rstrip("/").split("/") for f in folders)
              for end in range(2, len(parts) + 1)}  # fmt: skip
    if needed:
        board.exec(_MKDIRS % sorted(needed), doing="making folders")


def rename(board: Transport, old: str, new: str) -> None:
    """Rename a file, over ``new`` if that is there; one step on LittleFS."""
    board.exec(f"import os\nos.rename({old!r},{new!r})", doing=f"renaming {old} to {new}")


def remove(board: Transport, paths: Iterable[str]) -> None:
    """Remove files; those that are not there are no error."""
    wanted = list(paths)
    if wanted:
        board.exec(_REMOVE % wanted, doing="removing files")


def remove_empty_folders(board: Transport, folders: Iterable[str]) -> None:
    """Remove folders that are empty, deepest first; others stay."""
    wanted = sorted(folders, key=lambda folder: -folder.count("/"))
    if wanted:
        board.exec(_RMDIRS % wanted, doing="removing empty folders")


def existing(board: Transport, paths: Iterable[str]) -> list[str]:
    """Those of the files and folders that are there."""
    return board.exec(_EXISTING % list(paths), doing="looking for files").decode().splitlines()


def remove_empty_trees(board: Transport, folders: Iterable[str]) -> None:
    """Remove folders and those in them, as far as there is no file in them."""
    wanted = list(folders)
    if wanted:
        board.exec(_RM_EMPTY_TREES % wanted, doing="removing empty folders")
