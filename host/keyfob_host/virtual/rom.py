"""What an ESP32 prints and decides between power-on and its application.

The ROM looks for the second-stage bootloader at the chip's offset, the bootloader
for the partition table and an application partition. Checked: the image header's
magic number, its segment count, its chip, the image's checksum byte and SHA-256,
the partition table with its MD5. Not checked: signatures and encryption. The
machine code itself is not run; an image that passes is taken for MicroPython.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from keyfob_host.virtual.flash import BadTable, Flash, Partition, read_partitions

_MAGIC = 0xE9
_CHECKSUM_SEED = 0xEF
_MAX_SEGMENTS = 16
_TYPE_APP, _TYPE_DATA = 0, 1
_MAX_IMAGE_BYTES = 0x400000

POWERON = "rst:0x1 (POWERON_RESET)"
SOFTWARE = "rst:0xc (SW_CPU_RESET)"
WATCHDOG = "rst:0x8 (TG1WDT_SYS_RESET)"
DEEPSLEEP = "rst:0x5 (DEEPSLEEP_RESET)"


@dataclass(frozen=True)
class Boot:
    """How a start went: what the chip printed, and the partitions if it may go on."""

    text: str
    partitions: tuple[Partition, ...] = ()
    reason: str = ""  # why it stopped, for `keyfob board info`; "" when it goes on

    @property
    def loops(self) -> bool:
        """Whether the chip resets and tries again, printing the same each time."""
        return bool(self.reason)


class _BadImage(Exception):
    pass


def download_banner(cause: str) -> str:
    """What the ROM prints when IO0 was low at reset."""
    return (
        "ets Jul 29 2019 12:21:46\r\n\r\n"
        f"{cause},boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n"
        "waiting for download\r\n"
    )


def boot(flash: Flash, image_offset: int, table_offset: int, chip_id: int, cause: str) -> Boot:
    """Start from ``flash`` as an ESP32 with chip number ``chip_id`` does."""
    text = f"ets Jul 29 2019 12:21:46\r\n\r\n{cause},boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    header = flash.read(image_offset, 4)
    if header[0] != _MAGIC:
        word = struct.unpack("<I", header)[0]
        line = f"invalid header: 0x{word:08x}\r\n"
        return Boot(text + line * 8, reason=f"the ROM found no image at {image_offset:#x}: {line.strip()}")
    text += "configsip: 0, SPIWP:0xee\r\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
    try:
        for line in _check_image(flash, image_offset, None):
            text += line
        text += f"entry 0x{struct.unpack('<I', flash.read(image_offset + 4, 4))[0]:08x}\r\n"
        _check_chip(flash, image_offset, chip_id)
        partitions = read_partitions(flash, table_offset)
        _check_application(flash, partitions, chip_id)
    except BadTable as problem:
        line = f"E (29) {problem}\r\nE (33) boot: Failed to verify partition table\r\nE (38) boot: load partition table error!\r\n"
        return Boot(text + line, reason=f"no valid partition table at {table_offset:#x}: {problem}")
    except _BadImage as problem:
        return Boot(text + f"{problem}\r\n", reason=str(problem))
    return Boot(text, tuple(partitions))


def _check_application(flash: Flash, partitions: list[Partition], chip_id: int) -> None:
    applications = [part for part in partitions if part.type == _TYPE_APP]
    problem = "no application partition"
    for part in applications:
        if flash.read(part.offset, 1) != bytes([_MAGIC]):
            seen = flash.read(part.offset, 1)[0]
            problem = f"image at {part.offset:#x} has invalid magic byte (nothing flashed here?) {seen:#x}"
            continue
        _check_image(flash, part.offset, part.size)
        _check_chip(flash, part.offset, chip_id)
        return
    raise _BadImage(f"E (59) esp_image: {problem}\r\nE (66) boot: No bootable app partitions in the partition table")


def _check_chip(flash: Flash, offset: int, chip_id: int) -> None:
    """The extended header's chip number, as esp-idf's bootloader_common_check_chip_validity."""
    seen = struct.unpack("<H", flash.read(offset + 12, 2))[0]
    if seen != chip_id:
        raise _BadImage(
            f"E (46) boot_comm: mismatch chip ID, expected {chip_id}, found {seen}\r\n"
            "E (52) boot: bootloader image or application is for another chip"
        )


def _check_image(flash: Flash, offset: int, limit: int | None) -> list[str]:
    """Walk the image's segments, check its checksum byte and SHA-256; the ROM's load lines."""
    _magic, count, _mode, _size_freq, _entry = struct.unpack("<BBBBI", flash.read(offset, 8))
    if not 0 < count <= _MAX_SEGMENTS:
        raise _BadImage(f"E (40) esp_image: image at {offset:#x} segment count {count} exceeds max {_MAX_SEGMENTS}")
    end = flash.size if limit is None else min(flash.size, offset + limit)
    position, checksum, lines = offset + 24, _CHECKSUM_SEED, []
    for _ in range(count):
        address, length = struct.unpack("<II", flash.read(position, 8).ljust(8, b"\xff"))
        if length > _MAX_IMAGE_BYTES or position + 8 + length > end:
            raise _BadImage(f"E (40) esp_image: invalid segment length {length:#x}")
        folded = int.from_bytes(flash.read(position + 8, length), "little")
        checksum ^= _fold(folded, length)
        lines.append(f"load:0x{address:08x},len:{length}\r\n")
        position += 8 + length
    position = (position | 15) + 1  # padded so that the checksum is the last of 16 bytes
    if flash.read(position - 1, 1) != bytes([checksum]):
        seen = flash.read(position - 1, 1)[0]
        raise _BadImage(f"E (40) esp_image: Checksum failed. Calculated {checksum:#x} read {seen:#x}")
    has_digest = flash.read(offset + 23, 1) == b"\x01"
    if has_digest and hashlib.sha256(flash.read(offset, position - offset)).digest() != flash.read(position, 32):
        raise _BadImage("E (41) esp_image: Image hash failed - image is corrupt")
    return lines


def _fold(value: int, length: int) -> int:
    """The exclusive or of ``length`` bytes, by halving: a loop over 1.5 MB would take a second."""
    width = length
    while width > 1:
        half = (width + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        width = half
    return value & 0xFF
