"""A stand-in for MicroPython's ESP8266 image, for virtual boards.

No package index carries an official image of that port, and a virtual board needs none
of its machine code: what plays the program is on this machine. So this image has the
layout of ESP8266_GENERIC's variant FLASH_2M_ROMFS (boot image, code that runs in place
from 0x9000, its length before it, MD5 at the end; ports/esp8266/makeimg.py), and for a
program one instruction that jumps to itself. On a real chip it does nothing.
"""

from __future__ import annotations

import hashlib
import struct

NAME = "keyfob-esp8266-stand-in.bin"

_IN_PLACE = 0x9000
_ENTRY = 0x40100000  # instruction RAM
_DATA = 0x3FFE8000
_JUMP_TO_ITSELF = bytes.fromhex("06ffff")  # Xtensa: j .
_FLASH_4_MB_40_MHZ = 0x40
# The variant with a ROMFS part is told by the name of the function that serves it.
_TEXT = (
    b"Stand-in for MicroPython on ESP8266, made by Keyfob for virtual boards. "
    b"It holds no program: on a chip it waits for ever. vfs.rom_ioctl\n"
)


def esp8266_stand_in() -> bytes:
    """The image, to be written at 0."""
    segments = ((_ENTRY, _JUMP_TO_ITSELF.ljust(16, b"\0")), (_DATA, bytes(16)))
    data = struct.pack("<BBBBI", 0xE9, len(segments), 0, _FLASH_4_MB_40_MHZ, _ENTRY)
    checksum = 0xEF
    for address, content in segments:
        data += struct.pack("<II", address, len(content)) + content
        for byte in content:
            checksum ^= byte
    data += bytes(15 - len(data) % 16) + bytes([checksum])
    in_place = _TEXT.ljust(-(-len(_TEXT) // 4096) * 4096, b"\xff")
    data = data.ljust(_IN_PLACE - 4, b"\xff")
    data += struct.pack("<I", _IN_PLACE + len(in_place)) + in_place
    # Without the first four bytes, of which esptool may rewrite two.
    return data + hashlib.md5(data[4:], usedforsecurity=False).digest()
