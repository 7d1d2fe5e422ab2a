"""The modules that play a port, compiled and in one ROMFS image.

A MicroPython that maps the image runs them where they lie, outside its heap, as a
chip runs its port from flash. ``_rom_names`` does nothing but to bring the names that an
ESP8266's ROM has and the unix port has not, before a program could be charged for them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from keyfob_host.files import write_atomic
from keyfob_host.mpy import bytecode
from keyfob_host.rom_names import IN_ESP8266_ROM

# Of the first folder those are left out that only its own chip has.
_OWN = ("_boot.py", "esp32.py", "start.py")


def write_port_image(image: Path, folders: tuple[Path, Path]) -> None:
    """Write the modules of both folders to ``image``; the second's come before the first's."""
    sources = {path.name: path for path in folders[0].glob("*.py") if path.name not in _OWN}
    sources.update({path.name: path for path in folders[1].glob("*.py")})
    writer = VfsRomWriter()
    for name, path in sorted(sources.items()):
        writer.mkfile(f"{path.stem}.mpy", bytecode(path, f"_port/{name}"))
    writer.mkfile("_rom_names.mpy", _rom_names())
    data = bytes(writer.finalise())
    if not image.exists() or image.read_bytes() != data:
        write_atomic(image, data)


def _rom_names() -> bytes:
    text = "def names(_):\n" + "".join(f" _.{name}\n" for name in IN_ESP8266_ROM)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "_rom_names.py"
        source.write_text(text, "utf-8")
        return bytecode(source, "_rom_names")
