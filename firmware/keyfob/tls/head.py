"""The head of a message that is not kept whole.

Of a CertificateRequest only the head is of use, behind it stand names of CAs, up to 64 KB
of them; a ticket that is too large is as good as none.
"""


class Head:
    """The first ``limit`` bytes of a message: ``body``. ``is_whole``: there are no others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.body = bytearray(0)
        self.is_whole = True
        self._at = 0

    def begin(self, size: int) -> None:
        """A message of ``size`` bytes begins."""
        self.is_whole = size <= self._limit
        self.body = bytearray(min(size, self._limit))

    def feed(self, view: memoryview) -> None:
        """Its next bytes."""
        at = self._at
        count = min(len(view), len(self.body) - at)
        self.body[at : at + count] = view[:count]
        self._at = at + count

    def end(self) -> None:
        """The message is complete."""
