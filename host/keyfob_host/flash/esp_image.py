"""Firmware images for ESP8266 and ESP32 chips, read and checked before a flash is touched.

One image is a header (0xE9), segments, a checksum byte and, on the ESP32 family, a
SHA-256 of all before it. A file to flash holds several: on the ESP32 family the
second-stage bootloader, a partition table and the application; on the ESP8266 one
boot image followed by code that runs in place, with MicroPython's MD5 at the end.

Not checked: secure boot signatures, flash encryption, and whether the program is any
good. Layouts: the esptool documentation's "Firmware Image Format" and ESP-IDF's
"Partition Tables".
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

CHIP_BY_ID = {
    0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6",
    16: "esp32h2", 18: "esp32p4", 20: "esp32c61", 23: "esp32c5",
}  # fmt: skip

_MAGIC = 0xE9
_HEADER = struct.Struct("<BBBBI")  # magic, segments, SPI mode, size and frequency, entry
_EXTENDED_LENGTH = 16
_SEGMENT = struct.Struct("<II")  # load address, length
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
_SHA256_LENGTH = 32
_APP_DESCRIPTION_MAGIC = 0xABCD5432  # first word of an ESP-IDF application's first segment
_FLASH_MB = {0: 1, 1: 2, 2: 4, 3: 8, 4: 16, 5: 32, 6: 64, 7: 128}  # ESP32 family
_ESP8266_FLASH = {0: 512 << 10, 1: 256 << 10, 2: 1 << 20, 3: 2 << 20, 4: 4 << 20,
                  8: 8 << 20, 9: 16 << 20}  # fmt: skip

# The second-stage bootloader runs from internal RAM; an ESP8266's entry point lies in
# its own instruction RAM, where no ESP32 has any.
_ESP8266_IRAM = range(0x40100000, 0x40110000)

_PARTITION = struct.Struct("<HBBII16sI")
_PARTITION_MAGIC = 0x50AA
_PARTITION_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_PARTITION_TABLE_LENGTH = 0xC00

# MicroPython's ESP8266 images: the length of all but the MD5 stands before the code
# that runs in place (ports/esp8266/makeimg.py).
_ESP8266_SEGMENTS_MAX = 0x9000
_MD5_LENGTH = 16


class ImageFault(Exception):
    """Why bytes are not a whole image; the message is evidence for a person."""


@dataclass(frozen=True)
class Header:
    """One image: where it lies in its file and what it says of itself. Sizes in bytes."""

    start: int
    end: int  # behind checksum and SHA-256
    entry: int
    chip: str  # as esptool spells it; "id N" if unknown
    flash_size: int
    has_sha256: bool
    is_application: bool


@dataclass(frozen=True)
class Partition:
    """One row of the partition table. Offset in flash and size, in bytes."""

    label: str
    kind: int  # 0: application, 1: data
    subtype: int
    offset: int
    size: int


def read_header(data: bytes, start: int = 0) -> Header:
    """The image at ``start``, its segments, checksum and SHA-256 checked.

    Raises `ImageFault`. An image whose checksum proves it to be an ESP8266's is read
    as one: that family's header names no chip.
    """
    if len(data) - start < _HEADER.size + _EXTENDED_LENGTH:
        raise ImageFault(f"only {max(0, len(data) - start)} bytes where an image should start")
    magic, count, _, size_and_frequency, entry = _HEADER.unpack_from(data, start)
    if magic != _MAGIC:
        raise ImageFault(f"byte {start:#x} is {magic:#04x}, an image starts with {_MAGIC:#04x}")
    if not 1 <= count <= _MAX_SEGMENTS:
        raise ImageFault(f"{count} segments in the header, 1 to {_MAX_SEGMENTS} are possible")
    if entry in _ESP8266_IRAM:
        end = _check_segments(data, start, start + _HEADER.size, count)
        size = _ESP8266_FLASH.get(size_and_frequency >> 4, 0)
        return Header(start, end, entry, "esp8266", size, False, False)
    extended = start + _HEADER.size
    (chip_id,) = struct.unpack_from("<H", data, extended + 4)
    has_sha256 = data[extended + _EXTENDED_LENGTH - 1] == 1
    first = extended + _EXTENDED_LENGTH
    end = _check_segments(data, start, first, count)
    if has_sha256:
        end = _check_sha256(data, start, end)
    (word,) = struct.unpack_from("<I", data, first + _SEGMENT.size)
    return Header(
        start,
        end,
        entry,
        CHIP_BY_ID.get(chip_id, f"id {chip_id}"),
        _FLASH_MB.get(size_and_frequency >> 4, 0) << 20,
        has_sha256,
        word == _APP_DESCRIPTION_MAGIC,
    )


def header_chip(data: bytes, start: int = 0) -> str | None:
    """The chip that the header alone names, whatever follows it; None if there is no header."""
    if len(data) - start < _HEADER.size + _EXTENDED_LENGTH or data[start] != _MAGIC:
        return None
    entry, chip_id = struct.unpack_from("<I4xH", data, start + 4)
    return "esp8266" if entry in _ESP8266_IRAM else CHIP_BY_ID.get(chip_id, f"id {chip_id}")


def esp8266_flash_size(data: bytes) -> int:
    """The flash size in bytes that an ESP8266's image header states; 0 if it states none."""
    return _ESP8266_FLASH.get(data[3] >> 4, 0)


