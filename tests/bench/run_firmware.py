"""Run a folder as a board's flash under the unix MicroPython: boot.py, then main.py.

    micropython run_firmware.py SHIMS FOLDER

FOLDER's files are copied to a LittleFS in memory, which becomes "/", so that the
firmware's paths and the file system's behaviour are those of a board. SHIMS stand in
for the modules of a port that the unix port lacks; a virtual board brings its own,
and models far more.
"""

import os
import sys

import vfs

_BLOCK_BYTES = 4096
_BLOCKS = 320


class _Flash:
    def __init__(self):
        self._data = bytearray(_BLOCK_BYTES * _BLOCKS)

    def readblocks(self, block, buffer, offset=0):
        start = block * _BLOCK_BYTES + offset
        buffer[:] = memoryview(self._data)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * _BLOCK_BYTES + offset
        self._data[start : start + len(buffer)] = buffer

    def ioctl(self, request, argument):
        return {4: _BLOCKS, 5: _BLOCK_BYTES}.get(request, 0)


def _copy(source, target):
    for name, kind, *_ in os.ilistdir(source):
        if kind == 0x4000:
            os.mkdir(target + "/" + name)
            _copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as old, open(target + "/" + name, "wb") as new:
                new.write(old.read())


shims, folder = sys.argv[1:3]
for name in ("network", "machine", "dht", "neopixel"):
    sys.path.insert(0, shims)
    sys.modules.pop(name, None)
    __import__(name)
    sys.path.pop(0)
flash = _Flash()
vfs.VfsLfs2.mkfs(flash)
vfs.mount(vfs.VfsLfs2(flash), "/flash")
_copy(folder, "/flash")
vfs.umount("/flash")
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
os.chdir("/")
sys.path[:] = ["", ".frozen"]
for name in ("/boot.py", "/main.py"):
    with open(name) as file:
        exec(compile(file.read(), name, "exec"), {"__name__": name})
