"""Read the numbers and vectors of a handshake message.

RFC 5246 section 4, RFC 8446 section 3. Every length is checked against what is there.
"""

from keyfob.errors import KeyfobError


class Reader:
    """Goes through ``buffer`` from front to back. Errors: tls.malformed."""

    def __init__(self, buffer) -> None:
        self._buffer = memoryview(buffer)
        self._at = 0

    def read(self, size: int) -> memoryview:
        """The next ``size`` bytes, valid as long as the buffer."""
        at = self._at
        self._at = end = at + size
        if end > len(self._buffer):
            detail = "offset %d: %d bytes, %d are left" % (at, size, len(self._buffer) - at)
            raise KeyfobError("tls.malformed", detail)
        return self._buffer[at:end]

    def number(self, size: int) -> int:
        """The next ``size`` bytes as a number."""
        return int.from_bytes(self.read(size), "big")

    def vector(self, size: int, least: int = 0) -> memoryview:
        """A vector whose length stands before it in ``size`` bytes, of ``least`` bytes or
        more."""
        count = self.number(size)
        if count < least:
            raise KeyfobError("tls.malformed", "vector of %d bytes, want %d" % (count, least))
        return self.read(count)

    def left(self) -> int:
        """How many bytes were not read."""
        return len(self._buffer) - self._at

    def finish(self) -> None:
        """Refuse bytes behind the end of the message."""
        if self.left():
            raise KeyfobError("tls.malformed", "%d bytes behind the message" % self.left())


def read_extensions(reader: Reader, may_lack: bool = False) -> dict:
    """Type to content (memoryview) of the extensions that end a message; refuses a type
    that is there twice. ``may_lack``: there need not even be an empty list (RFC 5246
    section 7.4.1.4)."""
    found: dict = {}
    if may_lack and not reader.left():
        return found
    inner = Reader(reader.vector(2))
    reader.finish()
    while inner.left():
        kind = inner.number(2)
        if kind in found:
            raise KeyfobError("tls.malformed", "extension %d twice" % kind)
        found[kind] = inner.vector(2)
    return found


def vector(size: int, *parts) -> bytes:
    """``parts`` with their length before them in ``size`` bytes."""
    content = b"".join(parts)
    return len(content).to_bytes(size, "big") + content