def _check_segments(data: bytes, start: int, position: int, count: int) -> int:
    """Walk the segments, check their checksum; the offset behind the checksum byte."""
    checksum = _CHECKSUM_SEED
    for index in range(count):
        if position + _SEGMENT.size > len(data):
            raise _truncated(data, position + _SEGMENT.size, f"header of segment {index}")
        _, length = _SEGMENT.unpack_from(data, position)
        position += _SEGMENT.size
        if position + length > len(data):
            raise _truncated(data, position + length, f"segment {index} ({length} bytes)")
        checksum ^= _xor(data[position : position + length])
        position += length
    position += 15 - (position - start) % 16  # the checksum is the last byte of 16
    if position >= len(data):
        raise _truncated(data, position + 1, "the checksum")
    if data[position] != checksum:
        raise ImageFault(
            f"checksum at {position:#x} is {data[position]:#04x}, computed {checksum:#04x}"
        )
    return position + 1


def _xor(data: bytes) -> int:
    """All bytes combined by exclusive or, halving: a byte at a time takes seconds."""
    value = int.from_bytes(data, "little")
    bits = 8
    while bits < len(data) * 8:
        bits *= 2
    while bits > 8:
        bits //= 2
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value


def _check_sha256(data: bytes, start: int, end: int) -> int:
    stored = data[end : end + _SHA256_LENGTH]
    if len(stored) < _SHA256_LENGTH:
        raise _truncated(data, end + _SHA256_LENGTH, "the SHA-256")
    computed = hashlib.sha256(data[start:end]).hexdigest()
    if stored.hex() != computed:
        raise ImageFault(f"SHA-256 at {end:#x} is {stored.hex()}, computed {computed}")
    return end + _SHA256_LENGTH


def _truncated(data: bytes, needed: int, part: str) -> ImageFault:
    return ImageFault(f"the file ends within {part}: {len(data)} bytes, at least {needed} needed")


def read_partitions(data: bytes, start: int) -> list[Partition]:
    """The partition table at ``start``; empty if none. Raises `ImageFault` on a bad MD5."""
    partitions: list[Partition] = []
    for position in range(start, min(start + _PARTITION_TABLE_LENGTH, len(data)), _PARTITION.size):
        row = data[position : position + _PARTITION.size]
        if row[:16] == _PARTITION_MD5_MAGIC:
            computed = hashlib.md5(data[start:position], usedforsecurity=False).digest()
            if row[16:] != computed:
                raise ImageFault(
                    f"partition table: MD5 {row[16:].hex()}, computed {computed.hex()}"
                )
            break
        if len(row) < _PARTITION.size or row[:2] != _PARTITION_MAGIC.to_bytes(2, "little"):
            break
        _, kind, subtype, offset, size, label, _ = _PARTITION.unpack(row)
        name = label.rstrip(b"\0").decode("ascii", "replace")
        partitions.append(Partition(name, kind, subtype, offset, size))
    return partitions


def check_esp8266_trailer(data: bytes) -> bool:
    """True if MicroPython's MD5 ends the file; False if it has none (another firmware).

    Raises `ImageFault` when the length that MicroPython's images state is not the
    file's, or the MD5 is wrong.
    """
    stored, computed = data[-_MD5_LENGTH:], _md5_of_esp8266(data)
    if stored == computed:
        return True
    if b"MicroPython" not in data:
        return False
    (length,) = struct.unpack_from("<I", data.ljust(_ESP8266_SEGMENTS_MAX), 0x9000 - 4)
    if _ESP8266_SEGMENTS_MAX < length < 16 << 20 and length + _MD5_LENGTH > len(data):
        raise _truncated(data, length + _MD5_LENGTH, "the code that runs in place")
    raise ImageFault(f"MD5 at the end is {stored.hex()}, computed {computed.hex()}")


def _md5_of_esp8266(data: bytes) -> bytes:
    """MD5 as makeimg.py has it: without the four bytes that esptool may rewrite."""
    return hashlib.md5(data[4:-_MD5_LENGTH], usedforsecurity=False).digest()
