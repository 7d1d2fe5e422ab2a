"""TLS records of one direction, and the handshake messages in those that are plain.

RFC 8446 sections 5.1 and 4, RFC 5246 sections 6.2.1 and 7.4. Bytes in, records out, however
they were cut; no I/O, no keys. What a record of application data or an encrypted one holds
is counted and dropped as it comes. Memory is bounded by `MAX_RECORD_BYTES` and
`MAX_MESSAGE_BYTES`. Whether a message is well formed is not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyfob_host.doctor.first_bytes import MOST_BYTES, TLS, what_begins
from keyfob_host.doctor.tls_numbers import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEARTBEAT,
)

HEADER_BYTES = 5
MAX_PLAIN_BYTES = 1 << 14
MAX_RECORD_BYTES = MAX_PLAIN_BYTES + 2048  # TLS 1.2's, the more generous one
MAX_MESSAGE_BYTES = 1 << 17  # OpenSSL takes chains up to 100 KB
_PLAIN_TYPES = (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE)


@dataclass(frozen=True)
class Record:
    """One that ended. ``fragment``: its content where that is plain, else None."""

    content_type: int
    version: int
    length: int
    fragment: bytes | None

    def wire(self) -> bytes:
        """Its bytes as they passed, with zeros for what was not kept."""
        header = bytes([self.content_type]) + self.version.to_bytes(2, "big")
        body = bytes(self.length) if self.fragment is None else self.fragment
        return header + self.length.to_bytes(2, "big") + body


@dataclass(frozen=True)
class Foreign:
    """From here on it is no TLS: ``what`` it is (or was, after records), in words."""

    what: str


class RecordReader:
    """Reads one direction of a connection, from its first byte.

    The caller sets ``protected`` when records are encrypted from the next one on (TLS 1.2,
    after ChangeCipherSpec). Once it has met something foreign it only counts bytes.
    """

    def __init__(self) -> None:
        self.protected = False
        self.bytes_seen = 0
        self._begins: str | None = None
        self._head = bytearray()
        self._fragment = bytearray()
        self._length = 0
        self._missing = 0  # of the current record's body
        self.is_foreign = False  # what comes is no TLS, or no more

    def feed(self, data: bytes) -> Iterator[Record | Foreign]:
        """What ``data`` completes. Take each before the next: ``protected`` counts at once."""
        self.bytes_seen += len(data)
        if self.is_foreign:
            return
        if self._begins is None:
            taken = data[: MOST_BYTES - len(self._head)]
            self._head += taken
            self._begins = what_begins(self._head)
            if self._begins is None:
                return
            if self._begins != TLS:
                yield self._foreign(self._begins)
                return
            data, self._head = bytes(self._head) + data[len(taken) :], bytearray()
        yield from self._records(memoryview(data))

    def finish(self) -> Foreign | None:
        """What the stream's end leaves unsaid: a beginning too short, half a record."""
        if self.is_foreign:
            return None
        if self._begins is None:
            if not self._head:
                return None
            return self._foreign(f"{len(self._head)} bytes, too few to tell what they are")
        if self._missing:
            have = self._length - self._missing
            return self._foreign(f"the end, after {have} of a record's {self._length} bytes")
        if self._head:
            return self._foreign(f"the end, after {len(self._head)} of a header's 5 bytes")
        return None

    def _foreign(self, what: str) -> Foreign:
        self.is_foreign = True
        self._head, self._fragment = bytearray(), bytearray()
        return Foreign(what)

    def _records(self, data: memoryview) -> Iterator[Record | Foreign]:
        at = 0
        while at < len(data):
            if not self._missing:
                take = min(HEADER_BYTES - len(self._head), len(data) - at)
                self._head += data[at : at + take]
                at += take
                if len(self._head) < HEADER_BYTES:
                    return
                trouble = self._judge_header()
                if trouble:
                    yield self._foreign(trouble)
                    return
            take = min(self._missing, len(data) - at)
            if self._is_kept:
                self._fragment += data[at : at + take]
            at += take
            self._missing -= take
            if not self._missing:
                yield self._ended()

    def _judge_header(self) -> str:
        """Take over the header; why it cannot be one, or ""."""
        content_type, major = self._head[0], self._head[1]
        self._length = self._missing = self._head[3] << 8 | self._head[4]
        shown = self._head.hex(" ")
        if not CHANGE_CIPHER_SPEC <= content_type <= HEARTBEAT:
            return f"no record: its header is {shown}, content type {content_type} is unknown"
        if major != 3:
            return f"no record: its header is {shown}, with version {major}.{self._head[2]}"
        if self._length > MAX_RECORD_BYTES:
            return f"a record of {self._length} bytes, more than {MAX_RECORD_BYTES}, the most"
        return ""

    @property
    def _is_kept(self) -> bool:
        return (
            not self.protected
            and self._head[0] in _PLAIN_TYPES
            and self._length <= MAX_PLAIN_BYTES
        )  # fmt: skip

    def _ended(self) -> Record:
        fragment = bytes(self._fragment) if self._is_kept else None
        head, self._head, self._fragment = self._head, bytearray(), bytearray()
        return Record(head[0], head[1] << 8 | head[2], self._length, fragment)


@dataclass(frozen=True)
class Message:
    """A handshake message; ``body`` is None where it was too long to be kept."""

    message_type: int
    length: int
    body: bytes | None


class MessageReader:
    """Joins the plain handshake records of one direction to messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0
        self._skipped: Message | None = None

    @property
    def pending_bytes(self) -> int:
        """Of a message that has begun and not ended."""
        return len(self._buffer) + (1 if self._skip else 0)

    def feed(self, fragment: bytes) -> Iterator[Message]:
        """The messages that ``fragment`` completes."""
        self._buffer += fragment
        while True:
            if self._skip:
                dropped = min(self._skip, len(self._buffer))
                del self._buffer[:dropped]
                self._skip -= dropped
                if self._skip:
                    return
                assert self._skipped  # noqa: S101 - set with _skip
                yield self._skipped
            if len(self._buffer) < 4:
                return
            kind, length = self._buffer[0], int.from_bytes(self._buffer[1:4], "big")
            if length > MAX_MESSAGE_BYTES:
                self._skip, self._skipped = 4 + length, Message(kind, length, None)
                continue
            if len(self._buffer) < 4 + length:
                return
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield Message(kind, length, body)
