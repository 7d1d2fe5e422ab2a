"""TLS in bytes: bytes from the network in, bytes for the network out, and nothing else.

RFC 5246 (TLS 1.2), RFC 8446 (TLS 1.3), the client's side. This module is what stays on
the heap while connected: records, alerts, application data. The handshake is
`keyfob.tls.phases` with its phases, imported for the handshake and dropped after it.

There is no engine that does not verify: either chain, name, dates and usage of the
server's certificate are judged by `keyfob.pki.path.verify`, and its key has signed this
handshake, or both sides have shown that they hold a pre-shared key, or the secret of a
session that was verified so.

How it is driven, by whoever owns the socket (`keyfob.tls.engine_stream`):

    while not engine.is_open:
        while engine.step():           # one expensive primitive a call
            …                          # give others a turn
        if engine.tx():
            engine.sent(socket.write(engine.tx())); continue
        count = socket.readinto(engine.room()); engine.received(count)    # 0: engine.ended()
    engine.read(view), engine.write(view), engine.close()

Every record's bytes are read exactly, never beyond, so bytes that nobody asked for
stay in the socket. Plain handshake records stream through the buffer and may be of any
size up to 16 KB; a protected record must fit the buffer, which is why the client asks
for small ones (RFC 6066 section 4, RFC 8449).

Errors are sticky: after the first, every call raises it again, but `tx` and `sent`
still carry the alert out. Codes: x509.* of the verifier, tls.* of `errors.txt`.

Not here: renegotiation (refused), compression, 0-RTT, server's side, SSL 3.0 to TLS 1.1.
Not checked: revocation. The 2**64 records of a key of TLS 1.2 are not reached.
"""

import gc
import sys

from micropython import const

from keyfob.errors import KeyfobError

TLS12 = const(0x0303)
TLS13 = const(0x0304)

_CHANGE_CIPHER_SPEC = const(20)
_ALERT = const(21)
_HANDSHAKE = const(22)
_APPLICATION_DATA = const(23)
_HEADER_BYTES = const(5)
_MAX_PLAIN_BYTES = const(16_384)
# IV, padding of a block and MAC of CBC; GCM takes 24 and TLS 1.3 takes 17 and padding.
_OVERHEAD_BYTES = const(64)
# An alert must always find room behind what is not sent yet: header, two bytes, overhead.
_ALERT_BYTES = const(7 + 64)
# Warnings, empty records and refused renegotiations without data between them (RFC 5246
# section 6.2.1 allows empty ones as a defence against traffic analysis); in a handshake, all.
_MAX_IDLE = const(16)
# Of TLS 1.3 under one key; AES-GCM is good for 2**24.5 (RFC 8446 section 5.5).
_MAX_RECORDS = const(1 << 23)
_INTERNAL_ERROR = const(80)


