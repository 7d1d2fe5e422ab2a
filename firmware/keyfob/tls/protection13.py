"""Records of TLS 1.3 under one traffic secret (RFC 8446 section 5.2): AES-128-GCM.

One direction each. Not checked here: how often a key may be used (section 5.5), which is
for whoever changes keys.
"""

from micropython import const

from keyfob.crypto.gcm import Gcm
from keyfob.errors import KeyfobError

_ALERT = const(21)
_APPLICATION_DATA = const(23)
_HEADER_BYTES = const(5)
_TAG_BYTES = const(16)


class Protection13:
    """Seals or opens records in place. ``prefix`` and ``suffix``: bytes that protection
    puts before and behind the content. ``sequence``: records so far under this key.
    ``limit``: how large content, type and padding of a record may be together."""

    prefix = 0
    suffix = 1 + _TAG_BYTES
    limit = 16_385

    def __init__(self, secret: bytes) -> None:
        """``secret``: the traffic secret, 32 bytes."""
        self.use(secret)

    def update(self) -> None:
        """Go on under the next traffic secret (KeyUpdate, section 7.2)."""
        from keyfob.tls.keys13 import next_traffic_secret

        self.use(next_traffic_secret(self._secret))

    def use(self, secret: bytes) -> None:
        """Go on under another traffic secret."""
        from keyfob.tls.keys13 import traffic_keys  # not kept on the heap while connected

        self._secret = secret
        key, iv = traffic_keys(secret)
        self._gcm = Gcm(key)
        self._iv = int.from_bytes(iv, "big")
        self.sequence = 0

    def _nonce(self) -> bytes:
        nonce = self._iv ^ self.sequence
        self.sequence += 1
        return nonce.to_bytes(12, "big")

    def seal(self, buffer: bytearray, at: int, end: int, kind: int) -> int:
        """Complete the record at ``at``, whose content of type ``kind`` ends at ``end``; its
        end. There must be room for ``suffix`` more bytes."""
        buffer[end] = kind
        end += 1
        header = _header(end + _TAG_BYTES - at - _HEADER_BYTES)
        at += _HEADER_BYTES
        buffer[at - _HEADER_BYTES : at] = header
        buffer[end : end + _TAG_BYTES] = self._gcm.seal(buffer, at, end, self._nonce(), header)
        return end + _TAG_BYTES

    def open(self, buffer: bytearray, size: int, kind: int):
        """``buffer[:size]`` is the body of a record of type ``kind``. (type, start, end) of
        its content, in place; None if it is not genuine. Errors: tls.unexpected-message."""
        if kind != _APPLICATION_DATA:
            raise KeyfobError("tls.unexpected-message", "record of type %d in clear" % kind)
        end = size - _TAG_BYTES
        if end < 1:
            return None
        tag = memoryview(buffer)[end:size]
        if not self._gcm.open(buffer, 0, end, self._nonce(), _header(size), tag):
            return None
        # TLSInnerPlaintext: content, type, zeros (section 5.4).
        if end > self.limit:
            return kind, 0, end  # all of it, which is more than the engine takes
        while end and not buffer[end - 1]:
            end -= 1
        kind = buffer[end - 1] if end else 0
        # ChangeCipherSpec too is refused once it is protected (section 5).
        if not _ALERT <= kind <= _APPLICATION_DATA:
            raise KeyfobError("tls.unexpected-message", "protected content of type %d" % kind)
        return kind, 0, end - 1


def _header(size: int) -> bytes:
    return bytes((_APPLICATION_DATA, 3, 3, size >> 8, size & 255))
