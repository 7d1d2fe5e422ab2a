"""What an ESP32's MicroPython does before the REPL: mount the flash, boot.py, main.py.

Runs in the process that plays the chip. Everything of the host is closed first: its
file system is unmounted, and ``os``, ``time``, ``socket``, ``sys`` and the rest are
replaced by what the ESP32 port has.
"""

import sys
import vfs

import _program
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
    sys.modules["vfs"] = _Vfs
    for name in ("time", "os", "socket", "machine", "select"):
        sys.modules["u" + name] = sys.modules[name]
    for name in ("_boot", "_wire", "_program"):
        sys.modules.pop(name)
    for name in ("ssl", "asyncio", "asyncio.core", "network", "dht", "neopixel", "esp"):
        sys.modules.pop(name, None)  # imported again when used, as on a fresh board
    sys.modules["network"], sys.modules["dht"] = network, dht
    sys.modules["neopixel"], sys.modules["esp"] = neopixel, esp
    _program.hide(_here)
    _program.start(facts, main, "esp32")
    _program.run(facts, main, lambda: _mount(esp32))
    _wire.repl_follows()  # from here on the console carries the REPL's banner


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
        _program.corrupted(
            "The filesystem appears to be corrupted. If you had important data there, you\n"
            "may want to make a flash snapshot to try to recover it. Otherwise, perform\n"
            "factory reprogramming of MicroPython firmware (completely erase flash, followed\n"
            "by firmware programming).\n"
        )
    print("Performing initial setup")
    kind = vfs.VfsLfs2 if bdev.info()[4] == "vfs" else vfs.VfsFat
    kind.mkfs(bdev)
    vfs.mount(kind(bdev), "/")
    with open("boot.py", "w") as file:
        file.write(
            "# This file is executed on every boot (including wake-boot from deepsleep)\n"
            "#import esp\n#esp.osdebug(None)\n#import webrepl\n#webrepl.start()\n"
        )


class _Vfs:
    """The vfs module without the class that would mount the host's files."""

    mount = vfs.mount
    umount = vfs.umount
    VfsFat = vfs.VfsFat
    VfsLfs2 = vfs.VfsLfs2
    VfsRom = vfs.VfsRom
