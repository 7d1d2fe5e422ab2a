"""The serial download mode of ESP chips: the ROM's protocol and the flasher stub's.

Serves what esptool asks: registers, memory, flash programming plain and compressed,
erasing, MD5 and reading, in SLIP frames. The stub that esptool uploads is accepted
and then played, not run. Checked as on the chip: frame lengths, the data checksum,
flash bounds, the compressed stream. Not offered: eFuse burning, encryption, security.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esp32_mock_bootloader import registers
from esp32_mock_bootloader.server import SpiPeripheralMock
from esptool.loader import ESPLoader

from keyfob_host.virtual.flash import SECTOR_BYTES, PowerCut

if TYPE_CHECKING:
    from keyfob_host.virtual.machine import Machine

_END, _ESC, _ESC_END, _ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
_MAX_FRAME = 1 << 17
_BLOCK64 = 64
# Errors: the ROM's numbers, and the stub's for the same.
_INVALID_MESSAGE, _FAILED, _BAD_CHECKSUM, _FLASH_ERROR, _DEFLATE_ERROR = 5, 6, 7, 8, 11
_STUB_ERRORS = {
    _INVALID_MESSAGE: 0xC0, _FAILED: 0xC6, _BAD_CHECKSUM: 0xC1, _FLASH_ERROR: 0xC4,
    _DEFLATE_ERROR: 0xC5,
}  # fmt: skip
_STUB_UNKNOWN = 0xFF


class _Refused(Exception):
    """The command fails with this error number (the ROM's)."""


@dataclass(frozen=True)
class Loader:
    """What differs between the chips' ROMs."""

    registers: Callable[[str], dict[int, int]]  # where esptool looks who it is; from the MAC
    stub_only: frozenset[str]  # commands that the ROM has not
    status_bytes: int  # at the end of each of the ROM's answers; the stub's are two
    erases_too_much: bool = False


class Downloader:
    """Download mode from entry to reset; ``receive`` takes what esptool sends."""

    def __init__(self, machine: Machine, loader: Loader) -> None:
        self._machine = machine
        self._loader = loader
        self._flash = machine.flash
        self._stub = False
        self._frame: bytearray | None = None
        self._escaped = False
        self._registers = dict(registers.rom_profile(machine.kind.chip))
        self._registers.update(loader.registers(machine.mac))
        self._spi = SpiPeripheralMock(None)
        self._spi.configure_for_chip(machine.kind.chip)
        self._position = self._end = 0
        self._inflate: zlib._Decompress | None = None
        self._reading: _Reader | None = None
        self._commands: dict[int, Callable[[bytes], tuple[int, bytes] | None]] = {
            ESPLoader.ESP_CMDS[name]: getattr(self, f"_{name.lower()}")
            for name in (
                "SYNC", "READ_REG", "WRITE_REG", "MEM_BEGIN", "MEM_DATA", "MEM_END",
                "FLASH_BEGIN", "FLASH_DATA", "FLASH_END", "FLASH_DEFL_BEGIN", "FLASH_DEFL_DATA",
                "FLASH_DEFL_END", "SPI_SET_PARAMS", "SPI_ATTACH", "CHANGE_BAUDRATE",
                "SPI_FLASH_MD5", "READ_FLASH_SLOW", "ERASE_FLASH", "ERASE_REGION", "READ_FLASH",
                "RUN_USER_CODE",
            )
        }  # fmt: skip
        self._with_checksum = {
            ESPLoader.ESP_CMDS[name] for name in ("MEM_DATA", "FLASH_DATA", "FLASH_DEFL_DATA")
        }
        self._stub_only = {ESPLoader.ESP_CMDS[name] for name in loader.stub_only}

    def receive(self, data: bytes) -> None:
        """Bytes from the line; whole SLIP frames are served, what is between them ignored."""
        for byte in data:
            if self._machine.state != "download":
                return  # the power failed in the middle
            if byte == _END:
                if self._frame:
                    frame, self._frame = bytes(self._frame), bytearray()
                    self._serve(frame)
                else:
                    self._frame = bytearray()
                self._escaped = False
            elif self._frame is None or len(self._frame) > _MAX_FRAME:
                continue
            elif self._escaped:
                self._frame.append({_ESC_END: _END, _ESC_ESC: _ESC}.get(byte, byte))
                self._escaped = False
            elif byte == _ESC:
                self._escaped = True
            else:
                self._frame.append(byte)

    # -- one frame

    def _serve(self, frame: bytes) -> None:
        if self._reading is not None:
            self._acknowledged(frame)
            return
        if len(frame) < 8 or frame[0] != 0:
            return
        command, size, checksum = struct.unpack_from("<BHI", frame, 1)
        data = frame[8 : 8 + size]
        try:
            answer = self._do(command, data, checksum)
        except _Refused as refused:
            number = refused.args[0]
            self._answer(command, 0, b"", _STUB_ERRORS[number] if self._stub else number)
        except PowerCut:
            self._machine.power_cut()
        else:
            if answer is not None:
                self._answer(command, *answer)

    def _do(self, command: int, data: bytes, checksum: int) -> tuple[int, bytes] | None:
        function = self._commands.get(command)
        if function is None or (command in self._stub_only and not self._stub):
            if self._stub:
                self._answer(command, 0, b"", _STUB_UNKNOWN)
                return None
            raise _Refused(_INVALID_MESSAGE)
        if command in self._with_checksum:
            (length,) = _unpack("<I", data)
            if len(data) != 16 + length:
                raise _Refused(_INVALID_MESSAGE)
            if ESPLoader.checksum(data[16:]) != checksum & 0xFF:
                raise _Refused(_BAD_CHECKSUM)
        return function(data)

    def _answer(self, command: int, value: int, data: bytes = b"", error: int = 0) -> None:
        status = struct.pack("<BB", bool(error), error)
        body = data + status.ljust(2 if self._stub else self._loader.status_bytes, b"\0")
        self._send(struct.pack("<BBHI", 1, command, len(body), value) + body)

    def _send(self, payload: bytes) -> None:
        escaped = payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        self._machine.reply(b"\xc0" + escaped + b"\xc0")

    # -- commands: each returns (value, data) of its answer

    def _sync(self, _data: bytes) -> tuple[int, bytes]:
        for _ in range(7):  # the chip answers eight times
            self._answer(ESPLoader.ESP_CMDS["SYNC"], 0 if self._stub else 0x20120707)
        return 0 if self._stub else 0x20120707, b""

    def _read_reg(self, data: bytes) -> tuple[int, bytes]:
        (address,) = _unpack("<I", data)
        if self._spi.contains(address):
            return self._spi.read_reg(address), b""
        if address not in self._registers:
            return registers.read_reg_value(self._machine.kind.chip, address), b""
        return self._registers[address], b""

    def _write_reg(self, data: bytes) -> tuple[int, bytes]:
        for start in range(0, len(data) - 15, 16):
            address, value, mask, _delay_us = struct.unpack_from("<IIII", data, start)
            if self._spi.contains(address):
                self._spi.write_reg(address, value, mask)
            else:
                old = self._registers.get(address, 0)
                self._registers[address] = (old & ~mask) | (value & mask)
        return 0, b""

    def _mem_begin(self, data: bytes) -> tuple[int, bytes]:
        _unpack("<IIII", data)
        return 0, b""

    def _mem_data(self, _data: bytes) -> tuple[int, bytes]:
        return 0, b""

    def _mem_end(self, data: bytes) -> tuple[int, bytes] | None:
        stay, entry = _unpack("<II", data)
        if stay or not entry:
            return 0, b""
        self._answer(ESPLoader.ESP_CMDS["MEM_END"], 0)
        self._stub = True
        self._send(b"OHAI")  # the stub's first word
        return None

    def _flash_begin(self, data: bytes) -> tuple[int, bytes]:
        size, blocks, block_size, offset = _unpack("<IIII", data)
        self._inflate = None
        if self._stub or not self._loader.erases_too_much:
            self._begin(size, offset)
        else:
            self._begin(_erased(offset, size), offset)
            self._end = min(offset + blocks * block_size, self._flash.size)
        return 0, b""

    def _flash_defl_begin(self, data: bytes) -> tuple[int, bytes]:
        size, _blocks, _block_size, offset = _unpack("<IIII", data)
        self._inflate = zlib.decompressobj()
        self._begin(size, offset)
        return 0, b""

    def _begin(self, size: int, offset: int) -> None:
        if offset + size > self._flash.size:
            raise _Refused(_FLASH_ERROR)
        self._position, self._end = offset, offset + size
        for sector in range(offset - offset % SECTOR_BYTES, offset + size, SECTOR_BYTES):
            self._flash.erase(sector, SECTOR_BYTES)

    def _flash_data(self, data: bytes) -> tuple[int, bytes]:
        block = data[16:]
        if self._position + len(block) > self._end:
            # The last block is padded with 0xFF to the block size: that changes nothing.
            if block[self._end - self._position :].strip(b"\xff"):
                raise _Refused(_FLASH_ERROR)
            block = block[: self._end - self._position]
        self._write(block)
        return 0, b""

    def _flash_defl_data(self, data: bytes) -> tuple[int, bytes]:
        if self._inflate is None:
            raise _Refused(_INVALID_MESSAGE)
        try:
            block = self._inflate.decompress(data[16:])
        except zlib.error:
            raise _Refused(_DEFLATE_ERROR) from None
        if self._position + len(block) > self._end:
            raise _Refused(_DEFLATE_ERROR)
        self._write(block)
        return 0, b""

    def _write(self, block: bytes) -> None:
        for start in range(0, len(block), SECTOR_BYTES):
            self._flash.program(self._position, block[start : start + SECTOR_BYTES])
            self._position += len(block[start : start + SECTOR_BYTES])

    def _flash_end(self, data: bytes) -> tuple[int, bytes] | None:
        """0: reset by software, which lands in download mode again, since the boot pins are
        latched. 1: the stub stays, the ROM runs the application."""
        (word,) = _unpack("<I", data)
        if word and self._stub:
            return 0, b""
        self._answer(ESPLoader.ESP_CMDS["FLASH_END"], 0)
        self._machine.leave_download(to_application=bool(word))
        return None

    def _flash_defl_end(self, data: bytes) -> tuple[int, bytes] | None:
        if self._inflate is not None and not self._inflate.eof and self._position < self._end:
            raise _Refused(_DEFLATE_ERROR)
        self._inflate = None
        return self._flash_end(data)

    def _run_user_code(self, _data: bytes) -> None:
        self._machine.leave_download(to_application=True)

    def _spi_set_params(self, _data: bytes) -> tuple[int, bytes]:
        return 0, b""

    _spi_attach = _change_baudrate = _spi_set_params

    def _spi_flash_md5(self, data: bytes) -> tuple[int, bytes]:
        offset, size = _unpack("<II", data)
        if offset + size > self._flash.size:
            raise _Refused(_FLASH_ERROR)
        digest = hashlib.md5(self._flash.read(offset, size), usedforsecurity=False)
        return 0, digest.digest() if self._stub else digest.hexdigest().encode()

    def _read_flash_slow(self, data: bytes) -> tuple[int, bytes]:
        offset, length = _unpack("<II", data)
        if self._stub or length > _BLOCK64 or offset + length > self._flash.size:
            raise _Refused(_INVALID_MESSAGE)
        return 0, self._flash.read(offset, length).ljust(_BLOCK64, b"\xff")

    def _erase_flash(self, _data: bytes) -> tuple[int, bytes]:
        self._flash.erase(0, self._flash.size)
        return 0, b""

    def _erase_region(self, data: bytes) -> tuple[int, bytes]:
        offset, size = _unpack("<II", data)
        if offset % SECTOR_BYTES or size % SECTOR_BYTES or offset + size > self._flash.size:
            raise _Refused(_FLASH_ERROR)
        self._flash.erase(offset, size)
        return 0, b""

    def _read_flash(self, data: bytes) -> None:
        offset, length, block, in_flight = _unpack("<IIII", data)
        if offset + length > self._flash.size or not block or not in_flight:
            raise _Refused(_FLASH_ERROR)
        self._answer(ESPLoader.ESP_CMDS["READ_FLASH"], 0)
        self._reading = _Reader(offset, length, block, in_flight)
        self._acknowledged(struct.pack("<I", 0))

    def _acknowledged(self, frame: bytes) -> None:
        """Send the next blocks of a read: as many as may be unacknowledged, then the MD5."""
        reading = self._reading
        if reading is None or len(frame) != 4:
            self._reading = None
            return
        (received,) = struct.unpack("<I", frame)
        while reading.sent < reading.length and reading.sent - received < reading.window:
            size = min(reading.block, reading.length - reading.sent)
            self._send(self._flash.read(reading.offset + reading.sent, size))
            reading.sent += size
        if received >= reading.length:
            self._reading = None
            whole = self._flash.read(reading.offset, reading.length)
            self._send(hashlib.md5(whole, usedforsecurity=False).digest())


class _Reader:
    """A read of the flash under way."""

    def __init__(self, offset: int, length: int, block: int, in_flight: int) -> None:
        self.offset, self.length, self.block = offset, length, block
        self.window = block * in_flight
        self.sent = 0


def _unpack(layout: str, data: bytes) -> tuple[int, ...]:
    if len(data) < struct.calcsize(layout):
        raise _Refused(_INVALID_MESSAGE)
    return struct.unpack_from(layout, data)


def _erased(offset: int, size: int) -> int:
    """How much an ESP8266's ROM erases when told ``size``: the sectors of the first 64 KB
    block count twice. esptool asks for less, to get what it wants (`get_erase_size`)."""
    count = -(-size // SECTOR_BYTES)
    in_first_block = 16 - offset // SECTOR_BYTES % 16
    return (count + min(count, in_first_block)) * SECTOR_BYTES
