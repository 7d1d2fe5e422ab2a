"""What an ESP32's MicroPython does before the REPL: mount the flash, boot.py, main.py.

Runs in the process that plays the chip. Everything of the host is closed first: its
file system is unmounted, and ``os``, ``time``, ``socket``, ``sys`` and the rest are
replaced by what the ESP32 port has.
"""

import gc
import io
import sys
import vfs

import _wire

_here = sys.path[0] + "/"


def run(main):
    """Boot, with ``main`` as the globals of boot.py, main.py and the REPL."""
    _wire.connect(int(sys.argv[1]))
    _wire.hold_ctrl_c()
    facts = _wire.call("hello")

    import esp32

    esp32._open_flash(facts["flash"], facts["partitions"])
    import machine

    machine._start(facts)
    import network, socket, time, os, dht, neopixel, esp, select, asyncio, ssl

    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv[:] = []
    sys.modules["sys"] = _Sys(facts)
    sys.modules["vfs"] = _Vfs
    for name in ("time", "os", "socket", "machine", "select"):
        sys.modules["u" + name] = sys.modules[name]
    for name in ("_boot", "_wire"):
        sys.modules.pop(name)
    for name in ("ssl", "asyncio", "asyncio.core", "network", "dht", "neopixel", "esp"):
        sys.modules.pop(name, None)  # imported again when used, as on a fresh board
    sys.modules["network"], sys.modules["dht"] = network, dht
    sys.modules["neopixel"], sys.modules["esp"] = neopixel, esp
    main.clear()
    main["__name__"] = "__main__"
    _sys.atexit(lambda: _sweep(main))

    with _Guard() as guard:
        _mount(esp32)
    if guard.error is not None:
        _print_exception(guard.error)
    _wire.call("mounted")
    finished = _run_file("boot.py", main)
    if finished and not facts["raw_repl"]:
        _run_file("main.py", main)
    _wire.repl_follows()  # from here on the console carries the REPL's banner


class _Guard:
    """Catches what ends the body into ``error``; from its end on, Ctrl-C is held off.

    There is no gap: an ``except`` clause branches, and where it branches the next
    KeyboardInterrupt is raised, out of the clause; `__exit__` holds Ctrl-C off first.
    """

    error = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        _wire.hold_ctrl_c()
        self.error = error
        try:
            for _ in "x":  # branches: one that came at the last moment is raised here
                pass
        except KeyboardInterrupt as late:
            if error is None:
                self.error = late
        return True


def _run_file(name, main):
    """Run ``name`` if it exists; False when it ended with an exception, which is printed."""
    try:
        vfs_os.stat(name)
    except OSError:
        return True
    with _Guard() as guard:
        _wire.let_ctrl_c()
        execfile(name, main)
    if guard.error is None:
        return True
    if isinstance(guard.error, SystemExit):
        _sweep(main)
        _wire.call("soft_reset")
    _print_exception(guard.error)
    return False


def _sweep(main):
    """A soft reset frees the heap, and with it closes the files that a program left open."""
    _wire.hold_ctrl_c()
    main.clear()
    _sys.modules.clear()
    gc.collect()


def _print_exception(error):
    """As the port prints it: without the frames of this file and its neighbours."""
    text = io.StringIO()
    sys.print_exception(error, text)
    for line in text.getvalue().split("\n")[:-1]:
        if _here not in line:
            print(line)


def _mount(esp32):
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")
    if not found:
        found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="ffat", block_size=512)
    if not found:
        return
    bdev = found[0]
    try:
        vfs.mount(bdev, "/")
        return
    except OSError:
        pass
    sector = bytearray(4096)
    bdev.readblocks(0, sector)
    if sector != b"\xff" * 4096:
        _corrupted()
    print("Performing initial setup")
    kind = vfs.VfsLfs2 if bdev.info()[4] == "vfs" else vfs.VfsFat
    kind.mkfs(bdev)
    vfs.mount(kind(bdev), "/")
    with open("boot.py", "w") as file:
        file.write(
            "# This file is executed on every boot (including wake-boot from deepsleep)\n"
            "#import esp\n#esp.osdebug(None)\n#import webrepl\n#webrepl.start()\n"
        )


def _corrupted():
    import time

    _wire.call("mounted")
    _wire.let_ctrl_c()
    while True:
        print(
            "The filesystem appears to be corrupted. If you had important data there, you\n"
            "may want to make a flash snapshot to try to recover it. Otherwise, perform\n"
            "factory reprogramming of MicroPython firmware (completely erase flash, followed\n"
            "by firmware programming).\n"
        )
        time.sleep(3)


class _Vfs:
    """The vfs module without the class that would mount the host's files."""

    mount = vfs.mount
    umount = vfs.umount
    VfsFat = vfs.VfsFat
    VfsLfs2 = vfs.VfsLfs2
    VfsRom = vfs.VfsRom


_sys = sys


class _Sys:
    """The sys module with what differs on an ESP32."""

    platform = "esp32"

    def __init__(self, facts):
        from collections import namedtuple

        real = _sys.implementation
        names = ("name", "version", "_machine", "_mpy", "_build", "_thread")
        self.implementation = namedtuple("implementation", names)(
            "micropython", real.version, facts["machine"], real._mpy, facts["build"], "GIL"
        )
        self.version = _sys.version

    def __getattr__(self, name):
        if name in ("executable", "atexit"):
            raise AttributeError(name)
        return getattr(_sys, name)


import os as vfs_os
