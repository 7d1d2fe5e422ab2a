"""What an ESP32 prints and decides between power-on and its application.

The ROM looks for the second-stage bootloader at the chip's offset, the bootloader
for the partition table and an application partition. Checked: the image headers'
magic number, segment count and chip, the checksum byte and SHA-256 of both images,
the partition table with its MD5. Not checked: signatures and encryption. The
machine code itself is not run; an image that passes is taken for MicroPython.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from keyfob_host.boards import BoardKind
from keyfob_host.virtual.flash import BadTable, Flash, Partition, read_partitions

_MAGIC = 0xE9
_CHECKSUM_SEED = 0xEF
_MAX_SEGMENTS = 16
_TYPE_APP = 0
_ROM_VERSION = "ets Jul 29 2019 12:21:46\r\n\r\n"
_SPI = (
    "configsip: 0, SPIWP:0xee\r\n"
    "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
)


class Cause(NamedTuple):
    """Why the chip starts: the ROM's words, and ``machine.reset_cause()`` of the port."""

    text: str
    number: int


POWERON = Cause("rst:0x1 (POWERON_RESET)", 1)
SOFTWARE = Cause("rst:0xc (SW_CPU_RESET)", 2)
TASK_WATCHDOG = Cause("rst:0xc (SW_CPU_RESET)", 3)  # esp-idf's panic handler, then a restart
DEEPSLEEP = Cause("rst:0x5 (DEEPSLEEP_RESET)", 4)
_RTC_WATCHDOG = Cause("rst:0x10 (RTCWDT_RTC_RESET)", 3)  # the ROM found nothing to start
_BOOTLOADER = Cause("rst:0x3 (SW_RESET)", 2)  # the bootloader found nothing to start


class Boot(NamedTuple):
    """How a start went: what the chip printed, and the partitions if it may go on."""

    text: str
    partitions: tuple[Partition, ...] = ()
    reason: str = ""  # why it stopped, for `keyfob board info`; "" when it goes on
    retry: Cause = _RTC_WATCHDOG  # the reset with which a chip that stopped tries again


class _BadImage(Exception):
    """Arguments: what is wrong in plain words, what the chip prints of it."""


def download_banner(cause: Cause) -> str:
    """What the ROM prints when IO0 was low at reset."""
    mode = "boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))"
    return f"{_ROM_VERSION}{cause.text},{mode}\r\nwaiting for download\r\n"


def boot(flash: Flash, kind: BoardKind, cause: Cause) -> Boot:
    """Start from ``flash`` as the ESP32 of a board of ``kind`` does."""
    image_offset, table_offset = kind.flash.offset, kind.flash.partition_table or 0
    chip_id = kind.image_chip_id or 0
    text = f"{_ROM_VERSION}{cause.text},boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    header = flash.read(image_offset, 4)
    if header[0] != _MAGIC:
        line = f"invalid header: 0x{struct.unpack('<I', header)[0]:08x}"
        reason = f"the ROM found no image at {image_offset:#x}: {line}"
        return Boot(text + f"{line}\r\n" * 8, reason=reason)
    text += _SPI
    try:
        image = _Image(flash, image_offset, flash.size)
        text += image.load_lines(chip_id)
        image.check_checksum("csum err:0x{seen:02x}!=0x{wanted:02x}\r\nets_main.c 371 \r\n")
        text += f"entry 0x{image.entry:08x}\r\n"
    except _BadImage as problem:
        reason = f"the ROM cannot load the bootloader at {image_offset:#x}: {problem.args[0]}"
        return Boot(text + problem.args[1], reason=reason)
    try:
        partitions = read_partitions(flash, table_offset)
        _check_application(flash, partitions, chip_id)
    except BadTable as problem:
        words = (
            f"E (29) {problem}\r\nE (33) boot: Failed to verify partition table\r\n"
            "E (38) boot: load partition table error!\r\n"
        )
        reason = f"no valid partition table at {table_offset:#x}: {problem}"
        return Boot(text + words, reason=reason, retry=_BOOTLOADER)
    except _BadImage as problem:
        words = (
            problem.args[1] + "E (66) boot: No bootable app partitions in the partition table\r\n"
        )
        return Boot(text + words, reason=problem.args[0], retry=_BOOTLOADER)
    return Boot(text, tuple(partitions))


