"""The flash chip of a virtual board: an image file, and what NOR flash does to bytes.

Programming can only clear bits, erasing sets a whole 4096-byte sector to 0xFF, and
the power can be cut in the middle of either. The image is the file ``flash.bin``,
shared by a memory map, so what esptool wrote, what LittleFS wrote and what a test
reads from the file are one and the same. Wear and access times are not modelled.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic

SECTOR_BYTES = 4096
_ERASED = 0xFF

# esp-idf, esp_partition_info_t: magic, type, subtype, offset, size, label, flags.
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC = 0x50AA
_MD5_MAGIC = 0xEBEB
_TABLE_BYTES = 0xC00


class PowerCut(Exception):
    """The supply failed during a flash operation; what was done so far stays done."""


class Flash:
    """The flash image ``path`` of ``size`` bytes; a new one is erased."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.operations = 0
        self._cut_at: int | None = None
        self._cut_done = 0.5
        if not path.exists():
            write_atomic(path, b"\xff" * size, mode=0o600)
        with explain_os_error(path, "open the flash image"):
            handle = os.open(path, os.O_RDWR)
            try:
                seen = os.fstat(handle).st_size
                if seen != size:
                    raise KeyfobHostError(
                        "board.bad-flash", "the flash image has not the size of the board's flash",
                        evidence=f"{path}: {seen} bytes, wanted {size}", fix=f"rm {path}",
                    )  # fmt: skip
                self.map = mmap.mmap(handle, size)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Write everything back and let go of the file."""
        self.map.flush()
        self.map.close()

    def cut_power_at(self, operations_from_now: int | None, done: float = 0.5) -> None:
        """Fail with `PowerCut` in the n-th operation from now (1 = the next); None: never.

        ``done``: the share of it, 0 to 1, that is done by then.
        """
        self._cut_done = done
        self._cut_at = (
            None if operations_from_now is None else self.operations + operations_from_now
        )

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; short at the end of the chip."""
        return self.map[offset : min(offset + length, self.size)]

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits of ``data``'s zeros; bytes beyond the chip are ignored."""
        data = data[: max(0, self.size - offset)]
        cut = self._next_operation()
        if cut:
            data = data[: int(len(data) * self._cut_done)]
        end = offset + len(data)
        old = int.from_bytes(self.map[offset:end], "little")
        new = old & int.from_bytes(data, "little")
        self.map[offset:end] = new.to_bytes(len(data), "little")
        if cut:
            raise PowerCut

    def erase(self, offset: int, length: int) -> None:
        """Set the sectors that ``[offset, offset + length)`` touches to 0xFF."""
        start = offset - offset % SECTOR_BYTES
        end = min(-(-(offset + length) // SECTOR_BYTES) * SECTOR_BYTES, self.size)
        cut = self._next_operation()
        if cut:
            end = start + int(max(0, end - start) * self._cut_done)
        if start < end:
            self.map[start:end] = bytes([_ERASED]) * (end - start)
        if cut:
            raise PowerCut

    def _next_operation(self) -> bool:
        self.operations += 1
        if self._cut_at is None or self.operations < self._cut_at:
            return False
        self._cut_at = None
        return True


@dataclass(frozen=True)
class Partition:
    """One entry of the partition table; ``offset`` and ``size`` in bytes."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int


class BadTable(Exception):
    """The partition table is not one; the argument is the bootloader's own words."""


def read_partitions(flash: Flash, table_offset: int) -> list[Partition]:
    """The partition table at ``table_offset``, its MD5 entry checked.

    Errors: `BadTable` when it has no entry, a wrong magic number or a wrong MD5.
    """
    table = flash.read(table_offset, _TABLE_BYTES)
    partitions: list[Partition] = []
    for start in range(0, len(table), _ENTRY.size):
        entry = table[start : start + _ENTRY.size]
        magic, kind, subtype, offset, size, label, _flags = _ENTRY.unpack(entry)
        if magic == _MD5_MAGIC:
            if hashlib.md5(table[:start], usedforsecurity=False).digest() != entry[16:]:
                raise BadTable("flash_parts: partition table md5 mismatch")
        elif magic == _ENTRY_MAGIC:
            name = label.split(b"\0")[0].decode("utf-8", "replace")
            partitions.append(Partition(name, kind, subtype, offset, size))
        elif entry == b"\xff" * _ENTRY.size:
            break
        else:
            raise BadTable(
                f"flash_parts: partition {len(partitions)} invalid magic number {magic:#x}"
            )
    if not partitions:
        raise BadTable("boot: ota data partition invalid and no factory, will try all partitions")
    return partitions
