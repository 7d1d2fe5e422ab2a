"""The os module of the ESP ports: the file system, and no way out to the host."""

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
    port = __import__("sys")
    release = ".".join(str(part) for part in port.implementation.version[:3])
    if port.platform == "esp8266":
        release = "2.2.0-dev(9422289)"  # the SDK's
    version = sys.version.split("; MicroPython ")[-1]
    return _uname(port.platform, port.platform, release, version, port.implementation._machine)


def sync():
    pass


def dupterm(stream, index=0):
    if stream is not None:
        raise OSError(95)  # this board's console cannot be doubled
    return None


def dupterm_notify(_):
    pass