def _check_application(flash: Flash, partitions: list[Partition], chip_id: int) -> None:
    """The first application partition that holds an image must hold a whole one."""
    problem = _BadImage("the partition table has no application partition", "")
    for part in partitions:
        if part.type != _TYPE_APP:
            continue
        seen = flash.read(part.offset, 1)[0]
        if seen != _MAGIC:
            words = (
                f"E (59) esp_image: image at {part.offset:#x} has invalid magic byte "
                "(nothing flashed here?)\r\n"
            )
            problem = _BadImage(f"no image in {part.label!r} at {part.offset:#x}", words)
            continue
        image = _Image(flash, part.offset, part.offset + part.size)
        if image.chip_id != chip_id:
            words = (
                f"E (46) boot_comm: mismatch chip ID, expected {chip_id}, found {image.chip_id}\r\n"
            )
            what = (
                f"the application in {part.label!r} is for chip {image.chip_id}, this is {chip_id}"
            )
            raise _BadImage(what, words)
        words = "E (40) esp_image: Checksum failed. Calculated 0x{wanted:x} read 0x{seen:x}\r\n"
        image.check_checksum(words)
        image.check_digest()
        return
    raise problem


class _Image:
    """An image in flash: header, segments, checksum byte, SHA-256 (esp_image_header_t)."""

    def __init__(self, flash: Flash, offset: int, end: int) -> None:
        self._flash = flash
        self._offset = offset
        _magic, count, _mode, _size, self.entry = struct.unpack("<BBBBI", flash.read(offset, 8))
        (self.chip_id,) = struct.unpack("<H", flash.read(offset + 12, 2))
        self._has_digest = flash.read(offset + 23, 1) == b"\x01"
        if not 0 < count <= _MAX_SEGMENTS:
            words = (
                f"E (40) esp_image: image at {offset:#x} segment count {count} "
                f"exceeds max {_MAX_SEGMENTS}\r\n"
            )
            raise _BadImage(f"the header counts {count} segments", words)
        self.segments: list[tuple[int, int, int]] = []  # load address, offset in flash, length
        position = offset + 24
        for _ in range(count):
            address, length = struct.unpack("<II", flash.read(position, 8).ljust(8, b"\xff"))
            if position + 8 + length > end:
                words = f"E (40) esp_image: invalid segment length {length:#x}\r\n"
                raise _BadImage("a segment is longer than its place", words)
            self.segments.append((address, position + 8, length))
            position += 8 + length
        self._checksum_at = position | 15  # the image is padded; the last of 16 bytes

    def load_lines(self, chip_id: int) -> str:
        """What the ROM prints while it loads; it hangs when the addresses are another chip's."""
        text = "".join(
            f"load:0x{address:08x},len:{length}\r\n" for address, _, length in self.segments
        )
        if self.chip_id != chip_id:
            what = f"it is for chip {self.chip_id}, this is chip {chip_id}"
            raise _BadImage(what, text.partition("\n")[0] + "\n")
        return text

    def check_checksum(self, words: str) -> None:
        """The exclusive or of all segments' bytes; ``words`` is what the chip prints if wrong."""
        wanted = _CHECKSUM_SEED
        for _, start, length in self.segments:
            wanted ^= _fold(self._flash.read(start, length))
        seen = (self._flash.read(self._checksum_at, 1) or b"\xff")[0]
        if seen != wanted:
            what = f"its checksum is {seen:#04x}, should be {wanted:#04x}: the image is damaged"
            raise _BadImage(what, words.format(seen=seen, wanted=wanted))

    def check_digest(self) -> None:
        """The SHA-256 behind the image, where it has one."""
        end = self._checksum_at + 1
        digest = hashlib.sha256(self._flash.read(self._offset, end - self._offset)).digest()
        if self._has_digest and digest != self._flash.read(end, 32):
            words = "E (41) esp_image: Image hash failed - image is corrupt\r\n"
            raise _BadImage(f"the SHA-256 of the image at {self._offset:#x} is wrong", words)


def _fold(data: bytes) -> int:
    """The exclusive or of all bytes, by halving: a loop over 1.5 MB would take a second."""
    value, width = int.from_bytes(data, "little"), len(data)
    while width > 1:
        half = (width + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        width = half
    return value & 0xFF
