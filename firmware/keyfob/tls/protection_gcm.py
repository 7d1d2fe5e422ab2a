"""Records of TLS 1.2 under AES-128-GCM. RFC 5288, RFC 5246 section 6.2.3.3.

The explicit part of the nonce is the sequence number, so no nonce comes twice.
"""

from keyfob.crypto.gcm import Gcm
from keyfob.tls.engine import put_header


class GcmProtection:
    """One direction. See `keyfob.tls.phases` for the interface."""

    prefix = 8
    suffix = 16

    def __init__(self, key: bytes, salt: bytes) -> None:
        """``key``: 16 bytes; ``salt``: 4, the nonce's implicit part."""
        self._gcm = Gcm(key)
        self._salt = salt
        self._sequence = 0

    def seal(self, buffer: bytearray, at: int, end: int, kind: int) -> int:
        """See `keyfob.tls.phases`."""
        start = at + 13
        size = end - start
        sequence = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        buffer[at + 5 : start] = sequence
        aad = sequence + bytes((kind, 3, 3, size >> 8, size & 255))
        buffer[end : end + 16] = self._gcm.seal(buffer, start, end, self._salt + sequence, aad)
        put_header(buffer, at, kind, end + 16)
        return end + 16

    def open(self, buffer: bytearray, size: int, kind: int):
        """See `keyfob.tls.phases`."""
        end = size - 16
        if end < 8:
            return None
        tag = bytes(buffer[end:size])
        size = end - 8
        aad = self._sequence.to_bytes(8, "big") + bytes((kind, 3, 3, size >> 8, size & 255))
        self._sequence += 1
        nonce = self._salt + bytes(buffer[:8])
        if not self._gcm.open(buffer, 8, end, nonce, aad, tag):
            return None
        return kind, 8, end
