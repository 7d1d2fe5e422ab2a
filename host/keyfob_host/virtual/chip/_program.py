"""How a port runs boot.py and main.py, for every chip: see ``_boot.py`` of each."""

import gc
import io
import sys

import _wire
import os as vfs_os

_sys = sys
_hidden = ()  # what the names of the port's own files contain: no frames on a real board


def hide(*names):
    """Leave frames of files whose names contain one of ``names`` out of tracebacks."""
    global _hidden
    _hidden = names


def start(facts, main, platform):
    """Make ``sys`` the port's, and ``main`` the globals of boot.py, main.py and the REPL."""
    sys.modules["sys"] = Sys(facts, platform)
    main.clear()
    main["__name__"] = "__main__"
    _sys.atexit(lambda: sweep(main))


def run(facts, main, mount):
    """Mount, boot.py, main.py; what follows is the REPL."""
    with Guard() as guard:
        mount()
    if guard.error is not None:
        print_exception(guard.error)
    _wire.call("mounted")
    finished = _run_file("boot.py", main)
    if finished and not facts["raw_repl"]:
        _run_file("main.py", main)


class Guard:
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
    with Guard() as guard:
        _wire.let_ctrl_c()
        _execfile(name, main)
    if guard.error is None:
        return True
    if isinstance(guard.error, SystemExit):
        sweep(main)
        _wire.call("soft_reset")
    print_exception(guard.error)
    return False


_execfile = execfile  # (a port may not have it)


def sweep(main):
    """A soft reset frees the heap, and with it closes the files that a program left open."""
    _wire.hold_ctrl_c()
    main.clear()
    _sys.modules.clear()
    gc.collect()


class _Traceback(io.IOBase):
    """Passes on what is printed to it, without the frames of the port's own files.

    Line by line: after a MemoryError there may be no room for the whole.
    """

    def __init__(self, old, new):
        self._line = b""
        self._replaced = (old, new)

    def write(self, data):
        self._line += bytes(data)
        if self._line.endswith(b"\n"):
            text = self._line.decode()
            self._line = b""
            if not any(name in text for name in _hidden):
                _sys.stdout.write(text.replace(*self._replaced))
        return len(data)


def print_exception(error, old=" ", new=" "):
    """Print it as the port does; ``old`` in its lines becomes ``new``."""
    sys.print_exception(error, _Traceback(old, new))


def corrupted(words):
    """Print ``words`` for ever: the port does not touch a file system that it cannot read."""
    import time

    _wire.call("mounted")
    _wire.let_ctrl_c()
    while True:
        print(words)
        time.sleep(3)


class Sys:
    """The sys module with what differs on the chip."""

    def __init__(self, facts, platform):
        from collections import namedtuple

        real = _sys.implementation
        names = ("name", "version", "_machine", "_mpy", "_build", "_thread")
        threads = ("GIL",) if platform == "esp32" else ()
        self.platform = platform
        self.implementation = namedtuple("implementation", names[: 5 + len(threads)])(
            "micropython", real.version, facts["machine"], real._mpy, facts["build"], *threads
        )
        self.version = _sys.version

    def __getattr__(self, name):
        if name in ("executable", "atexit", "exc_info"):
            raise AttributeError(name)
        return getattr(_sys, name)
