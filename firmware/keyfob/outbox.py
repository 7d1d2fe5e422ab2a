"""The outbox: messages that survive power loss, on LittleFS below ``/outbox/``.

Records are appended to segment files, one write a message; marks (done, released,
skipped) to a file of their own; a segment is removed once all of it is consumed.
LittleFS keeps a file of up to 128 bytes inside its directory, which wears out 15
times less flash than a block a write, so small messages get segments, and marks a
file, of that size. A record counts once its digest is whole: what a power cut tears
is as if it had never been written.

One message is on its way at a time, the oldest. Its packet identifier follows from
the sequence number in its record, so it is the same after a power cut, and its state
``released`` is stored before a PUBREL is sent: with a broker that keeps the session,
a message of QoS 2 arrives once, and one of QoS 1 at most twice, and only the one that
was on its way (MQTT 3.1.1 section 4.4).

Not here: sending, and how records are read (`keyfob.outbox_segments`). Not checked: that the
broker keeps the session.
"""

import errno
import hashlib
import os
import struct

from micropython import const

from keyfob import drop
from keyfob.errors import KeyfobError
from keyfob.events import emit_error
from keyfob.outbox_segments import HEADER, Cursor, open_file, path_of, segment_after

FOLDER = "/outbox"
# Packet identifiers of stored messages; nobody else may take these.
FIRST_ID = const(0xFF00)

_INLINE_BYTES = const(128)
_SEGMENT_BYTES = const(1024)
_HEADER_BYTES = const(9)
_DIGEST_BYTES = const(4)
_MARK_BYTES = const(9)
_MARKS_MOST = const(14)
_DONE = const(0)
_RELEASED = const(1)
_SKIPPED = const(2)
_HAS_PROPERTIES = const(8)
_PUBLISH = const(3)


