"""What the 32-bit MicroPython does through its ffi: files as memory, and what is as on a chip.

A Ctrl-C that waits. That build raises KeyboardInterrupt right out of its SIGINT
handler, at any instruction: in the middle of garbage collection, of LittleFS, of a
request to the supervisor. A chip's UART interrupt only notes the Ctrl-C, and the
interpreter raises where it can. So importing this installs a handler for SIGUSR2 that
does what MicroPython's ``mp_sched_keyboard_interrupt`` does.

A small stack: see `limit_stack`. A program's names from the first one on: `begin_names`.

The first two need addresses in the interpreter's state (py/mpstate.h), which are looked up: the
exception that SIGINT raises is an object in it, and it begins with the thread's state,
where stack limit, two pointers to the running module's names, two of exception
handling and the pending exception follow each other.
"""

import builtins
import ffi
import os
import struct
import sys
import uctypes
import vfs

_PROT_READ = const(1)
_PROT_READ_WRITE = const(3)
_PROT_READ_WRITE_EXEC = const(7)
_MAP_SHARED = const(1)
_MAP_PRIVATE_ANONYMOUS = const(0x22)
_SIGINT = const(2)
_SIGUSR2 = const(12)
_STATE_BYTES = const(4096)
_PENDING_AT = const(16)  # behind the first of the two pointers to the names
_LIMIT_AT = const(8)  # before it
_UNIX_LIMIT = const(40000)
_CHIP_LIMIT = const(8496)
_FIRST_POOL = const(20)  # entries of the first pool that is not in flash
_TRACEBACK_AT = const(8)  # in an exception object
_FUNCTION_AT = const(8)  # in the object of a builtin function

_libc = ffi.open("libc.so.6")
_mmap = _libc.func("i", "mmap", "iIiiiI")


def map_file(path, offset, size):
    """``size`` bytes of a file from ``offset`` (a multiple of 4096), as it changes."""
    handle = _libc.func("i", "open", "si")(path, 0)
    address = _mmap(0, size, _PROT_READ, _MAP_SHARED, handle, offset)
    if handle < 0 or address == -1:
        raise OSError(5)
    _libc.func("i", "close", "i")(handle)
    return uctypes.bytearray_at(address & 0xFFFFFFFF, size)


