"""What an ESP8266's MicroPython does before the REPL: mount the flash, boot.py, main.py.

Runs in the process that plays the chip, and replaces everything of the host by what
the ESP8266 port has (ports/esp8266: mpconfigport.h, main.c, modules/). Missing as in
the port: see ``_missing.py``. Cannot be taken away or added here: floats have double
precision and take 16 bytes of heap (the port's are single and take none), ``str`` has
partition, center and splitlines, ``_thread``, ``cmath`` and what else the unix port has
can be imported; btree, espnow, webrepl, onewire, umqtt and upysh cannot. Nothing here
is as slow as the chip.
"""

import builtins
import gc
import sys
import vfs

import _program
import _wire

_HEAP_BYTES = const(37952)  # what gc.mem_free() + gc.mem_alloc() is on a chip
_PASTE_BYTES = const(131072)


def run(main):
    """Boot, with ``main`` as the globals of boot.py, main.py and the REPL."""
    native = sys.modules.get("_native")
    if native:
        import _rom_names

        del sys.modules["_rom_names"], _rom_names
    memory = native.memory if native else bytearray
    _wire.connect(int(sys.argv[1]), memory)
    _wire.hold_ctrl_c()
    facts = _wire.call("hello")
    rom = _rom(facts)

    import esp

    esp._start(facts)
    import machine

    machine._start(facts)
    import network, socket, time, os, dht, neopixel, select, flashbdev, ssl
    import _missing, _repl, _tls

    repl = _repl.Repl(facts["banner"], main, memory(_PASTE_BYTES))
    if native:
        native.limit_stack()
        vfs.umount("/_port")
    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib", "/"]
    sys.argv[:] = []
    del socket.SO_KEEPALIVE
    here = sys.modules["_boot8266"].__file__
    _program.hide("_port/", here[: here.rfind("/") + 1])
    sys.modules.clear()
    for module in (esp, machine, network, socket, time, os, dht, neopixel, select, ssl):
        sys.modules[module.__name__] = module
    for name in ("time", "os", "socket", "machine", "select"):
        sys.modules["u" + name] = sys.modules[name]
    sys.modules["flashbdev"] = flashbdev
    sys.modules["tls"] = _tls
    sys.modules["vfs"] = _vfs(rom)
    _missing.take_away(sys.modules)
    builtins.input = repl.input
    _program.start(facts, main, "esp8266")
    _program.run(facts, main, lambda: _begin(native, flashbdev.bdev, rom))
    if not facts["soft"]:
        print()
    _wire.repl_follows()  # from here on the console carries the REPL's banner
    _wire.hold_ctrl_c()
    repl.run()
    _program.sweep(main)


def _rom(facts):
    """The ROMFS part of the flash as memory, if the image has one and the process can."""
    if not facts["romfs"] or "_native" not in sys.modules:
        return None
    return sys.modules["_native"].map_file(facts["flash"], *facts["romfs"])


def _begin(native, bdev, rom):
    """What is left to do before boot.py."""
    _mount(bdev, rom)
    if native:
        native.begin_names()
    gc.collect()


def _mount(bdev, rom):
    if rom is not None:
        _mount_rom(rom)
    gc.threshold(_HEAP_BYTES // 4)
    try:
        vfs.mount(bdev, "/")
    except OSError:
        _set_up(bdev)


def _mount_rom(rom):
    """As the interpreter does before _boot.py, where there is an image."""
    try:
        vfs.mount(vfs.VfsRom(rom), "/rom")
    except OSError:
        return
    sys.path[2:2] = ["/rom", "/rom/lib"]


def _set_up(bdev):
    sector = bytearray(4096)
    bdev.readblocks(0, sector)
    if sector != b"\xff" * 4096:
        _program.corrupted(
            "The filesystem starting at sector %d with size %d sectors looks corrupt.\n"
            "You may want to make a flash snapshot and try to recover it. Otherwise,\n"
            "format it with vfs.VfsLfs2.mkfs(bdev), or completely erase the flash and\n"
            "reprogram MicroPython.\n" % (bdev.start_sec, bdev.blocks)
        )
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(bdev)
    vfs.mount(vfs.VfsLfs2(bdev), "/")
    with open("boot.py", "w") as file:
        file.write(
            "# This file is executed on every boot (including wake-boot from deepsleep)\n"
            "#import esp\n#esp.osdebug(None)\nimport os, machine\n"
            "#os.dupterm(None, 1) # disable REPL on UART(0)\nimport gc\n"
            "#import webrepl\n#webrepl.start()\ngc.collect()\n"
        )


class _Vfs:
    """The vfs module without the class that would mount the host's files."""

    mount = vfs.mount
    umount = vfs.umount
    VfsFat = vfs.VfsFat
    VfsLfs2 = vfs.VfsLfs2


def _vfs(rom):
    if rom is None:
        return _Vfs

    import esp

    start = esp.flash_user_start() - len(rom)

    class _RomVfs(_Vfs):
        VfsRom = vfs.VfsRom

        @staticmethod
        def rom_ioctl(operation, *arguments):
            if operation == 1:  # how many parts
                return 1
            if operation == 2:  # the part
                return memoryview(rom)
            if operation == 3:  # prepare: (part, length)
                for offset in range(0, arguments[1], 4096):
                    _wire.erase(start + offset)
                return 4
            if operation == 4:  # write: (part, offset, data)
                _wire.program(start + arguments[1], arguments[2])
                return 0
            return -22

    return _RomVfs
