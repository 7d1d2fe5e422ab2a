"""What on a board would be loaded instead of what sync brings.

MicroPython tries the places of ``sys.path`` in order, and in each a folder, then ``.py``,
then ``.mpy`` (py/builtinimport.c). The file system comes first, ``/rom`` behind it. So
beside a ``.mpy`` file a ``.py`` of the same name hides it; and a folder of the file
system hides the whole folder of that name in ``/rom``, even an empty one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.mpy import BoardFile
from keyfob_host.transport import Transport, files
from keyfob_host.transport.upload import TEMPORARY

_SHOWN = 8


@dataclass(frozen=True)
class InTheWay:
    """What hides an image's packages. ``standing``: folders, and modules of their names."""

    standing: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()  # files there that sync put there, or was about to
    strangers: tuple[str, ...] = ()  # all others


def in_the_way(
    board: Transport, packages: Iterable[str], known: Mapping[str, Collection[bytes]]
) -> InTheWay:
    """What is in the file system under the names of ``packages``; ``known``: sync's own
    files with their digests. A file of sync's that was changed since is a stranger."""
    names = [f"/{package}{end}" for package in packages for end in ("", ".py", ".mpy")]
    standing = files.existing(board, names)
    if not standing:
        return InTheWay()
    modules = [path for path in standing if path.endswith((".py", ".mpy"))]
    folders = [path for path in standing if path not in modules]
    found = [*modules, *(path for top in folders for path in files.list_tree(board, top))]
    digests = files.hashes(board, [path for path in found if path in known])
    ours = {path for path, digest in digests.items() if digest in known[path]}
    ours |= {path + TEMPORARY for path in known}.intersection(found)
    strangers = sorted(path for path in found if path not in ours)
    return InTheWay(tuple(standing), tuple(sorted(ours)), tuple(strangers))


def strangers_beside(
    board: Transport, wanted: list[BoardFile], known: Collection[str]
) -> tuple[list[str], list[str]]:
    """Files in the folders that ``wanted`` fills, of which sync knows nothing; and those of
    them that hide bytecode of ours."""
    ours = {file.path for file in wanted}.union(known)
    tops = sorted({file.path.split("/")[1] for file in wanted if file.path.count("/") > 1})
    found = [path for top in tops for path in files.list_tree(board, f"/{top}")]
    temporary = {path + TEMPORARY for path in ours}
    strangers = sorted(
        path
        for path in found
        if path not in ours and path not in temporary and not path.endswith(".old")
    )
    compiled = {file.path for file in wanted if file.path.endswith(".mpy")}
    hiding = [path for path in strangers if path[-3:] == ".py" and path[:-3] + ".mpy" in compiled]
    return strangers, hiding


def refusal(hiding: Collection[str], board: str) -> KeyfobHostError:
    """``sync.shadowed`` for these files."""
    paths = list(hiding)
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return KeyfobHostError(
        "sync.shadowed",
        "files that sync did not put on the board would be loaded instead of those it sends",
        evidence=", ".join(paths[:_SHOWN]) + more,
        fix=f"to remove them: keyfob sync --board {board} --prune; "
        f"to keep one: mpremote fs cp :{paths[0]} .",
        status=ExitStatus.BOARD,
    )
