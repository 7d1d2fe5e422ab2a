"""keyfob_host.qstr_table: what the table of a module's names keeps on a board's heap."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from keyfob_host.data import data_path
from keyfob_host.mpy import board_files, bytecode
from keyfob_host.names import merge_names
from keyfob_host.qstr_table import read_names, with_more_names, without_open_end
from keyfob_host.romfs import build
from keyfob_host.virtual import micropython32

# What is next to the module's table was used for importing it, and is free again: `fill` puts
# pairs everywhere, which are a block of the heap each, and lets go of them.
LOOK = """
import gc
def fill():
    pairs = []
    try:
        while True:
            pairs.append((len(pairs), bytearray(200)))
    except MemoryError:
        pairs.clear()
fill()
gc.collect()
import module
gc.collect()
before = gc.mem_free()
fill()
gc.collect()
print(before - gc.mem_free())
"""


def module_of(folder: Path, names: int) -> bytes:
    """A module without constants whose table has so many names."""
    source = folder / "module.py"
    wanted: list[str] = []
    while True:
        source.write_text("".join(f"{name} = 1\n" for name in wanted) or "1\n")
        code = bytecode(source, "module")
        if len(read_names(code)) >= names:
            return code
        wanted.append(f"name_{len(wanted)}")


def left_behind(folder: Path, code: bytes) -> int:
    """Bytes of the heap that pairs had and that stay taken."""
    (folder / "module.py").unlink(missing_ok=True)
    (folder / "module.mpy").write_bytes(code)
    command = [*micropython32.command(), "-X", "heapsize=20000", "-c", LOOK]
    return int(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)


def test_a_module_keeps_nothing_that_lies_behind_its_table(tmp_path: Path) -> None:
    try:
        micropython32.fetch()
    except micropython32.Unavailable as why:
        pytest.skip(str(why))
    # 8 names fill a block of the 32-bit heap.
    codes = [module_of(tmp_path, names) for names in (15, 16, 24)]
    # The interpreter does it, so there is something to spare it.
    assert sum(left_behind(tmp_path, code) for code in codes) > 100
    assert [left_behind(tmp_path, without_open_end(code)) for code in codes] == [0, 0, 0]


@pytest.mark.parametrize("names", range(2, 40))
def test_no_table_of_a_module_without_constants_fills_its_blocks(
    names: int, tmp_path: Path
) -> None:
    code = module_of(tmp_path, 2)
    code = with_more_names(code, [f"more_{n}" for n in range(names - len(read_names(code)))])
    found = read_names(without_open_end(code))
    assert found[:names] == read_names(code)
    assert 0 < len(found) % 8 < 7
    assert len(found) - names <= 2
    assert len(set(found)) == len(found)


def test_a_module_with_constants_stays_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("a = 0x1234567890ABCDEF\n")
    code = bytecode(source, "module")
    for names in range(3, 20):
        longer = with_more_names(code, [f"more_{n}" for n in range(names)])
        assert without_open_end(longer) == longer


@pytest.mark.parametrize("is_short", [True, False])
def test_no_file_of_the_firmware_has_such_a_table(is_short: bool) -> None:
    firmware = data_path("firmware")
    files = board_files(firmware)
    if is_short:
        files = merge_names(firmware, files)
    compiled = [file for file in files if file.path.endswith(".mpy")]
    assert len(compiled) > 90
    assert [file.path for file in compiled if without_open_end(file.data) != file.data] == []
    image = build(files)
    named_in = next(file for file in compiled if file.path == "/keyfob/board.mpy")
    # The one that brings the names of all others is made longer in the image.
    assert named_in.data not in image.data
