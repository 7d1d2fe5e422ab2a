"""Keyfob's device package: MQTT over verified TLS.

To use it: `keyfob.client` (asyncio), `keyfob.blocking` (without), `keyfob.outbox`.

From power-on to a connection: `start` runs the `application` that `config` names. `uplink` takes
the steps to the broker: `wifi` (`joining`), the `clock` (`time_servers`, `sntp`, `datagrams`,
`floor`), the identity (`store`, `identity`, `store_checks`) and `stream`. `board` is the chip.

From socket to message: `tcp` → `tls.mbedtls` or `tls.opening` (with `pki` and `crypto` below
it) → a stream of either engine → `mqtt.session` → `reading` → `inbox` → the application; and
back by `client.publish`, `mqtt.publish` and `keeping`. `client` is made of `keeping` (connects,
writes, begins again) and `reading`. It has beside it, imported when met: `connection`, `resuming`,
`backoff` (how one begins, goes on from the last and ends), `subscription`, `early` (before there
is an inbox), `streamed` (in pieces), `stored` and `outbox_segments` (the outbox). `blocking` has
`receiving`, and `waiting` is the same for both.

Identities come and go by `trial`, `renewal`, `key_maker` and `rotation` with its parts. A person
at the console talks to `shell`. Everybody tells what happened by `events` and `errors`.

The subpackages' docstrings say what is in them. Imports point downward only.
"""

import gc
import sys

__version__ = "0.1.0"
plenty_bytes = 65_536  # of free heap; with more, `drop` does nothing


def drop(*names: str, always: bool = False, empties: bool = False) -> None:
    """Forget modules of this package that are needed seldom, until they are needed again.

    Their memory comes back at once, or once what still runs of them has ended. They stay
    where there is plenty, unless ``always``: importing takes time, and the allocator goes
    over the holes that they would leave again and again.

    ``empties``: nothing of them runs any more, so take the names out of them too. What is
    left on the stack may look to the collector like a reference to one function, and that
    would keep every module that it can name.
    """
    if gc.mem_free() > plenty_bytes and not always:
        return
    for name in names:
        _forget("keyfob." + name, empties)
    gc.collect()


def unload(*prefixes: str, but=()) -> None:
    """Drop the modules whose names begin so, but for ``but``, however much heap is free; their
    code can be collected when nothing refers to it any more."""
    is_over = is_done = False
    while not is_over:
        is_over = True
        for name in sys.modules:  # a list of them would want 256 bytes in one piece
            if name not in but and _begins(name, prefixes):
                _forget(name, False)
                is_over = False
                is_done = True
                break
    if is_done:
        gc.collect()


def _begins(name: str, prefixes) -> bool:
    for prefix in prefixes:  # noqa: SIM110 - for each name a generator to be collected
        if name.startswith(prefix):
            return True
    return False


def _forget(name: str, empties: bool) -> None:
    module = sys.modules.pop(name, None)
    if module:
        if empties:
            module.__dict__.clear()
        at = name.rfind(".")
        package = sys.modules.get(name[:at])
        if package:  # it may have been dropped before; ESP8266 has no delattr
            package.__dict__.pop(name[at + 1 :], None)


def tidy_modules() -> None:
    """Let go of what imports that failed have left.

    MicroPython (py/builtinimport.c, met in 1.25 and 1.29) takes the name of a module whose import
    fails out of `sys.modules`, and leaves the module itself in that place of the table, where
    the collector finds it, with all that it had loaded: where memory was short, there is less
    the next time. A table that is made anew has no such places.
    """
    try:
        modules = dict(sys.modules)
    except MemoryError:
        return
    sys.modules.clear()
    try:
        sys.modules.update(modules)
    except MemoryError:  # the program's own modules would be loaded a second time
        import machine

        machine.reset()
