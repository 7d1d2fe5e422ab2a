"""A 32-bit MicroPython that has a board's modules in itself, as an image of one's own has them.

`build` compiles the unix port from a folder of MicroPython's sources (with its submodules),
which a C compiler that knows ``-m32`` and its C library have to be there for; ``CFLAGS_EXTRA``
and ``LDFLAGS_EXTRA`` of the environment reach it. Modules frozen so take no heap for their
code, constants and names. Left out are ffi and btree, which no board has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import micropython32  # beside the script that was started

from . import rig

# A module of the benchmark's and one of a package may be the same identifier in C.
PREFIX = "play_"
_PROGRAMS = ("_story", "_blocking", "_large", "_steps")
_MANIFEST = """\
include("$(MPY_DIR)/extmod/asyncio")
freeze({modules!r}, opt=3)
"""
_OPTIONS = ("VARIANT=standard", "MICROPY_FORCE_32BIT=1", "MICROPY_PY_FFI=0", "MICROPY_PY_BTREE=0")


def build(sources: Path, boards: list[Path], folder: Path) -> Path:
    """The interpreter with every module of ``boards``; programs are called `PREFIX` + name."""
    modules = folder / "modules"
    for source in map(rig.sources_of, boards):
        for path in source.rglob("*.py"):
            target = modules / path.relative_to(source)
            if path.stem.endswith(_PROGRAMS):
                target = target.with_name(PREFIX + target.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    manifest = folder / "manifest.py"
    manifest.write_text(_MANIFEST.format(modules=str(modules)))
    done = subprocess.run(
        [
            "make", "-C", str(sources / "ports" / "unix"), "-j2", *_OPTIONS,
            f"BUILD={folder / 'build'}", f"FROZEN_MANIFEST={manifest}",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"MicroPython with frozen modules: {done.stderr.strip()[-2000:]}")
    return folder / "build" / "micropython"


def command(interpreter: Path) -> list[str]:
    """The words that start it: by the loader of the 32-bit MicroPython that is used otherwise,
    as the machine may have none."""
    return [*micropython32.command()[:-1], str(interpreter)]
