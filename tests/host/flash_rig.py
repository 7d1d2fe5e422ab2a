"""What the flash tests share: a boot ROM to talk to, the real image, and variants of it.

The ROM is the one virtual boards use (``esp32-mock-bootloader``), alone behind a TCP
port, so that other chips than a virtual board's can answer and its flash can be faulty.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import time
from pathlib import Path

from esp32_mock_bootloader.server import BootloaderConnection, FlashImage, handle_client

from keyfob_host.boards import BoardRef, load_kind
from keyfob_host.flash.images import demo_image

# Where the parts of the real image start, in the file (it is written at 0x1000).
TABLE, APPLICATION = 0x7000, 0xF000


def real_image() -> bytes:
    return demo_image().read_bytes()


class Rom:
    """A chip in download mode behind ``socket://``; ``data`` is its flash, filled with 0x5a.

    ``spoil`` inverts each byte in this range of the flash when it is written;
    ``write_delay_s`` slows each block down; ``mute`` takes all and answers nothing.
    """

    def __init__(self, chip: str = "esp32") -> None:
        self.spoil = range(0)
        self.write_delay_s = 0.0
        self.mute = False
        self.flash = _FaultyFlash(self)
        self._chip = chip
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ref(self, kind: str = "esp32") -> BoardRef:
        return BoardRef(load_kind(kind), self.port, kind)

    def is_untouched(self) -> bool:
        return set(self.flash.data) == {0x5A}

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                if self.mute:
                    while client.recv(4096):
                        pass
                else:
                    handle_client(
                        BootloaderConnection(client), self._stop, self._chip,
                        exit_on_disconnect=True, flash=self.flash,
                    )  # fmt: skip


class _FaultyFlash(FlashImage):
    def __init__(self, rom: Rom) -> None:
        super().__init__()
        self.data[:] = b"\x5a" * len(self.data)
        self._rom = rom

    def write_defl_block(self, payload: bytes) -> None:
        time.sleep(self._rom.write_delay_s)
        start = self._defl_offset
        super().write_defl_block(payload)
        for at in self._rom.spoil:
            if start <= at < self._defl_offset:
                self.data[at] ^= 0xFF


def for_chip(image: bytes, chip_id: int) -> bytes:
    """``image`` with another chip in both its headers, checksums and SHA-256 in order."""
    changed = bytearray(image)
    for start in (0, APPLICATION):
        struct.pack_into("<H", changed, start + 12, chip_id)
        resign(changed, start)
    return bytes(changed)


def esp32c3_image() -> bytes:
    """The real image laid out for flash offset 0, with an ESP32-C3's number in its headers."""
    image = for_chip(real_image(), 5)
    return image[:TABLE] + b"\xff" * 0x1000 + image[TABLE:]


def with_larger_vfs(image: bytes, size: int) -> bytes:
    """``image`` whose last partition, ``vfs`` at 0x200000, has ``size`` bytes; MD5 in order."""
    changed = bytearray(image)
    row = TABLE + 3 * 32
    struct.pack_into("<I", changed, row + 8, size)
    digest = hashlib.md5(changed[TABLE : row + 32], usedforsecurity=False).digest()
    changed[row + 32 + 16 : row + 64] = digest
    return bytes(changed)


def resign(image: bytearray, start: int) -> None:
    """Put the SHA-256 of the image at ``start`` right again."""
    position = start + 24
    for _ in range(image[start + 1]):
        position += 8 + struct.unpack_from("<I", image, position + 4)[0]
    end = start + ((position - start) | 15) + 1
    image[end : end + 32] = hashlib.sha256(image[start:end]).digest()


def esp8266_image(code: bytes) -> bytes:
    """An image laid out as MicroPython's ESP8266 port does (ports/esp8266/makeimg.py)."""
    segment = b"MicroPython boot code"
    segment += bytes(-len(segment) % 4)
    boot = struct.pack("<BBBBI", 0xE9, 1, 0, 0x40, 0x40100004)
    boot += struct.pack("<II", 0x40100000, len(segment)) + segment
    checksum = 0xEF
    for byte in segment:
        checksum ^= byte
    boot += bytes(15 - len(boot) % 16) + bytes([checksum])
    image = boot + b"\xff" * (0x9000 - len(boot) - 4) + struct.pack("<I", 0x9000 + len(code)) + code
    return image + hashlib.md5(image[4:], usedforsecurity=False).digest()


def write(folder: Path, content: bytes, name: str = "firmware.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
