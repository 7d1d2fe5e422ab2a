"""Reading the presentation language of TLS (RFC 8446 section 3) without running over an end."""

from __future__ import annotations


class MalformedError(ValueError):
    """What was read is not what the RFC says; the text is the evidence."""


class Cursor:
    """Reads ``data`` from the front. Errors of everything here: `MalformedError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes."""
        if count > self.left:
            raise MalformedError(f"{what} of {count} bytes, {self.left} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int, what: str) -> int:
        """An unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size, what), "big")

    def vector(self, size: int, what: str) -> Cursor:
        """A vector whose length stands before it in ``size`` bytes."""
        return Cursor(self.take(self.number(size, f"length of {what}"), what))

    def opaque(self, size: int, what: str) -> bytes:
        """As `vector`, its bytes."""
        inner = self.vector(size, what)
        return inner.take(inner.left, what)

    def numbers(self, size: int, what: str) -> tuple[int, ...]:
        """All that is left, as numbers of ``size`` bytes."""
        if self.left % size:
            raise MalformedError(f"{what}: {self.left} bytes, want a multiple of {size}")
        return tuple(self.number(size, what) for _ in range(self.left // size))

    def end(self, what: str) -> None:
        """There must be nothing left."""
        if self.left:
            raise MalformedError(f"{self.left} bytes behind {what}")
