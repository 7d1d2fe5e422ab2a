"""The example handshakes of RFC 8448, by section and name."""

import binascii

from device_support import VECTORS


def octets(name):
    """The octets that stand under ``name``, as "3.server-hello"."""
    with open(VECTORS + "/rfc8448.txt") as file:
        for line in file:
            if line.startswith(name + " "):
                return binascii.unhexlify(line[len(name) + 1 :].strip())
    raise KeyError(name)
