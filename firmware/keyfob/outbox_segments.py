"""The segments of an outbox: which there are, and the records in them, read.

A segment has the number of its first record. A record is its header (flags ``0x50 | has
properties << 3 | QoS << 1 | retain``, sequence number, bytes of the topic, and of the payload
with the properties in front of it), topic, payload, and the first bytes of the SHA-256 of all
that. One whose digest is not whole is no record: a power cut tore it. Numbers grow, from record
to record and from segment to segment; some may be missing.

Not here: what is written, and which records count (`keyfob.outbox`). Errors: OSError.
"""

import errno
import hashlib
import os
import struct

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error

HEADER = ">BIHH"
_HEADER_BYTES = const(9)
_DIGEST_BYTES = const(4)


class Cursor:
    """A place in the segments, and the record there: `seq` (0 for none) and `size`."""

    def __init__(self, folder: str, place=None) -> None:
        self._folder = folder
        self._buffer = place._buffer if place else bytearray(64)
        self.segment = place.segment if place else 0
        self.at = place.at if place else 0
        self.seen = 0  # the highest sequence number met on the way
        self.seq = self.size = 0

    def step(self) -> None:
        self.at += self.size
        self.seek(self.seq + 1)

    def seek(self, least: int) -> None:
        """To the first whole record from here on that has at least this number."""
        while True:
            self.seq = 0
            if self.segment:
                self._seek_inside(least)
            if self.seq:
                return
            # Almost always the numbers go on; to look through the folder costs more.
            segment = self.seen + 1
            if segment <= self.segment or not _exists(path_of(self._folder, segment)):
                segment = segment_after(self._folder, self.segment)
            if not segment:
                return
            self.segment = segment
            self.at = 0

    def _seek_inside(self, least: int) -> None:
        file = open_file(path_of(self._folder, self.segment))
        if not file:
            return  # all consumed
        with file:
            file.seek(self.at)
            while True:
                size = self._check(file)
                if not size or self.seq >= least:
                    return
                self.at += size

    def _check(self, file) -> int:
        """Judge the record that begins here; its size, or 0 for none or a torn one."""
        self.seq = 0
        view = memoryview(self._buffer)
        if file.readinto(view[:_HEADER_BYTES]) != _HEADER_BYTES:
            return 0
        flags, seq, topic_bytes, payload_bytes = struct.unpack_from(HEADER, view)
        if flags & 0xF0 != 0x50:
            return 0
        digest = hashlib.sha256(view[:_HEADER_BYTES])
        left = topic_bytes + payload_bytes
        while left:
            count = file.readinto(view[: min(left, len(view))])
            if not count:
                return 0
            digest.update(view[:count])
            left -= count
        stored = file.read(_DIGEST_BYTES)
        if len(stored) < _DIGEST_BYTES:
            return 0
        self.size = _HEADER_BYTES + topic_bytes + payload_bytes + _DIGEST_BYTES
        if stored == digest.digest()[:_DIGEST_BYTES]:
            self.seq = self.seen = seq
        else:
            path = path_of(self._folder, self.segment)
            emit_error(KeyfobError("mqtt.outbox-damaged", "%s, offset %d" % (path, self.at)))
        return self.size

    def read(self) -> tuple:
        """(topic, payload with its properties, flags) of the record here."""
        with open(path_of(self._folder, self.segment), "rb") as file:
            file.seek(self.at)
            header = file.read(_HEADER_BYTES)
            flags, _, topic_bytes, payload_bytes = struct.unpack(HEADER, header)
            topic = file.read(topic_bytes).decode()
            return topic, file.read(payload_bytes), flags


def open_file(path: str):
    """To read from; None if there is no such file."""
    try:
        return open(path, "rb")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def path_of(folder: str, segment: int) -> str:
    """A segment has the number of its first record."""
    return "%s/%08x" % (folder, segment)


def segment_after(folder: str, segment: int) -> int:
    """The next higher number of a segment, 0 if there is none. No list: they may be many."""
    best = 0
    try:
        for entry in os.ilistdir(folder):
            name = entry[0]
            if len(name) == 8:
                number = int(name, 16)
                if number > segment and (not best or number < best):
                    best = number
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return best


def _exists(path: str) -> bool:
    try:
        os.stat(path)
        return True
    except OSError:
        return False
