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

    def readblocks(self, block, buf, offset=0):
        _flash.seek(self._at(block, offset, len(buf)))
        _flash.readinto(buf)

    def writeblocks(self, block, buf, offset=None):
        at = self._at(block, offset or 0, len(buf))
        if offset is None:
            start = at - at % _SECTOR
            end = -(-(at + len(buf)) // _SECTOR) * _SECTOR
            _flash.seek(start)
            whole = bytearray(_flash.read(end - start))
            whole[at - start : at - start + len(buf)] = buf
            for sector in range(start, end, _SECTOR):
                _wire.erase(sector)
            at, buf = start, whole
        _wire.program(at, buf)

    def ioctl(self, op, arg):
        if op in (1, 2, 3):
            return 0
        if op == 4:
            return self._info[3] // self._block
        if op == 5:
            return self._block
        if op == 6:
            if self._block != _SECTOR:
                return -22
            _wire.erase(self._at(arg, 0, _SECTOR))
            return 0

    def _at(self, block, offset, size):
        start = block * self._block + offset
        if start + size > self._info[3]:
            raise OSError(22)
        return self._info[2] + start


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
