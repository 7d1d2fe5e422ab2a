"""Read DER strictly, in place: one cursor that goes into elements and out again.

ITU-T X.690: one-byte tags, definite lengths in their shortest form (of at most two
bytes: a certificate above 64 KB is none of ours), integers and bits in their shortest
form, nothing behind the last element. Nothing is copied; what is handed out is a view
of the caller's buffer and as long-lived as that.

Not checked: the inside of what a caller skips, and the characters of strings.
Errors: x509.malformed, with the offset and what was seen there against what must be.
"""

from micropython import const

from keyfob.errors import KeyfobError

_BOOLEAN = const(0x01)
_INTEGER = const(0x02)
_BIT_STRING = const(0x03)
_OID = const(0x06)


class Reader:
    """``der``: any buffer. ``at``: the offset of the next element; ``end``: behind the last
    one of the element that was entered (at first, of the buffer)."""

    def __init__(self, der: bytes | memoryview) -> None:
        self.der = memoryview(der)
        self.at = 0
        self.end = len(self.der)

    def peek(self) -> int:
        """The tag of the next element; -1 where there is none."""
        return self.der[self.at] if self.at < self.end else -1

    def enter(self, tag: int) -> int:
        """Go into the next element, which must have ``tag``. `leave` wants what this returns."""
        der, at, end = self.der, self.at, self.end
        seen = der[at] if at < end else -1
        if seen != tag:
            self.fail("tag %d, want %d" % (seen, tag))
        if at + 2 > end:
            self.fail("no length")
        size = der[at + 1]
        at += 2
        if size >= 0x80:
            count = size - 0x80
            if not 1 <= count <= 2 or at + count > end:
                self.fail("length of %d bytes, want 1 or 2 in %d" % (count, end - at))
            size = der[at] if count == 1 else der[at] << 8 | der[at + 1]
            if size < (0x80 if count == 1 else 0x100):
                self.fail("length %d in %d bytes more than one" % (size, count))
            at += count
        if at + size > end:
            self.fail("%d bytes, %d are left" % (size, end - at))
        self.at = at
        self.end = at + size
        return end

    def leave(self, outer: int) -> None:
        """Go out again, behind the element; nothing of it may be unread."""
        self.finish()
        self.end = outer

    def finish(self) -> None:
        """Nothing may follow."""
        if self.at != self.end:
            self.fail("%d bytes more than there may be" % (self.end - self.at))

    def take(self, tag: int) -> memoryview:
        """The content of the next element, which must have ``tag``."""
        outer = self.enter(tag)
        content = self.der[self.at : self.end]
        self.at = self.end
        self.end = outer
        return content

    def whole(self, tag: int) -> memoryview:
        """The next element with its header; it must have ``tag``."""
        start = self.at
        outer = self.enter(tag)
        self.at = self.end
        self.end = outer
        return self.der[start : self.at]

    def skip(self) -> int:
        """Pass over the next element; its tag."""
        tag = self.peek()
        if tag < 1 or tag & 0x1F == 0x1F:
            self.fail("tag %d, want one of one byte" % tag)
        outer = self.enter(tag)
        self.at = self.end
        self.end = outer
        return tag

    def integer(self) -> memoryview:
        """The magnitude of an INTEGER, which must not be negative; no zeros lead."""
        content = self.take(_INTEGER)
        size = len(content)
        if not size or content[0] >= 0x80:
            self.fail("INTEGER negative or empty, %d bytes" % size)
        if size > 1 and not content[0]:
            if content[1] < 0x80:
                self.fail("INTEGER with a zero more than it needs")
            return content[1:]
        return content

    def small_integer(self, limit: int) -> int:
        """An INTEGER that must not be above ``limit`` (of at most 16 bits)."""
        content = self.integer()
        value = int.from_bytes(content[:3], "big")
        if value > limit or len(content) > 2:
            self.fail("INTEGER %d of %d bytes, limit %d" % (value, len(content), limit))
        return value

    def is_true(self) -> bool:
        """The BOOLEAN here; False where there is none.

        All of X.509's are FALSE by default, and DER leaves defaults out.
        """
        if self.peek() != _BOOLEAN:
            return False
        content = self.take(_BOOLEAN)
        if len(content) != 1 or content[0] != 0xFF:
            self.fail("BOOLEAN %s, want ff or none" % hex_text(content))
        return True

    def bit_string(self) -> memoryview:
        """The bytes of a BIT STRING, of which every bit must be used."""
        content = self.take(_BIT_STRING)
        if len(content) < 2 or content[0]:
            self.fail("BIT STRING of %d bytes with bits unused, or empty" % len(content))
        return content[1:]

    def oid(self) -> bytes:
        """The content of an OBJECT IDENTIFIER, copied: they are short, and compared."""
        content = self.take(_OID)
        if not 1 <= len(content) <= 32 or content[-1] >= 0x80:
            self.fail("OBJECT IDENTIFIER of %d bytes, or cut" % len(content))
        is_first = True
        for byte in content:
            if is_first and byte == 0x80:
                self.fail("OBJECT IDENTIFIER with a zero more than it needs")
            is_first = byte < 0x80
        return bytes(content)

    def fail(self, what: str) -> None:
        """Raise x509.malformed."""
        raise KeyfobError("x509.malformed", "offset %d: %s" % (self.at, what))


def hex_text(data: bytes | memoryview) -> str:
    """The first eight bytes, for evidence."""
    return "".join("%02x" % byte for byte in data[:8])


def oid_text(oid: bytes) -> str:
    """``2.5.29.17``, for evidence."""
    numbers: list[str] = []
    number = 0
    for byte in oid:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            if not numbers:
                first = min(number // 40, 2)
                numbers.append(str(first))
                number -= 40 * first
            numbers.append(str(number))
            number = 0
    return ".".join(numbers)
