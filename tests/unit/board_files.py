"""The firmware for a test's program: as a ROMFS image mapped into its memory, which is no part
of the heap, as in a board's flash; or as plain files of bytecode, as on a small board."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from keyfob_host.mpy import bytecode

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
# For a 32-bit MicroPython; behind it, modules come from the image, and then from ``.frozen``.
MOUNT = """import ffi, os, sys, uctypes, vfs
def mount(path):
    libc = ffi.open("libc.so.6")
    handle = libc.func("i", "open", "si")(path, 0)
    size = os.stat(path)[6]
    at = libc.func("i", "mmap", "iIiiiI")(0, size, 1, 1, handle, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at & 0xFFFFFFFF, size)), "/rom")
    sys.path[:] = ["/rom", ".frozen"]
mount({!r})
del mount, ffi, uctypes, vfs
"""


def make_rom(
    root: Path, program: str, modules: Iterable[Path], files: dict[str, bytes] | None = None
) -> Path:
    """``program`` behind an image of the firmware, the ``modules`` and ``files`` (path in the
    image to content); the file to run, in ``root``."""
    _compile(root / "files", modules)
    for path, content in (files or {}).items():
        target = root / "files" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    writer = VfsRomWriter()
    _pack(writer, root / "files")
    image = root / "image.romfs"
    image.write_bytes(bytes(writer.finalise()))
    (root / "run.py").write_text(MOUNT.format(str(image)) + program)
    return root / "run.py"


def make_files(root: Path, program: str, modules: Iterable[Path]) -> Path:
    """The same with plain files of bytecode, which the heap must hold."""
    _compile(root / "files", modules)
    (root / "program.py").write_text(program)
    (root / "files" / "program.mpy").write_bytes(bytecode(root / "program.py", "program"))
    (root / "run.py").write_text(
        f"import sys\nsys.path[:] = [{str(root / 'files')!r}, '.frozen']\nimport program\n"
    )
    return root / "run.py"


def _compile(folder: Path, modules: Iterable[Path]) -> None:
    sources = {path.relative_to(FIRMWARE): path for path in FIRMWARE.glob("keyfob/**/*.py")}
    sources.update((Path(path.name), path) for path in modules)
    for name, source in sources.items():
        target = folder / name.with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        # By the module's name, as `keyfob sync` names it: so that it is on the heap once.
        module = str(name.with_suffix("")).replace("/", ".").removesuffix(".__init__")
        target.write_bytes(bytecode(source, module))


def _pack(writer: VfsRomWriter, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            writer.opendir(path.name)
            _pack(writer, path)
            writer.closedir()
        else:
            writer.mkfile(path.name, path.read_bytes())
