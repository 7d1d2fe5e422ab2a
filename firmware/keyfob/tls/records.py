"""Watch the records of a TLS 1.2 handshake go by, and say what they show.

RFC 5246 section 6.2.1 (record), 7.2 (alert). The watcher sees ciphertext only; what
it learns stands in clear: the number of an alert sent before the cipher change,
whether the peer speaks TLS at all, and when the handshake is over (the first
record after the peer's ChangeCipherSpec is its Finished). mbedTLS tells none of
the three. It judges nothing: verification is the engine's.
"""

from micropython import const

_CHANGE_CIPHER_SPEC = const(20)
_ALERT = const(21)
_HANDSHAKE = const(22)
_APPLICATION_DATA = const(23)
_HEADER_BYTES = const(5)


class RecordWatch:
    """Feed it what the peer sent, in pieces of any size.

    ``is_over``: the peer's Finished is there. ``is_tls``: False once the peer's first
    byte is no TLS record's. ``alert``: number of the peer's alert in clear, or -1.
    ``seen_bytes``: how much the peer sent up to the end of the handshake.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.is_tls = True
        self.alert = -1
        self.seen_bytes = 0
        self._is_encrypted = False
        self._position = 0  # in the record at hand, header included
        self._kind = 0
        self._length = 0

    def feed(self, buffer: bytearray, count: int) -> None:
        """``buffer[:count]`` came from the peer."""
        self.seen_bytes += count
        at = 0
        while at < count and self.is_tls and not self.is_over:
            if self._position < _HEADER_BYTES:
                self._read_header(buffer[at])
                at += 1
            else:
                here = min(count - at, self._length + _HEADER_BYTES - self._position)
                if self._kind == _ALERT and not self._is_encrypted:
                    self._read_alert(buffer, at, here)
                at += here
                self._position += here
            if self._position >= _HEADER_BYTES and self._position == self._length + _HEADER_BYTES:
                self._end_record()

    def _read_header(self, byte: int) -> None:
        position = self._position
        if position == 0:
            self._kind = byte
            self._length = 0
            self.is_tls = _CHANGE_CIPHER_SPEC <= byte <= _APPLICATION_DATA
        elif position == 1:
            self.is_tls = byte == 3
        elif position >= 3:
            self._length = self._length << 8 | byte
        self._position = position + 1

    def _read_alert(self, buffer: bytearray, at: int, count: int) -> None:
        # AlertDescription is the second byte of the record's content.
        offset = _HEADER_BYTES + 1 - self._position
        if 0 <= offset < count:
            self.alert = buffer[at + offset]

    def _end_record(self) -> None:
        self._position = 0
        if self._kind == _CHANGE_CIPHER_SPEC:
            self._is_encrypted = True
        elif self._kind == _HANDSHAKE and self._is_encrypted:
            self.is_over = True
