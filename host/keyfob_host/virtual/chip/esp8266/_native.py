"""What the 32-bit MicroPython does through its ffi: files as memory, and a safe Ctrl-C.

That build raises KeyboardInterrupt right out of its SIGINT handler, at any
instruction: in the middle of garbage collection, of LittleFS, of a request to the
supervisor. A chip's UART interrupt only notes the Ctrl-C, and the interpreter raises
where it can. So here: importing this installs a handler for SIGUSR2, three machine
instructions that do what MicroPython's ``mp_sched_keyboard_interrupt`` does. The two
addresses in it are looked up: the exception that SIGINT raises is an object of the
interpreter's state (py/mpstate.h), and that state begins with the thread's, where two
pointers to the running module's names, and two of exception handling, come before the
pending exception.
"""

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
_TRACEBACK_AT = const(8)  # in an exception object

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


def memory(size):
    """``size`` writable bytes outside the heap."""
    address = _mmap(0, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    return uctypes.bytearray_at(address & 0xFFFFFFFF, size)


def mount_port(path):
    """Make the image at ``path`` the first place to import from."""
    image = map_file(path, 0, os.stat(path)[6])
    vfs.mount(vfs.VfsRom(image), "/_port")
    sys.path[:] = ["/_port", ".frozen"]


def _handle(exception, pending):
    """On SIGUSR2, raise ``exception`` (an address) where the interpreter can."""
    # mov dword [exception's traceback], 0; mov dword [pending], exception; ret
    cleared = exception + _TRACEBACK_AT
    code = struct.pack("<HIIHIIB", 0x05C7, cleared, 0, 0x05C7, pending, exception, 0xC3)
    page = _mmap(0, 4096, _PROT_READ_WRITE_EXEC, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    uctypes.bytearray_at(page & 0xFFFFFFFF, len(code))[:] = code
    _libc.func("i", "signal", "ii")(_SIGUSR2, page)
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


_exception = 0
try:
    _libc.func("i", "kill", "ii")(_libc.func("i", "getpid", "")(), _SIGINT)
except KeyboardInterrupt as error:
    _exception = _address(error)
_handle(_exception, _names_at(_exception, _address(globals())) + _PENDING_AT)
