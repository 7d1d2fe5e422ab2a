"""The esp32 module: the flash's partitions as block devices, and NVS in RAM of the host."""

import struct

import _wire

_SECTOR = const(4096)
_flash = None
_table = []


def _open_flash(path, partitions):
    global _flash
    _flash = open(path, "rb")
    _table[:] = [tuple(row) for row in partitions]


class Partition:
    """A partition as the port's block device: with and without an offset in the block."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, which, block_size=4096):
        if isinstance(which, int):
            which = [row for row in _table if row[0] == 0][0]
        elif isinstance(which, str):
            found = [row for row in _table if row[4] == which]
            if not found:
                raise OSError(2)
            which = found[0]
        self._info = which
        self._block = block_size

    @staticmethod
    def find(type=0, subtype=0xFF, label=None, block_size=4096):
        return [
            Partition(row, block_size)
            for row in _table
            if row[0] == type and subtype in (0xFF, row[1]) and label in (None, row[4])
        ]

    def __repr__(self):
        return (
            "<Partition type=%u, subtype=%u, address=%u, size=%u, label=%s, encrypted=0>"
            % self._info[:5]
        )

    def info(self):
        return self._info + (False,)

    # The file systems call the next three in the middle of their work, where a
    # KeyboardInterrupt would leave them half-way; hence no branch and no loop in them
    # (see _wire.py).

    def readblocks(self, block, buf, offset=0):
        at = block * self._block + offset
        _FIT[at + len(buf) <= self._info[3]]()
        _flash.seek(self._info[2] + at)
        _flash.readinto(buf)

    def writeblocks(self, block, buf, offset=None):
        whole = offset is None
        at = block * self._block + _OFFSET[whole](offset)
        _FIT[at + len(buf) <= self._info[3]]()
        _WRITE[whole](self._info[2] + at, buf)

    def ioctl(self, op, arg):
        return _IOCTL.get(op, _nothing)(self, arg)


def _nothing(*_):
    pass


def _given(offset):
    return offset


def _none(offset):
    return 0


def _refuse():
    raise OSError(22)


def _sync(part, arg):
    return 0


def _count(part, arg):
    return part._info[3] // part._block


def _block_size(part, arg):
    return part._block


def _erase_block(part, arg):
    return _ERASE[part._block == _SECTOR](part, arg)


def _erase_sector(part, arg):
    _FIT[(arg + 1) * _SECTOR <= part._info[3]]()
    _wire.erase(part._info[2] + arg * _SECTOR)
    return 0


def _cannot_erase(part, arg):
    return -22


_FIT = (_refuse, _nothing)
_OFFSET = (_given, _none)
_WRITE = (_wire.program, _wire.rewrite)
_ERASE = (_cannot_erase, _erase_sector)
_IOCTL = {1: _sync, 2: _sync, 3: _sync, 4: _count, 5: _block_size, 6: _erase_block}


class NVS:
    """Keys that live as long as the board has power; a real chip keeps them in flash."""

    def __init__(self, namespace):
        self._space = namespace

    def set_i32(self, key, value):
        _wire.call("nvs", space=self._space, key=key, kind="i32", value=value)

    def get_i32(self, key):
        return _wire.call("nvs", space=self._space, key=key, kind="i32")

    def set_blob(self, key, value):
        _wire.call("nvs", space=self._space, key=key, kind="blob", value=bytes(value).hex())

    def get_blob(self, key, buffer):
        value = bytes.fromhex(_wire.call("nvs", space=self._space, key=key, kind="blob"))
        buffer[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        _wire.call("nvs", space=self._space, key=key, kind="erase")

    def commit(self):
        pass


def raw_temperature():
    return 128


def idf_heap_info(capabilities):
    return [(0, 0, 0, 0)]
