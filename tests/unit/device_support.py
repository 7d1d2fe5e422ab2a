"""What the device's unit tests share, on CPython and on MicroPython alike.

Importing it puts the firmware on the path and the fakes in the place of modules that
only a board has. On CPython it adds the few functions that MicroPython has beside.
"""

import os
import sys

HERE = __file__[: __file__.rfind("/")] if "/" in __file__ else "."
IS_MICROPYTHON = sys.implementation.name == "micropython"
FIRMWARE = HERE + "/../../firmware"
VECTORS = HERE + "/../vectors"

for folder in (FIRMWARE, HERE + "/fakes"):
    if folder not in sys.path:
        sys.path.insert(0, folder)
for name in ("network", "machine", "dht", "neopixel"):
    sys.modules.pop(name, None)
    __import__(name)

import asyncio  # noqa: E402
import gc  # noqa: E402
import time  # noqa: E402

if not IS_MICROPYTHON:
    sys.path.append(HERE + "/fakes/cpython")
    time.ticks_ms = lambda: int(time.monotonic() * 1000) & 0x3FFFFFFF
    time.ticks_add = lambda ticks, more: (ticks + more) & 0x3FFFFFFF
    time.ticks_diff = lambda later, earlier: (
        ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000
    )
    gc.mem_free = lambda: 0  # as on a small board
    os.ilistdir = lambda folder: ((name,) for name in os.listdir(folder))
    asyncio.sleep_ms = lambda ms: asyncio.sleep(ms / 1000)
    asyncio.wait_for_ms = lambda awaitable, ms: asyncio.wait_for(awaitable, ms / 1000)

import keyfob  # noqa: E402
from keyfob.errors import KeyfobError  # noqa: E402
from keyfob.mqtt import state  # noqa: E402

state.urandom = bytes  # zeros: packet identifiers begin at 1
keyfob.plenty_bytes = 1 << 29  # modules are dropped after use, as on a small board


def refusal(function, *arguments):
    """The `KeyfobError` that the call ends with; a failure if it does not."""
    try:
        result = function(*arguments)
    except KeyfobError as error:
        return error
    raise AssertionError("no KeyfobError but %r" % (result,))


def code_of(function, *arguments):
    """Its code."""
    return refusal(function, *arguments).code


def run(coroutine):
    """Run it on an event loop of its own."""
    if IS_MICROPYTHON:
        asyncio.new_event_loop()
    return asyncio.run(coroutine)


def refused_coroutine(coroutine):
    """The `KeyfobError` that the coroutine ends with."""
    return refusal(run, coroutine)


_folders = [0]


def new_folder():
    """An empty folder of this process, removed by `remove_folder`."""
    _folders[0] += 1
    base = "/dev/shm" if _exists("/dev/shm") else "/tmp"
    name = "%s/keyfob-unit-%s-%d" % (base, _unique(), _folders[0])
    os.mkdir(name)
    return name


def remove_folder(folder):
    """Remove it with everything below."""
    for name in os.listdir(folder):
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            remove_folder(path)
        else:
            os.remove(path)
    os.rmdir(folder)


def write(path, content):
    """Write a file, text or bytes."""
    with open(path, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


_token = "".join("%02x" % byte for byte in os.urandom(6))


def _unique():
    return _token


class Console:
    """Collects the events that are emitted inside ``with``, as dictionaries."""

    def __enter__(self):
        import json

        from keyfob import events

        self.events = []
        self.lines = []
        self._module = events

        def keep(line):
            self.lines.append(line)
            self.events.append(json.loads(line[3:]))

        events.print = keep
        return self

    def __exit__(self, *_):
        del self._module.print

    def named(self, name):
        return [event for event in self.events if event["ev"] == name]