class Outbox:
    """``settings``: the section ``outbox``. `count` messages wait, of `size` bytes.

    Every method may raise mqtt.outbox-failed, the file system's own failure, and be
    called again; what it was to do is then not done.
    """

    def __init__(self, settings: dict, folder: str = FOLDER) -> None:
        self._messages_most = settings["messages"]
        self._bytes_most = settings["bytes"]
        self._drops = settings["when_full"] == "drop-oldest"
        self._folder = folder
        self.count = self.size = 0
        self._marks = [0, 0, 0]
        self._mark_count = 0
        self._seq = 1  # of the next message
        self._tail = self._tail_bytes = 0  # the segment that is appended to, 0 for a new one
        self._is_given = self._may_be_sent = False
        self._head = Cursor(folder)
        try:
            self._load()
        except OSError as error:
            raise self._failed(error)

    def put(self, topic: str, payload: bytes, qos: int, retain: bool, properties=None) -> None:
        """Store a message; it is safe on return.

        ``properties``: of MQTT 5.0. A message_expiry_interval begins when the broker has it.
        Errors: mqtt.outbox-full (with ``when_full`` at ``refuse``, or if no message
        may be dropped), mqtt.too-large, mqtt.bad-property (for a payload that is not bytes,
        too).
        """
        if not isinstance(payload, (bytes, bytearray)):
            payload = _bytes_of(payload)
        flags = 0x50 | qos << 1 | (1 if retain else 0)
        block = b""
        if properties:
            flags |= _HAS_PROPERTIES
            block = _encoded(properties)
        name = topic.encode()
        behind = len(block) + len(payload)
        size = _HEADER_BYTES + len(name) + behind + _DIGEST_BYTES
        if size > self._bytes_most or max(len(name), behind) > 0xFFFF:
            detail = "record of %d bytes, outbox of %d" % (size, self._bytes_most)
            raise KeyfobError("mqtt.too-large", detail)
        while self.count >= self._messages_most or self.size + size > self._bytes_most:
            if not self._drops:
                raise self._full()
            self._drop_oldest()
        header = struct.pack(HEADER, flags, self._seq, len(name), behind)
        try:
            self._append((header, name, block, payload), size)
        except BaseException as error:  # short of memory, as well
            self._leave_tail()
            if isinstance(error, OSError):
                raise self._failed(error)
            raise
        self.count += 1
        self.size += size
        self._seq += 1

    def next(self):
        """The oldest message, to be sent now; None if there is none or it was given out.

        As (token, topic, payload, QoS, retain, packet identifier, was_sent, is_released,
        properties or None).
        ``was_sent``: it may have been, before a power cut, so it goes out with DUP.
        ``is_released``: its PUBREC came, so its PUBREL is what is to be sent.
        """
        if self._is_given:
            return None
        try:
            seq = self._seek_head()
            if not seq:
                return None
            topic, payload, flags = self._head.read()
        except OSError as error:
            raise self._failed(error)
        properties = None
        if flags & _HAS_PROPERTIES:
            properties, payload = _decoded(payload)
        found = (
            seq, topic, payload, flags >> 1 & 3, bool(flags & 1), FIRST_ID | seq & 0xFF,
            self._may_be_sent, self._marks[_RELEASED] == seq, properties,
        )  # fmt: skip
        self._is_given = self._may_be_sent = True
        return found

    def rewind(self) -> None:
        """Whoever asked for the oldest message is gone: give it out once more."""
        self._is_given = False

    def released(self, token: int) -> None:
        """PUBREC came for the head: from now on only its PUBREL is sent."""
        if token == self._head.seq:
            self._mark(_RELEASED, token)

    def done(self, token: int) -> None:
        """The broker has the head, by PUBACK or PUBCOMP. Nothing if it is another by now."""
        if token == self._head.seq:
            self._finish_head()

    # -- when it is full -----------------------------------------------------------------

    def _drop_oldest(self) -> None:
        # What may be on its way stays: the broker may hold half a handshake about it.
        victim, count, topic = self._head, self.count, ""
        try:
            if self._may_be_sent or not self._seek_head():
                victim = self._second()
                if not victim.seq:
                    raise self._full()
            topic = victim.read()[0]
            if victim is self._head:
                self._finish_head()
            else:
                self._skip(victim)
        except OSError as error:
            raise self._failed(error)
        finally:
            if self.count < count:  # also if its flash could not be cleared
                emit_error(KeyfobError("mqtt.outbox-dropped", topic))

    def _skip(self, victim: "Cursor") -> None:
        self._mark(_SKIPPED, victim.seq)
        self.count -= 1
        self.size -= victim.size
        victim.step()
        self._remove_between(self._head.segment, victim.segment)

    def _second(self) -> "Cursor":
        """The oldest message behind the head."""
        cursor = Cursor(self._folder, self._head)
        cursor.seek(max(self._head.seq, self._marks[_SKIPPED]) + 1)
        return cursor

    def _full(self) -> KeyfobError:
        return KeyfobError("mqtt.outbox-full", "%d messages, %d bytes" % (self.count, self.size))

    # -- on the flash -----------------------------------------------------------------------

    def _load(self) -> None:
        """Find out what is there: after power-on."""
        self._read_marks()
        head = last = self._head
        head.seek(self._marks[_DONE] + 1)
        self._may_be_sent = head.seq != 0
        if head.seq:
            last = self._second()
            # Of what was skipped, a power cut may have left the segments.
            self._remove_between(head.segment, last.segment)
            self.count = 1
            self.size = head.size
            while last.seq:
                self.count += 1
                self.size += last.size
                last.step()
            # Nothing is appended to a torn record: it would never be found.
            if os.stat(path_of(self._folder, last.segment))[6] == last.at:
                self._tail = last.segment
                self._tail_bytes = last.at
        self._seq = 1 + max(max(self._marks), last.seen, last.segment)
        if self._seq == 1:
            # The broker may remember identifiers of an outbox that was erased.
            self._seq = 1 + os.urandom(1)[0]
        self._remove_consumed()

    def _seek_head(self) -> int:
        """The head's number, 0 if there is none; looked for where it is not known."""
        if not self._head.seq and self.count:
            self._head.seek(self._marks[_DONE] + 1)
        return self._head.seq

    def _append(self, parts: tuple, size: int) -> None:
        limit = _INLINE_BYTES if size <= _INLINE_BYTES else _SEGMENT_BYTES
        if not self._tail or self._tail_bytes + size > limit:
            self._tail = self._seq
            self._tail_bytes = 0
            _make_folder(self._folder)
        with open(path_of(self._folder, self._tail), "ab") as file:
            digest = hashlib.sha256()
            for part in parts:
                file.write(part)
                digest.update(part)
            file.write(digest.digest()[:_DIGEST_BYTES])
        self._tail_bytes += size

    def _leave_tail(self) -> None:
        """A record may be torn: what came behind it in its segment would never be found, nor
        would a segment of the same number be another one."""
        is_new = self._tail == self._seq
        segment, self._tail = self._tail, 0
        self._seq += 1
        if is_new:
            try:
                os.remove(path_of(self._folder, segment))  # or each attempt would leave one
            except (OSError, MemoryError):
                pass

    def _finish_head(self) -> None:
        head = self._head
        segment, is_next = head.segment, self._marks[_SKIPPED] < head.seq
        self._mark(_DONE, max(head.seq, self._marks[_SKIPPED]))
        self.count -= 1
        self.size -= head.size
        self._is_given = self._may_be_sent = False
        try:
            head.seek(self._marks[_DONE] + 1)
            if not (head.seq and is_next):
                self._remove_consumed()
            elif head.segment != segment:
                os.remove(path_of(self._folder, segment))
        except OSError as error:
            raise self._failed(error)

    def _remove_consumed(self) -> None:
        if self._head.seq:
            self._remove_between(0, self._head.segment)
        else:
            self._tail = self.count = self.size = 0
            self._remove_between(0, self._seq)

    def _remove_between(self, after: int, before: int) -> None:
        while True:
            after = segment_after(self._folder, after)
            if not after or after >= before:
                return
            os.remove(path_of(self._folder, after))

    # Marks only grow, and the highest of each kind counts; so a mark that is written
    # twice, or an old one left behind, does no harm.

    def _mark(self, kind: int, seq: int) -> None:
        new = _pack_mark(kind, seq)
        path, mode = self._folder + "/marks", "ab"
        starts_over = self._mark_count >= _MARKS_MOST
        if starts_over:
            new = b"".join([_pack_mark(k, self._marks[k]) for k in range(3)]) + new
            path, mode = path + ".new", "wb"
        count = 4 if starts_over else self._mark_count + 1
        self._mark_count = _MARKS_MOST  # it may be torn: nothing is appended to that
        try:
            with open(path, mode) as file:
                file.write(new)
            if starts_over:
                os.rename(path, self._folder + "/marks")
        except OSError as error:
            raise self._failed(error)
        self._mark_count = count
        self._marks[kind] = seq

    def _read_marks(self) -> None:
        file = open_file(self._folder + "/marks")
        if not file:
            return
        with file:
            while True:
                mark = file.read(_MARK_BYTES)
                if not mark:
                    return
                if mark != _pack_mark(mark[0], _seq_of(mark)) or mark[0] > _SKIPPED:
                    break
                self._marks[mark[0]] = max(self._marks[mark[0]], _seq_of(mark))
                self._mark_count += 1
        self._mark_count = _MARKS_MOST  # torn: nothing is appended to that

    def _failed(self, error: OSError) -> KeyfobError:
        return KeyfobError("mqtt.outbox-failed", "%s: %s" % (self._folder, error))


def _bytes_of(payload) -> bytes:
    # Of others `len` may count what is no bytes; a memoryview's items may be larger.
    if isinstance(payload, memoryview):
        return bytes(payload)
    detail = "payload of %s; only bytes can be stored" % type(payload)
    raise KeyfobError("mqtt.bad-property", detail)


def _encoded(properties) -> bytes:
    from keyfob.mqtt.properties import encode

    try:
        return encode(properties, _PUBLISH)
    finally:
        del encode
        drop("mqtt.properties")


def _decoded(payload: bytes) -> tuple:
    """(properties, the payload behind them)."""
    from keyfob.mqtt.properties import decode

    try:
        at, properties = decode(memoryview(payload), 0, len(payload), len(payload), _PUBLISH)
    finally:
        del decode
        drop("mqtt.properties")
    return properties, payload[at:]


def _make_folder(folder: str) -> None:
    try:
        os.mkdir(folder)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def _pack_mark(kind: int, seq: int) -> bytes:
    mark = struct.pack(">BI", kind, seq)
    return mark + hashlib.sha256(mark).digest()[:_DIGEST_BYTES]


def _seq_of(mark: bytes) -> int:
    return int.from_bytes(mark[1:5], "big")
