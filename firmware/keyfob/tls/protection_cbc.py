"""Records of TLS 1.2 under AES-128-CBC and HMAC-SHA256. RFC 5246 section 6.2.3.2, RFC 7366.

How the checks keep their shape, and what of their time still shows, stands in
`keyfob.crypto.cbc`. A server that pads by more than a block, which the RFC allows,
may exceed the record buffer.
"""

from keyfob.crypto.cbc import Cbc
from keyfob.tls.engine import put_header


class CbcProtection:
    """One direction. See `keyfob.tls.phases` for the interface."""

    prefix = 16
    suffix = 48

    def __init__(self, key: bytes, mac_key: bytes, is_mac_last: bool) -> None:
        """``key``: 16 bytes; ``mac_key``: 32; ``is_mac_last``: encrypt-then-MAC."""
        self._cbc = Cbc(key, mac_key, is_mac_last)
        self._sequence = 0

    def seal(self, buffer: bytearray, at: int, end: int, kind: int) -> int:
        """See `keyfob.tls.phases`."""
        end = self._cbc.seal(buffer, at + 5, end, self._head(kind))
        put_header(buffer, at, kind, end)
        return end

    def open(self, buffer: bytearray, size: int, kind: int):
        """See `keyfob.tls.phases`."""
        place = self._cbc.open(buffer, 0, size, self._head(kind))
        return (kind, place[0], place[1]) if place else None

    def _head(self, kind: int) -> bytes:
        head = self._sequence.to_bytes(8, "big") + bytes((kind, 3, 3))
        self._sequence += 1
        return head
