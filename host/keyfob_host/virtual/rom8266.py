"""What an ESP8266 prints and decides between power-on and its application.

The ROM loads the image at the start of the flash: segments for its RAMs, a checksum.
What runs in place behind them (from 0x9000) it does not look at; a chip whose code is
damaged there crashes, so MicroPython's MD5 over all of it is checked too. The ROM's
lines come at 74880 baud on a real chip, and look like noise at 115200; here they can
be read. The machine code itself is not run; an image that passes is taken for
MicroPython.
"""

from __future__ import annotations

import struct

from keyfob_host.boards import BoardKind
from keyfob_host.flash.esp_image import (
    ImageFault,
    check_esp8266_trailer,
    esp8266_flash_size,
    read_header,
)
from keyfob_host.virtual.flash import Flash
from keyfob_host.virtual.rom import Boot, Cause

# The ROM tells three causes apart, machine.reset_cause() more.
POWERON = Cause("1", 0)
ENABLE_PIN = Cause("2", 6)
SOFTWARE = Cause("2", 4)
WATCHDOG = Cause("2", 1)
DEEPSLEEP = Cause("2", 5)
_HARDWARE_WATCHDOG = Cause("4", 1)  # the ROM found nothing to start

USER_START = 0x100000  # where the file system begins: esp.flash_user_start()
_ROMFS = (0xB0000, 0x50000)  # offset and size in images of the variant FLASH_2M_ROMFS
_LENGTH_AT = 0x8FFC
_MD5_BYTES = 16
_SEGMENT = struct.Struct("<II")
_HEADER_BYTES = 8


def download_banner(cause: Cause) -> str:
    """What the ROM prints when GPIO0 was low at reset."""
    return f"\r\n ets Jan  8 2013,rst cause:{cause.text}, boot mode:(1,6)\r\n\r\n"


def boot(flash: Flash, kind: BoardKind, cause: Cause) -> Boot:
    """Start from ``flash`` as an ESP8266 does."""
    text = f"\r\n ets Jan  8 2013,rst cause:{cause.text}, boot mode:(3,6)\r\n\r\n"
    data = flash.read(0, USER_START)
    stopped = "ets_main.c \r\n"
    if data[0] != 0xE9:
        reason = f"the ROM found no image at 0: the first byte is {data[0]:#04x}, not 0xe9"
        return Boot(text + stopped, reason=reason, retry=_HARDWARE_WATCHDOG)
    try:
        if read_header(data).chip != "esp8266":
            raise ImageFault("it is for another chip")
        text += _load_lines(data)
    except ImageFault as fault:
        reason = f"the ROM cannot load the image at 0: {fault}"
        return Boot(text + "csum err\r\n" + stopped, reason=reason, retry=_HARDWARE_WATCHDOG)
    (length,) = struct.unpack_from("<I", data, _LENGTH_AT)
    try:
        # Of another firmware than MicroPython nothing more is known.
        if b"MicroPython" in data:
            check_esp8266_trailer(data[: min(length, USER_START) + _MD5_BYTES])
    except ImageFault as fault:
        words = "Fatal exception 0(IllegalInstructionCause):\r\n"
        reason = f"the program behind the image's header is damaged: {fault}"
        return Boot(text + words, reason=reason, retry=_HARDWARE_WATCHDOG)
    return Boot(text)


def flash_bytes(flash: Flash) -> int:
    """The size of the flash chip as the image's header tells the SDK, which believes it."""
    return esp8266_flash_size(flash.read(0, 4)) or flash.size


def romfs(flash: Flash) -> tuple[int, int] | None:
    """Offset and size of the ROMFS part, if the image is one that has it.

    Only an image that can speak of it knows the name of the function.
    """
    return _ROMFS if b"rom_ioctl" in flash.read(0, _ROMFS[0]) else None


def _load_lines(data: bytes) -> str:
    """The ROM's account of the segments; it reads them in pieces of 16 bytes."""
    text, position = "", _HEADER_BYTES
    for _ in range(data[1]):
        address, length = _SEGMENT.unpack_from(data, position)
        position += _SEGMENT.size
        room = 16 - position % 16
        tail = (length - room) % 16
        text += f"load 0x{address:08x}, len {length}, room {room} \r\ntail {tail}\r\n"
        checksum = 0xEF
        for byte in data[position : position + length]:
            checksum ^= byte
        text += f"chksum 0x{checksum:02x}\r\n"
        position += length
    return text + f"csum 0x{data[position | 15]:02x}\r\n"
