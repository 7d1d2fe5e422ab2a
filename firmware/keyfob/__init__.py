"""Keyfob's device package: MQTT over verified TLS. See `keyfob.client`."""

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
        name = "keyfob." + name
        module = sys.modules.pop(name, None)
        if module:
            if empties:
                module.__dict__.clear()
            at = name.rfind(".")
            package = sys.modules.get(name[:at])
            if package:  # it may have been dropped before; ESP8266 has no delattr
                package.__dict__.pop(name[at + 1 :], None)
    gc.collect()
