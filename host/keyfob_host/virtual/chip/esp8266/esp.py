"""The esp module: flash as the port hands it out, and what programs ask of the SDK."""

import _wire
from hashlib import md5  # (a program finds none)

SLEEP_NONE, SLEEP_LIGHT, SLEEP_MODEM = range(3)

_SECTOR = const(4096)
_flash = None
_facts = {}
_sleep_type = SLEEP_MODEM


def _start(facts):
    global _flash
    _facts.update(facts)
    _flash = open(facts["flash"], "rb")


def osdebug(uart):
    pass


def sleep_type(kind=None):
    global _sleep_type
    if kind is None:
        return _sleep_type
    _sleep_type = kind


def deepsleep(time_us=0, option=0):
    _wire.call("deepsleep", time_ms=time_us // 1000)


def flash_id():
    return 0x164020


def flash_size():
    return _facts["flash_size"]


def flash_user_start():
    return _facts["user_start"]


def flash_read(offset, target):
    if isinstance(target, int):
        target = bytearray(target)
        _read(offset, target)
        return bytes(target)
    _read(offset, target)


def _read(offset, buffer):
    """No branch: a file system calls it in the middle of its work (see _wire.py)."""
    _flash.seek(offset)
    _flash.readinto(buffer)


def flash_write(offset, data):
    if len(data) & 3:
        raise ValueError("len must be multiple of 4")
    _wire.program(offset, data)


def flash_erase(sector):
    _wire.erase(sector * _SECTOR)


def check_fw():
    import hashlib

    size = int.from_bytes(flash_read(0x8FFC, 4), "little")
    print("size:", size)
    if size > 1024 * 1024:
        print("Invalid size")
        return False
    digest = _digest(md5(), 4, size)
    print("md5:", digest.hex())
    return digest == flash_read(size, 16)


def _digest(hash, offset, end):
    block = bytearray(_SECTOR)
    while offset < end:
        part = memoryview(block)[: min(_SECTOR, end - offset)]
        _read(offset, part)
        hash.update(part)
        offset += len(part)
    return hash.digest()


def freemem():
    return 30000
