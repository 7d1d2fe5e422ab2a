"""The hash of all handshake messages, for each point where it is asked for.

RFC 5246 section 7.4.9, RFC 8446 section 4.4.1. MicroPython's hashes have no copy(), and
are final once their digest was taken. So there is one hash for each digest to come; all
take every byte. 128 bytes of heap each.
"""

import hashlib


class Transcript:
    """SHA-256 over the messages, header included, in the order in which they went by."""

    def __init__(self, points: int) -> None:
        """``points``: how many times `digest` will be called, at most."""
        self._hashes = [hashlib.sha256() for _ in range(points)]

    def update(self, part) -> None:
        """``part`` (bytes-like) went by, sent or received."""
        for hash_ in self._hashes:
            hash_.update(part)

    def digest(self) -> bytes:
        """SHA-256 of everything up to here; uses one point up."""
        return self._hashes.pop().digest()

    def keep(self, points: int) -> None:
        """No more than ``points`` are needed from here on."""
        del self._hashes[points:]
