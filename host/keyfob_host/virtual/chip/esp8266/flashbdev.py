"""The block device of the file system: from 1 MB to what the SDK keeps at the end."""

import _wire
import esp

_SDK_BYTES = const(20480)


def _refuse():
    raise OSError(5)


def _nothing():
    pass


def _whole(bdev, block, buf):
    _wire.erase((block + bdev.start_sec) * 4096)
    _part(bdev, block, buf, 0)


def _part(bdev, block, buf, offset):
    _wire.program((block + bdev.start_sec) * 4096 + offset, buf)


def _count(bdev, arg):
    return bdev.blocks


def _block_size(bdev, arg):
    return bdev.SEC_SIZE


def _erase(bdev, arg):
    _FIT[arg < bdev.blocks]()
    _wire.erase((arg + bdev.start_sec) * 4096)
    return 0


def _no_answer(bdev, arg):
    pass


_FIT = (_refuse, _nothing)
_IOCTL = {4: _count, 5: _block_size, 6: _erase}


class FlashBdev:
    """As the port's; its methods branch nowhere, as ``_wire.py`` explains."""

    SEC_SIZE = 4096

    def __init__(self, start_sec, blocks):
        self.start_sec = start_sec
        self.blocks = blocks

    def readblocks(self, n, buf, off=0):
        _FIT[n < self.blocks]()
        esp._read((n + self.start_sec) * 4096 + off, buf)

    def writeblocks(self, n, buf, off=None):
        _FIT[n < self.blocks]()
        _WRITE[off is None](self, n, buf, off)

    def ioctl(self, op, arg):
        return _IOCTL.get(op, _no_answer)(self, arg)


def _whole_at(bdev, block, buf, _):
    _whole(bdev, block, buf)


_WRITE = (_part, _whole_at)
bdev = FlashBdev(
    esp.flash_user_start() // 4096,
    (esp.flash_size() - _SDK_BYTES - esp.flash_user_start()) // 4096,
)
