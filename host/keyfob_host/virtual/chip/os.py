"""The os module of the ESP32 port: the file system, and no way out to the host."""

import sys
import uos
import vfs

from uos import (  # noqa
    chdir,
    getcwd,
    ilistdir,
    listdir,
    mkdir,
    remove,
    rename,
    rmdir,
    stat,
    statvfs,
    unlink,
    urandom,
    VfsFat,
    VfsLfs2,
    mount,
    umount,
)
from collections import namedtuple

sep = "/"
_uname = namedtuple("uname_result", ("sysname", "nodename", "release", "version", "machine"))


def uname():
    implementation = __import__("sys").implementation
    release = ".".join(str(part) for part in implementation.version[:3])
    version = sys.version.split("; MicroPython ")[-1]
    return _uname("esp32", "esp32", release, version, implementation._machine)


def sync():
    pass


def dupterm(stream, index=0):
    if stream is not None:
        raise OSError(95)  # this board's console cannot be doubled
    return None
