"""What the phases of a handshake share: messages in, messages out, transcript, steps.

RFC 5246 section 7.4, RFC 8446 section 4. A phase is a module of this package with a
generator function ``run(hs)``, ``hs`` being the `Handshake`. The first is
`keyfob.tls.client_hello`. What a phase yields says what it waits for:

* ``yield`` (None): nothing; the others get a turn. One before each expensive primitive.
* ``kind, body = yield KINDS``: a message of one of the types in the bytes object
  ``KINDS``; any other is refused. `CHANGE_CIPHER_SPEC` stands for that record.
  ``body`` is the message without its four bytes of header, a bytearray of its own; for a
  streamed type (see ``sinks``) it is the sink, and of some only the beginning is kept
  (see ``heads``).
* ``yield True``: all that was written has been sent.
* ``yield from hs.send(kind, part, …)``: a message out; ``hs.flush()`` ends its record.

It returns the name of the next phase ("handshake13"), or None when the handshake is over.
Behind each phase every module of this package, `keyfob.crypto` and `keyfob.pki` that the
handshake brought is dropped, so a phase imports what it needs inside its functions, may
`drop` it again early, and code is on the heap while it is needed and no longer. What a
later phase needs goes into an attribute of ``hs``.

The transcript takes every message in the moment in which it is read or sent. Where a
message must match the hash of what came before it (Finished, CertificateVerify), the
phase calls ``hs.transcript.digest()`` before it yields for that message.

Keys: assign ``hs.engine.rx_keys`` and ``tx_keys`` (after `change_keys`, which refuses a
message that spans the change). A protection object has ``prefix`` and ``suffix`` (bytes
that it puts before and after the plaintext at most), ``seal(buffer, at, end, kind) ->
end`` (a record of ``kind`` stands at ``at`` with room for header and prefix, its plaintext
ends at ``end``; header and all are written, the record's end comes back) and
``open(buffer, size, kind) -> (kind, start, end)`` (``buffer[:size]`` is a record's body;
the content's type and place, or None if it is not genuine).
"""

import hashlib
import os
import sys

from micropython import const

from keyfob import unload
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13

# What a handshake brings, and takes away again.
PARTS = ("keyfob.tls", "keyfob.crypto", "keyfob.pki")
CHANGE_CIPHER_SPEC = const(254)  # no handshake type has this number
_HANDSHAKE_RECORD = const(22)
_CHANGE_RECORD = const(20)
_HELLO_REQUEST = const(0)
_HEADER_BYTES = const(4)
# The longest message that is kept in one piece: a NewSessionTicket, or the
# ServerKeyExchange of an RSA-4096 key (584 bytes).
_MAX_MESSAGE_BYTES = const(2048)
# CertificateRequest and NewSessionTicket: small fields and one list of 64 KB.
_MAX_HEADED_BYTES = const(66_560)
# A key that nobody can guess is all that a pre-shared key has to show.
_LEAST_KEY_BYTES = const(16)
# Where the transcript's hash is taken. TLS 1.3: behind ClientHello, ServerHello,
# Certificate, CertificateVerify, Finished, and the client's three. TLS 1.2: for the master
# secret with CertificateVerify, and both Finished.
_POINTS_13 = const(8)
_POINTS_12 = const(3)


