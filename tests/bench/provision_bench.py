"""Virtual boards for the tests of transport, sync and provisioning, and their flash read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from littlefs import LittleFS

from keyfob_host.boards import BoardRef, open_board
from keyfob_host.flash.images import demo_image
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard
from keyfob_host.virtual.flash import Flash, read_partitions

KIND = "virtual-esp32"


@contextlib.contextmanager
def powered_board(folder: Path) -> Iterator[BoardRef]:
    """A running virtual ESP32 with MicroPython in its flash and an empty filesystem."""
    home = Home(folder / "home")
    virtual = VirtualBoard.up(home, KIND, powered=False)
    try:
        with Path(virtual.info()["flash"]).open("r+b") as flash:
            flash.seek(0x1000)
            flash.write(demo_image(home).read_bytes())
        virtual.power(True)
        yield open_board(KIND, home=home)
    finally:
        virtual.down()


def board_files(ref: BoardRef) -> dict[str, bytes]:
    """Every file in the flash image, read by littlefs-python while the board is off."""
    assert ref.virtual is not None
    ref.virtual.power(False)
    flash = Flash(Path(ref.virtual.info()["flash"]), ref.kind.flash.size)
    try:
        table = read_partitions(flash, 0x8000)
        (vfs,) = [part for part in table if part.label == "vfs"]
        image = flash.read(vfs.offset, vfs.size)
    finally:
        flash.close()
    fs = LittleFS(block_size=4096, block_count=vfs.size // 4096, mount=False)
    fs.context.buffer = bytearray(image)
    fs.mount()
    found: dict[str, bytes] = {}
    for root, _, names in fs.walk("/"):
        for name in names:
            path = f"{root.rstrip('/')}/{name}"
            with fs.open(path, "rb") as file:
                found[path] = file.read()
    ref.virtual.power(True)
    return found