class Engine:
    """One TLS connection, client's side. Made once, never reset.

    ``is_open``: the handshake is over, application data may be read and written.
    ``is_closed``: the server said close_notify. ``is_resumed``: an earlier session was
    taken up. ``error``: the `KeyfobError` that it failed with, or None. ``version`` (0x0303
    or 0x0304) and ``suite`` (number), 0 before they are known. ``alpn``: the protocol that
    the server chose (bytes), or None. ``session``: what the next connection may resume (a
    `keyfob.tls.session.Session`), or None; with TLS 1.3 it comes after the handshake.
    """

    def __init__(
        self,
        host: str,
        anchors,
        now_s: int,
        *,
        client=None,
        session=None,
        psk=None,
        alpn=(),
        versions=(TLS13, TLS12),
        pins=(),
        rx_bytes: int = 1024,
        tx_bytes: int = 512,
        has_rsa_exchange: bool = False,
        has_psk_ke: bool = False,
    ) -> None:
        """Ready to send its ClientHello.

        ``host``: DNS name or IP address, as the certificate must have it in its SAN.
        ``anchors``: an iterable of trust anchors in DER, read when the chain is judged;
        with none, every chain is refused. ``now_s``: Unix seconds, of a clock that was
        set. ``client``: None, or what has ``certificates()`` (list of DER, end-entity
        first) and ``key()`` (an object with ``kind`` and ``sign(scheme, digest)``, RFC
        8446 section 4.2.3), both called when the server asks. ``session``: an earlier
        engine's. ``psk``: None or ``(identity, key)`` in bytes, the key of at least 16;
        only its suites of TLS 1.2 are offered then. ``alpn``: names in bytes, the preferred
        first.
        ``pins``: SHA-256 of a SubjectPublicKeyInfo each, one of which must be on the path.
        ``rx_bytes``: how much one record may carry to us: 512, 1024, 2048 or 4096.
        ``tx_bytes``: how much one of ours carries at most. ``has_rsa_exchange``: offer
        RSA key exchange too, which has no forward secrecy. ``has_psk_ke``: resume TLS 1.3
        without a key exchange, so without forward secrecy of its own: who learns a
        ticket's secret later reads the connections that were resumed from it, one behind
        the other. The server is as verified as ever: that secret comes from a handshake
        that was. One that does not allow it makes a full handshake, a round trip longer.
        """
        self.is_open = False
        self.is_closed = False
        self.is_resumed = False
        self.error: KeyfobError | None = None
        self.version = 0
        self.suite = 0
        self.alpn = None
        self.session = None
        self.seen_bytes = 0
        # For the handshake: the content of the record at hand, rx[at:end] of this kind.
        self.kind = 0
        self.at = 0
        self.end = 0
        self.rx_limit = _MAX_PLAIN_BYTES
        self.tx_limit = tx_bytes
        # Protection of the records in each direction, None before there are keys.
        self.rx_keys = None
        self.tx_keys = None
        # `keyfob.tls.late13`: what a ticket needs, a message in part, a KeyUpdate owed.
        self.late = None
        self.late_message = bytearray()
        self.late_left = 0
        self.owes_update = False
        gc.collect()  # the buffers in one piece each
        self.rx = bytearray(rx_bytes + _OVERHEAD_BYTES)
        self._rx = memoryview(self.rx)
        self._head = bytearray(_HEADER_BYTES)
        self._head_view = memoryview(self._head)
        self._head_end = 0
        self._rx_end = 0  # bytes of the record's body that are in rx
        self.left = 0  # bytes of the record's body that are still to come
        self._is_streamed = False  # whether they can be used before all of them are there
        self._tx = bytearray(_HEADER_BYTES + tx_bytes + _OVERHEAD_BYTES + _ALERT_BYTES)
        self._tx_view = memoryview(self._tx)
        self._tx_at = 0  # complete records, not sent yet: _tx[_tx_at:_tx_end]
        self._tx_end = 0
        self._fill = 0  # end of the record that is being written at _tx_end, or 0
        self._fill_kind = 0
        self._idle = 0
        self.is_ended = False
        base = [name for name in sys.modules if name[:7] == "keyfob."]
        from keyfob.tls.phases import Handshake

        self._handshake: Handshake | None = Handshake(
            self, base, host, anchors, now_s, client, session, psk, alpn, versions, pins,
            rx_bytes, has_rsa_exchange, has_psk_ke,
        )  # fmt: skip

    # The handshake, one primitive at a time.

    def step(self) -> bool:
        """Do one step of the handshake; True while there is more to do without new bytes."""
        if self.error:
            raise self.error
        if not self._handshake:
            return False
        try:
            if not self._handshake.is_over:
                return self._handshake.step()
        except (KeyfobError, MemoryError) as error:
            raise self._failed(error)
        self.is_open = True
        self._idle = 0
        self._end_handshake()
        return False

    def _end_handshake(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake:
            handshake.end()

    # Bytes from the network.

    def room(self) -> memoryview:
        """Where the next bytes from the network go; empty while `step` or `read` has some
        to consume first. Valid until the next call."""
        if self.error or self.is_closed or self.at < self.end:
            return self._rx[:0]
        if self._head_end < _HEADER_BYTES:
            return self._head_view[self._head_end :]
        at = self._rx_end
        return self._rx[at : at + min(self.left, len(self.rx) - at)]

    def received(self, count: int) -> None:
        """``count`` bytes, not 0, were put where `room` said."""
        self.seen_bytes += count
        try:
            if self._head_end < _HEADER_BYTES:
                self._received_header(count)
            else:
                self.left -= count
                self._rx_end += count
                if self._is_streamed:
                    self.at, self.end = 0, self._rx_end
                    if not self.left:
                        self._head_end = 0  # before the keys may change
        except (KeyfobError, MemoryError) as error:
            raise self._failed(error)

    def ended(self) -> None:
        """The network gives no more bytes. Errors, unless close_notify came: tls.truncated,
        tls.closed, tls.no-answer."""
        if self.error:
            raise self.error
        if not self.is_closed:
            self.is_ended = True
            from keyfob.tls.alerts import ended

            raise self._failed(ended(self))

    def _received_header(self, count: int) -> None:
        head = self._head
        self._head_end += count
        kind = head[0]
        limit = len(self.rx)
        is_bad = not _CHANGE_CIPHER_SPEC <= kind <= _APPLICATION_DATA
        if self._head_end == _HEADER_BYTES:
            self.kind = kind
            self.left = size = head[3] << 8 | head[4]
            self._rx_end = 0
            self._is_streamed = kind == _HANDSHAKE and not self.rx_keys
            if self._is_streamed:
                limit = _MAX_PLAIN_BYTES
            is_bad = is_bad or head[1] != 3 or (self.version and head[2] != 3) or size > limit
        if is_bad:
            from keyfob.tls.refusals import header

            raise header(head, self.version, limit, self.seen_bytes == count)

    def record(self) -> int:
        """The type of the record whose content stands in rx[at:end]; -1 if bytes from the
        network are needed. Alerts are dealt with here. For `step` and `read` only."""
        while self.at >= self.end:
            if self._head_end < _HEADER_BYTES:
                return -1
            if self.left:
                if self._is_streamed:
                    self._rx_end = 0
                return -1
            self._head_end = 0
            self._open_record()
        return self.kind

    def _open_record(self) -> None:
        """Of the complete record in rx, find the content; refuse what does not belong there."""
        opened = kind, at, end = self.kind, 0, self._rx_end
        if self.rx_keys and not (kind == _CHANGE_CIPHER_SPEC and self.version == TLS13):
            opened = self.rx_keys.open(self.rx, end, kind)
        is_bad = not opened
        if opened:
            self.kind, self.at, self.end = kind, at, end = opened
            size = end - at
            is_data = self.is_open and kind == _APPLICATION_DATA
            is_bad = (
                size > self.rx_limit
                or (kind == _APPLICATION_DATA and not self.is_open)
                or (kind == _CHANGE_CIPHER_SPEC and (size != 1 or self.rx[at] != 1))
                or (not size and not is_data)
            )
        if is_bad:
            from keyfob.tls.refusals import record

            raise record(self, self._rx_end, opened)
        if kind == _ALERT:
            from keyfob.tls.alerts import received

            received(self)
        elif at == end:
            self.count_idle()
        elif kind == _APPLICATION_DATA:
            self._idle = 0
        elif kind == _CHANGE_CIPHER_SPEC and self.version == TLS13 and self._handshake:
            self.at = end  # means nothing, RFC 8446 appendix D.4
            self.count_idle()

    def count_idle(self) -> None:
        """Something came that has no content. Errors: tls.flood."""
        self._idle += 1
        if self._idle > _MAX_IDLE:
            raise KeyfobError("tls.flood", "%d records without content" % self._idle)

    # Bytes for the network.

    def tx(self) -> memoryview:
        """What is to be sent; empty if nothing. Valid until the next call."""
        return self._tx_view[self._tx_at : self._tx_end]

    def sent(self, count: int) -> None:
        """The first ``count`` bytes of `tx` went out."""
        self._tx_at += count
        if self._tx_at == self._tx_end and not self._fill:
            self._tx_at = self._tx_end = 0

    def put(self, kind: int, data, at: int = 0) -> int:
        """Copy ``data[at:]`` into the record being written, of type ``kind``; how much was
        taken. 0: nothing more goes in, `seal` it and send. For the handshake."""
        keys = self.tx_keys
        if self._fill and self._fill_kind != kind:
            self.seal()
        first = self._tx_end + _HEADER_BYTES + (keys.prefix if keys else 0)
        fill = self._fill or first
        limit = len(self._tx) - (keys.suffix if keys else 0)
        if kind != _ALERT:
            limit -= _ALERT_BYTES
        count = min(len(data) - at, limit - fill, first + self.tx_limit - fill)
        if count <= 0:
            return 0
        self._fill_kind = kind
        self._fill = fill + count
        self._tx[fill : fill + count] = memoryview(data)[at : at + count]
        return count

    def seal(self) -> None:
        """Complete the record being written, if there is one."""
        if not self._fill:
            return
        at, end = self._tx_end, self._fill
        self._fill = 0
        if self.tx_keys:
            end = self.tx_keys.seal(self._tx, at, end, self._fill_kind)
        else:
            put_header(self._tx, at, self._fill_kind, end)
            if not self.version:
                self._tx[at + 2] = 1  # RFC 5246 appendix E.1: old servers look at it
        self._tx_end = end

    def put_alert(self, level: int, number: int) -> None:
        """The alert goes behind what is not sent yet; a record half written goes away."""
        self._fill = 0
        if self.put(_ALERT, bytes((level, number))) == 2:
            self.seal()
        self._fill = 0

    # Application data.

    def read(self, view: memoryview) -> int:
        """Decrypted bytes into ``view``; how many. 0: none here, read from the network; or
        the server said close_notify (`is_closed`)."""
        if self.error:
            raise self.error
        try:
            while True:
                kind = self.record()
                if kind < 0:
                    return 0
                if kind == _APPLICATION_DATA and not self.late_message:
                    at = self.at
                    count = min(len(view), self.end - at)
                    view[:count] = self._rx[at : at + count]
                    self.at = at + count
                    return count
                if self.version == TLS13:
                    gc.collect()  # a piece for the code, before it is read
                    from keyfob.tls import late13

                    late13.received(self)
                else:
                    from keyfob.tls.alerts import renegotiation

                    renegotiation(self)
        except (KeyfobError, MemoryError) as error:
            raise self._failed(error)

    def write(self, view: memoryview) -> int:
        """How much of ``view`` went into a record, which `tx` has now; 0 while there is
        something unsent. Errors: tls.closed."""
        if self.error:
            raise self.error
        if not self.is_open or self.is_closed or self.is_ended:
            raise KeyfobError("tls.closed", "while writing")
        if self._tx_at < self._tx_end:
            return 0
        keys = self.tx_keys
        if self.version == TLS13 and (self.owes_update or keys.sequence >= _MAX_RECORDS):  # type: ignore
            from keyfob.tls import late13

            late13.send_update(self)
        count = self.put(_APPLICATION_DATA, view)
        self.seal()
        return count

    def close(self) -> None:
        """Say close_notify (once); `tx` has it. Nothing may be written any more."""
        if not self.error and not self.is_ended:
            self.put_alert(1, 0)
        self.is_ended = True

    def release(self) -> None:
        """Give back buffers and keys, as nothing will be sent or read any more. Somebody may
        still refer to a connection that is over: MicroPython's collector looks at the
        stack, and takes for references what is left there."""
        self.error = self.error or KeyfobError("tls.closed", "by this side")
        self._handshake = None
        self.rx = self._tx = bytearray(0)
        self._rx = self._tx_view = memoryview(self.rx)
        self._tx_at = self._tx_end = 0
        self.rx_keys = self.tx_keys = self.late = None

    def _failed(self, error) -> KeyfobError:
        """Keep the error and send its alert, if it has one. A MemoryError ends the
        connection too, since part of a message or record is lost with it."""
        if isinstance(error, MemoryError):
            error = KeyfobError("tls.no-memory", "handshake or record")
        self.error = error
        self._end_handshake()
        number = _INTERNAL_ERROR
        try:
            from keyfob.tls.alerts import number_for

            number = number_for(error, self)
        except MemoryError:
            pass  # then the server is told this much, which takes no module
        try:
            if number >= 0 and not self.is_ended:
                self.put_alert(2, number)
        except MemoryError:
            pass  # then the connection just ends
        return error


def put_header(buffer: bytearray, at: int, kind: int, end: int) -> None:
    """The header of the record ``buffer[at:end]``, itself included."""
    size = end - at - _HEADER_BYTES
    buffer[at] = kind
    buffer[at + 1] = buffer[at + 2] = 3
    buffer[at + 3] = size >> 8
    buffer[at + 4] = size & 255