class Handshake:
    """A handshake under way.

    What `keyfob.tls.engine.Engine` was made with: ``host``, ``anchors``, ``now_s``,
    ``client``, ``offered`` (the session, if it may be resumed), ``psk``, ``alpn``,
    ``versions``, ``pins``, ``rx_bytes``, ``has_rsa_exchange``, ``has_psk_ke``. ``random``:
    the client's 32 bytes.
    ``session_id`` and ``sent`` (types of the extensions): as in the ClientHello.
    ``first_digest``: SHA-256 of the ClientHello alone. ``secret``: of our P-256 key pair,
    or None. ``retry``: the cookie of a HelloRetryRequest, or None; ``retry_hash``: SHA-256
    of the messages up to it. Of the ServerHello: ``server_random``,
    ``server_session_id``, ``extensions`` (type to memoryview). ``phase``: the name of the one
    under way. ``sinks``: message type to an object with ``begin(size)``, ``feed(view)`` and
    ``end()``, for messages that are not kept whole. ``heads``: message type to how many
    bytes of it are kept at most, for messages of any size of which that is enough;
    ``is_whole``: the last one was not larger.
    """

    def __init__(
        self, engine, base, host, anchors, now_s, client, session, psk, alpn, versions, pins,
        rx_bytes, has_rsa_exchange, has_psk_ke,
    ):  # fmt: skip
        if psk and len(psk[1]) < _LEAST_KEY_BYTES:
            detail = "pre-shared key of %d bytes, want %d" % (len(psk[1]), _LEAST_KEY_BYTES)
            raise KeyfobError("config.out-of-range", detail)
        self.engine = engine
        self._base = base
        self.host = host
        self.anchors = anchors
        self.now_s = now_s
        self.client = client
        is_good = session and not psk and session.version in versions
        self.offered = session if is_good and session.is_good(host, now_s) else None
        self.psk = psk
        self.alpn = alpn
        self.versions = (TLS12,) if psk else versions  # whose suites alone have one
        self.pins = pins
        self.rx_bytes = rx_bytes
        self.has_rsa_exchange = has_rsa_exchange
        self.has_psk_ke = has_psk_ke
        self.random = os.urandom(32)
        self.session_id = b""
        self.secret = None
        self.transcript = Transcript(_POINTS_13 if TLS13 in self.versions else _POINTS_12)
        self.sinks: dict = {}
        self.heads: dict = {}
        self.is_whole = True
        self.retry = None
        self.retry_hash = None
        self.is_over = False
        self._wanted = None
        self._header = bytearray(_HEADER_BYTES)
        self._header_end = 0
        self._body = bytearray(0)
        self._size = 0
        self._got = 0
        self.phase = "client_hello"
        self._phase = None

    # Phases.

    def drop(self, *prefixes: str) -> None:
        """Let go of the modules below ``prefixes`` that the phase brought."""
        unload(*prefixes, but=self._base)

    def end(self) -> None:
        """Let go of all that the handshake brought, these lines too."""
        unload(*PARTS, but=self._base)

    def step(self) -> bool:
        """Resume the phase, if what it waits for is there. True: call again at once."""
        message = None
        wanted = self._wanted
        if wanted is True:
            if self.engine.tx():
                return False
        elif wanted:
            message = self._read(wanted)
            if not message:
                return False
        if not self._phase:
            name = "keyfob.tls." + self.phase
            __import__(name)
            self._phase = sys.modules[name].run(self)
        try:
            self._wanted = self._phase.send(message)  # type: ignore[union-attr]
        except StopIteration as stop:
            self._wanted = self._phase = None
            self.phase = stop.value
            self.is_over = not self.phase
            self.drop(*PARTS)
        return True

    # Messages in.

    def _read(self, wanted):
        """(type, body) of the next message, or None while some of it is missing."""
        engine = self.engine
        while True:
            kind = engine.record()
            if kind < 0:
                return None
            if kind == _CHANGE_RECORD:
                self._check_wanted(CHANGE_CIPHER_SPEC, wanted)
                engine.at = engine.end
                return CHANGE_CIPHER_SPEC, None
            if self._header_end < _HEADER_BYTES:
                self._header[self._header_end] = engine.rx[engine.at]
                engine.at += 1
                self._header_end += 1
                if self._header_end < _HEADER_BYTES or not self._begin(wanted):
                    continue
            else:
                self._feed()
            if self._got == self._size:
                body, self._body = self._body, bytearray(0)
                self._header_end = 0
                kind = self._header[0]
                sink = self.sinks.get(kind)
                if sink:
                    sink.end()
                return kind, sink or body

    def _check_wanted(self, kind: int, wanted) -> None:
        if kind not in wanted or (kind == CHANGE_CIPHER_SPEC and self._header_end):
            detail = "message %d, want %s" % (kind, " or ".join(str(one) for one in wanted))
            raise KeyfobError("tls.unexpected-message", detail)

    def _begin(self, wanted) -> bool:
        kind, high, middle, low = self._header
        self._size = size = high << 16 | middle << 8 | low
        self._got = 0
        if kind == _HELLO_REQUEST and not size and self.engine.version != TLS13:
            self._header_end = 0  # in a handshake it asks for nothing, RFC 5246 section 7.4.1.1
            self.engine.count_idle()
            return False
        self._check_wanted(kind, wanted)
        limit = self.heads.get(kind, _MAX_MESSAGE_BYTES)
        self.is_whole = size <= limit
        if kind in self.sinks:
            self.sinks[kind].begin(size)
        elif self.is_whole or (kind in self.heads and size <= _MAX_HEADED_BYTES):
            self._body = bytearray(min(size, limit))
        else:
            detail = "message %d: %d bytes, limit %d" % (kind, size, limit)
            raise KeyfobError("tls.message-too-large", detail)
        self.transcript.update(self._header)
        return True

    def _feed(self) -> None:
        engine = self.engine
        at = engine.at
        count = min(engine.end - at, self._size - self._got)
        part = memoryview(engine.rx)[at : at + count]
        self.transcript.update(part)
        sink = self.sinks.get(self._header[0])
        if sink:
            sink.feed(part)
        elif self._got < len(self._body):
            end = min(self._got + count, len(self._body))
            self._body[self._got : end] = part[: end - self._got]
        self._got += count
        engine.at = at + count

    def change_keys(self) -> None:
        """Refuse a record that goes on behind the message after which the keys change."""
        engine = self.engine
        # Nothing may be left of the record, RFC 8446 section 5.1.
        if self._header_end or engine.left or engine.at < engine.end:
            raise KeyfobError("tls.unexpected-message", "a record spans the change of keys")

    # Messages out.

    def send(self, kind: int, *parts):
        """A message of type ``kind`` whose body is ``parts``, one after the other. Messages
        share a record until `flush`."""
        size = sum(len(part) for part in parts)
        header = bytes((kind, size >> 16, size >> 8 & 255, size & 255))
        for part in (header,) + parts:  # noqa: RUF005 - MicroPython
            self.transcript.update(part)
            at = 0
            while at < len(part):
                count = self.engine.put(_HANDSHAKE_RECORD, part, at)
                if not count:
                    self.flush()
                    yield True
                at += count

    def flush(self) -> None:
        """End the record, so that what was sent goes out."""
        self.engine.seal()

    def send_change_cipher_spec(self):
        """RFC 5246 section 7.1; in a record of its own."""
        while not self.engine.put(_CHANGE_RECORD, b"\x01"):
            self.flush()
            yield True
        self.flush()


class Transcript:
    """SHA-256 over the messages, header included, in the order in which they went by.

    RFC 5246 section 7.4.9, RFC 8446 section 4.4.1. MicroPython's hashes have no copy(), and
    are final once their digest was taken. So there is one hash for each digest to come; all
    take every byte. 128 bytes of heap each.
    """

    def __init__(self, points: int) -> None:
        """``points``: how many times `digest` will be called, at most."""
        self.begin(points)

    def begin(self, points: int) -> None:
        """Forget what went by."""
        self._hashes = [hashlib.sha256() for _ in range(points)]

    def update(self, part) -> None:
        """``part`` (bytes-like) went by, sent or received."""
        for hash_ in self._hashes:
            hash_.update(part)

    def digest(self) -> bytes:
        """SHA-256 of everything up to here; uses one point up."""
        return self._hashes.pop().digest()

    def keep(self, points: int) -> None:
        """No more than ``points`` are needed from here on."""
        del self._hashes[points:]
