"""The file a person wants to flash: is it whole, of the right kind, for this board?

Everything here is judged from the file and the board file alone, before a port is
opened. Not checked: what the chip on the cable is (see `keyfob_host.flash.flashing`), and
whether the program in a sound image works.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.boards import BoardKind, kind_names, load_kind
from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded
from keyfob_host.flash.esp_image import (
    Header,
    ImageFault,
    Partition,
    check_esp8266_trailer,
    header_chip,
    read_header,
    read_partitions,
)

MAX_FIRMWARE_BYTES = 16 << 20
_APPLICATION, _FACTORY, _OTA_0 = 0, 0x00, 0x10
_PADDING = 0x1000  # what a merged ESP32 image has before its bootloader

_TAKE_BIN = "take the .bin of the download page"
# What people give by mistake: first bytes, what it is, what to do.
_MIXED_UP = (
    (b"\x7fELF", "an ELF file, the linker's output", "take the .bin beside it, or: "
     "esptool --chip CHIP elf2image FILE"),
    (b"UF2\n", "a UF2 file, for boards that show up as a disk", _TAKE_BIN),
    (b"\x1f\x8b", "gzip-compressed", "gunzip -k FILE, then flash the .bin that comes out"),
    (b"PK\x03\x04", "a ZIP archive", "unzip FILE, then flash the .bin in it"),
    (b"BZh", "bzip2-compressed", "bunzip2 -k FILE, then flash the .bin that comes out"),
    (b"\xfd7zXZ", "xz-compressed", "unxz -k FILE, then flash the .bin that comes out"),
    (b":", "an Intel HEX file", _TAKE_BIN),
    (b"<", "a web page, not a firmware", "open the link in a browser and save the file itself"),
    (b"\xea", "the second half of an ESP8266 over-the-air image", "take the full .bin"),
)  # fmt: skip


@dataclass(frozen=True)
class Firmware:
    """A file that passed `check_firmware`. Sizes in bytes."""

    path: Path
    size: int
    sha256: str
    chip: str
    flash_size: int  # that the image was built for
    flash_needed: int  # end of its last partition, or of the image
    partitions: tuple[Partition, ...]


def check_firmware(path: Path, kind: BoardKind, *, expected_sha256: str | None = None) -> Firmware:
    """Judge ``path`` for boards of ``kind``; nothing but the file is touched.

    Errors: ``file.*``, ``flash.not-an-image``, ``flash.wrong-chip``,
    ``flash.image-damaged``, ``flash.application-only``, ``flash.wrong-offset``,
    ``flash.too-small``, ``flash.sha256-mismatch``.
    """
    data = read_bounded(path, "read the firmware", limit=MAX_FIRMWARE_BYTES)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_sha256(path, sha256, kind, expected_sha256)
    _check_what_it_is(path, data, kind)
    _check_chip(path, header_chip(data) or "", kind)
    try:
        header = read_header(data)
        if kind.chip == "esp8266":
            check_esp8266_trailer(data)
            partitions: list[Partition] = []
        else:
            partitions = _check_parts(path, data, header, kind)
    except ImageFault as fault:
        raise KeyfobHostError(
            "flash.image-damaged",
            f"{path.name} is damaged or was not downloaded whole",
            evidence=f"{path}: {fault}",
            fix=f"download it again; ls -l {path} should show the size of the download page",
        ) from fault
    needed = max([kind.flash.offset + len(data), *(p.offset + p.size for p in partitions)])
    if needed > kind.flash.size:
        raise too_small(path, needed, kind.flash.size, f"boards/{kind.name}.toml: flash.size")
    return Firmware(
        path, len(data), sha256, header.chip, header.flash_size, needed, tuple(partitions)
    )


def too_small(path: Path, needed: int, present: int, where: str) -> KeyfobHostError:
    """The error for a flash that cannot hold the firmware's partitions."""
    return KeyfobHostError(
        "flash.too-small",
        f"{path.name} needs {needed / 1024:.0f} KB of flash, the board has {present / 1024:.0f} KB",
        evidence=f"{where} is {present:#x}, the image and its partitions end at {needed:#x}",
        fix="take the firmware variant for this flash size from micropython.org/download",
    )


def _check_sha256(path: Path, seen: str, kind: BoardKind, expected: str | None) -> None:
    if expected is not None and seen != expected.lower():
        raise KeyfobHostError(
            "flash.sha256-mismatch", f"{path.name} is not the file whose SHA-256 was given",
            evidence=f"{path}: SHA-256 {seen}, expected {expected.lower()}",
            fix="download the file again from where the SHA-256 is published",
        )  # fmt: skip
    if kind.flash.image_sha256 and seen not in kind.flash.image_sha256:
        raise KeyfobHostError(
            "flash.sha256-mismatch",
            f"{path.name} is none of the images that {kind.name} boards may be flashed with",
            evidence=f"{path}: SHA-256 {seen}, allowed {', '.join(kind.flash.image_sha256)}",
            fix=f"add its SHA-256 to flash.image_sha256 in the board file of {kind.name}, "
            "or flash an allowed one",
        )


