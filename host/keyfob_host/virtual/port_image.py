"""The modules that play a port, compiled and in one ROMFS image.

A MicroPython that maps the image runs them where they lie, outside its heap, as a
chip runs its port from flash.
"""

from __future__ import annotations

from pathlib import Path

from mpremote.romfs import VfsRomWriter

from keyfob_host.files import write_atomic
from keyfob_host.mpy import bytecode

# Of the first folder those are left out that only its own chip has.
_OWN = ("_boot.py", "esp32.py", "start.py")


def write_port_image(image: Path, folders: tuple[Path, Path]) -> None:
    """Write the modules of both folders to ``image``; the second's come before the first's."""
    sources = {path.name: path for path in folders[0].glob("*.py") if path.name not in _OWN}
    sources.update({path.name: path for path in folders[1].glob("*.py")})
    writer = VfsRomWriter()
    for name, path in sorted(sources.items()):
        writer.mkfile(f"{path.stem}.mpy", bytecode(path, f"_port/{name}"))
    data = bytes(writer.finalise())
    if not image.exists() or image.read_bytes() != data:
        write_atomic(image, data)