def memory(size, protection=_PROT_READ_WRITE):
    """``size`` bytes outside the heap."""
    address = _mmap(0, size, protection, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if address == -1:
        raise MemoryError
    return uctypes.bytearray_at(address & 0xFFFFFFFF, size)


def mount_port(path):
    """Make the image at ``path`` the first place to import from."""
    image = map_file(path, 0, os.stat(path)[6])
    vfs.mount(vfs.VfsRom(image), "/_port")
    sys.path[:] = ["/_port", ".frozen"]


def limit_stack():
    """Let calls nest about as deep as on the chip, whose stack has 8192 bytes.

    A plain function called from the prompt nests 19 times there, and 22 times here: the
    port's modules, machine code there, take up to three levels here. Imports are let
    alone: the unix port keeps 4 KB of path on the stack for each, the chip's 128 bytes.
    After one that fails, the limit is in force again with the next one.
    """
    limit = _state - _LIMIT_AT
    if uctypes.bytes_at(limit, 4) != struct.pack("<I", _UNIX_LIMIT):
        raise NotImplementedError("not the MicroPython that this was written for")
    page = memory(4096, _PROT_READ_WRITE_EXEC)
    start = uctypes.addressof(page)
    real = uctypes.bytes_at(_address(__import__), 12)
    outer, identity, made = start + 256, start + 272, start + 288
    (function,) = struct.unpack_from("<I", real, _FUNCTION_AT)
    page[:96] = _import_code(limit, outer, function)
    page[272:277] = b"\x8b\x44\x24\x04\xc3"  # mov eax, [esp + 4]; ret
    page[288:300] = real[:_FUNCTION_AT] + struct.pack("<I", start)
    builtins.__import__ = ffi.func("O", identity, "I")(made)
    uctypes.bytearray_at(limit, 4)[:] = struct.pack("<I", _CHIP_LIMIT)


def begin_names():
    """Let the names that a program brings take the memory that they take on the chip.

    MicroPython keeps them in pools, each of twice the entries of the one before (py/qstr.c):
    20, 40, 80 and so on behind those of the port, which are in flash. Here the port's have
    filled pools of their own, and the next would be one of 640. So the last one is told
    to be as small as the chip's: it is found by its two pointers into itself.
    """
    found = 0
    most = 0
    start, end = _heap
    for at in range(start, end - 24, 16):
        before, alloc, count, hashes, lengths = struct.unpack_from(
            "<IIIII", uctypes.bytes_at(at + 4, 20)
        )
        entries = at + 24
        if hashes == entries + 4 * alloc and lengths == hashes + 2 * alloc and count <= alloc:
            if before & 0x7FFFFFFF >= most:
                found, most = at, before & 0x7FFFFFFF
    if not found:
        raise NotImplementedError("not the MicroPython that this was written for")
    uctypes.bytearray_at(found + 8, 4)[:] = struct.pack("<I", _FIRST_POOL // 2)


def _mapping(address):
    """(start, end) of the part of memory that ``address`` is in."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in line[:17].split("-"))
            if start <= address < end:
                return start, end
    raise NotImplementedError("not the system that this was written for")


def _import_code(limit, outer, real):
    """``__import__`` with the unix port's limit for the outermost import under way.

    One that an exception has left is told by a stack pointer that is no deeper than its.
    """
    call = b"\xff\x74\x24\x08" * 2 + b"\xb8" + struct.pack("<I", real) + b"\xff\xd0\x83\xc4\x08"
    put = b"\xc7\x05" + struct.pack("<I", limit)  # mov dword [limit], …
    nested = call + b"\xc3"
    code = b"\x81\x3d" + struct.pack("<II", limit, _CHIP_LIMIT)  # cmp dword [limit], chip's
    code += b"\x74" + bytes((8 + len(nested),))  # je outermost
    code += b"\x3b\x25" + struct.pack("<I", outer)  # cmp esp, [outer]
    code += b"\x73" + bytes((len(nested),))  # jae outermost
    code += nested
    code += b"\x89\x25" + struct.pack("<I", outer)  # outermost: mov [outer], esp
    code += put + struct.pack("<I", _UNIX_LIMIT) + call
    code += put + struct.pack("<I", _CHIP_LIMIT) + b"\xc3"
    return code + bytes(96 - len(code))


def _handle(exception, pending):
    """On SIGUSR2, raise ``exception`` (an address) where the interpreter can."""
    # mov dword [exception's traceback], 0; mov dword [pending], exception; ret
    cleared = exception + _TRACEBACK_AT
    code = struct.pack("<HIIHIIB", 0x05C7, cleared, 0, 0x05C7, pending, exception, 0xC3)
    page = memory(4096, _PROT_READ_WRITE_EXEC)
    page[: len(code)] = code
    _libc.func("i", "signal", "iI")(_SIGUSR2, uctypes.addressof(page))
    _libc.func("i", "siginterrupt", "ii")(_SIGUSR2, 1)  # what waits in a system call ends


def _address(thing):
    """Where ``thing`` is; id() drops the highest bit of an address below 2 GB."""
    number = id(thing)
    return number & 0x7FFFFFFF if number < 0 else number


def _names_at(below, names):
    """Where two pointers to ``names`` follow each other, in the bytes before ``below``."""
    state = uctypes.bytearray_at(below - _STATE_BYTES, _STATE_BYTES)
    found = bytes(state).rfind(struct.pack("<II", names, names))
    if found < 0:
        raise NotImplementedError("not the MicroPython that this was written for")
    return below - _STATE_BYTES + found


_heap = _mapping(_address(begin_names))
_exception = 0
try:
    _libc.func("i", "kill", "ii")(_libc.func("i", "getpid", "")(), _SIGINT)
except KeyboardInterrupt as error:
    _exception = _address(error)
_state = _names_at(_exception, _address(globals()))
_handle(_exception, _state + _PENDING_AT)