def _check_what_it_is(path: Path, data: bytes, kind: BoardKind) -> None:
    """Refuse what is no image at all, saying what it is instead."""
    if not data:
        raise KeyfobHostError(
            "flash.not-an-image", f"{path.name} is empty",
            evidence=f"{path}: 0 bytes", fix="download it again",
        )  # fmt: skip
    if data[0] == 0xE9:
        return
    if data[0] == 0xFF and header_chip(data, _PADDING) is not None:
        raise KeyfobHostError(
            "flash.wrong-offset",
            f"{path.name} is an image of the flash from offset 0, "
            f"not one to be written at {kind.flash.offset:#x}",
            evidence=f"{path}: {_PADDING} bytes of padding, then the bootloader",
            fix=f"tail -c +{_PADDING + 1} {path} > {path.stem}-{_PADDING:#x}.bin, flash that file",
        )
    unknown = (b"", "no firmware image", "give the .bin of micropython.org/download")
    _, what, fix = next((one for one in _MIXED_UP if data.startswith(one[0])), unknown)
    raise KeyfobHostError(
        "flash.not-an-image",
        f"{path.name} is {what}",
        evidence=f"{path}: starts with {data[:8].hex(' ')}, an image with e9",
        fix=fix.replace("FILE", str(path)).replace("CHIP", kind.chip),
    )


def _check_chip(path: Path, chip: str, kind: BoardKind) -> None:
    if chip == kind.chip:
        return
    fitting = [name for name in kind_names() if load_kind(name).chip == chip]
    fix = "take the image for " + kind.chip + " from micropython.org/download"
    if fitting:
        fix += f"; if the board is an {chip}: --board {fitting[0]}"
    raise KeyfobHostError(
        "flash.wrong-chip",
        f"{path.name} is an image for {chip}, not for {kind.chip}",
        evidence=f"{path}: image header says {chip}, board kind {kind.name} has {kind.chip}",
        fix=fix,
    )


def _check_parts(path: Path, data: bytes, first: Header, kind: BoardKind) -> list[Partition]:
    """Bootloader, partition table and application of an ESP32-family image."""
    table_offset = kind.flash.partition_table or 0
    if first.is_application:
        raise KeyfobHostError(
            "flash.application-only",
            f"{path.name} is an application alone, without bootloader and partition table",
            evidence=f"{path}: an application starts at byte 0 (an .app-bin, for updates over "
            "the air)",
            fix=f"take the full .bin for {kind.chip} from micropython.org/download",
        )
    partitions = read_partitions(data, table_offset - kind.flash.offset)
    if not partitions:
        other = [at for at in (0x1000, 0x0) if at != kind.flash.offset]
        elsewhere = [at for at in other if read_partitions(data, table_offset - at)]
        raise KeyfobHostError(
            "flash.application-only" if not elsewhere else "flash.wrong-offset",
            f"{path.name} has no partition table where {kind.chip} looks for one",
            evidence=f"{path}: {len(data)} bytes; for flash offset {kind.flash.offset:#x} the "
            f"table would be at byte {table_offset - kind.flash.offset:#x}"
            + (f"; there is one for offset {elsewhere[0]:#x}" if elsewhere else ""),
            fix=f"take the full .bin for {kind.chip} from micropython.org/download "
            "(bootloader, partition table and application in one file)",
        )
    _check_application(path, data, partitions, kind)
    return partitions


def _check_application(
    path: Path, data: bytes, partitions: list[Partition], kind: BoardKind
) -> None:
    """The application that boots first is there, whole, for this chip, and fits."""
    bootable = [p for p in partitions if p.kind == _APPLICATION]
    bootable = [p for p in bootable if p.subtype in (_FACTORY, _OTA_0)]
    if not bootable:
        raise ImageFault("the partition table has no application to boot")
    start = bootable[0].offset - kind.flash.offset
    if not 0 < start < len(data):
        raise ImageFault(f"the file ends at {len(data):#x}, before its application at {start:#x}")
    application = read_header(data, start)
    _check_chip(path, application.chip, kind)
    if application.end - start > bootable[0].size:
        raise ImageFault(
            f"the application has {application.end - start} bytes, "
            f"its partition {bootable[0].label} {bootable[0].size}"
        )
