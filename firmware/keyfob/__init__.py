"""Keyfob's device package: MQTT over verified TLS. See `keyfob.client`."""

import sys

__version__ = "0.1.0"


def drop(*names: str) -> None:
    """Forget modules of this package that are needed seldom, until they are needed again.

    Their memory comes back with the next collection.
    """
    for name in names:
        name = "keyfob." + name
        if sys.modules.pop(name, None):
            at = name.rfind(".")
            delattr(sys.modules[name[:at]], name[at + 1 :])
