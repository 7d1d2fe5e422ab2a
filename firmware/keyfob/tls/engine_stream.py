"""A verified connection of Keyfob's own engine that stands: the interface of `keyfob.stream`.

`keyfob.tls.opening` makes one. Nothing here judges anything: bytes go between the engine
and a socket that does not block.
"""

import select
import time

from micropython import const

from keyfob import unload
from keyfob.errors import KeyfobError
from keyfob.stream import failure

# A full handshake with RSA-4096 on an ESP8266 of 80 MHz stays below; a broker that
# waits less closes.
_HANDSHAKE_LIMIT_MS = const(120_000)
_POLL_MS = const(5)
# Of records without data, half ones too, before others have their turn.
_MOST_PIECES = const(32)


class EngineStream:
    """``engine``: a `keyfob.tls.engine.Engine`; its ``session`` may be given to the next one.
    Closed for good after any error."""

    def __init__(self, engine, sock) -> None:
        """``sock``: connected, not blocking; it is closed with the stream."""
        self.engine = engine
        self.session = None  # for the next connection, once this one is closed
        self._sock = sock
        self._taken = 0
        self._started_ms = time.ticks_ms()
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)

    def shake(self) -> bool:
        """Do one step of the handshake, or look once whether the network has something for
        it; whether it is over. To be called again after ``pause_ms``. Errors: x509.*, tls.*"""
        engine = self.engine
        self.pause_ms = 0
        if engine.step():
            return False
        if engine.is_open and not engine.tx():
            return True
        if not (self.send() if engine.tx() else self.fill()):
            self.pause_ms = _POLL_MS
        # Of a peer that never stops sending, too.
        if time.ticks_diff(time.ticks_ms(), self._started_ms) > _HANDSHAKE_LIMIT_MS:
            detail = "%d bytes from the broker in %d ms" % (engine.seen_bytes, _HANDSHAKE_LIMIT_MS)
            raise KeyfobError("tls.handshake-timeout", detail)
        return False

    def facts(self) -> dict:
        """Of the connection: ``version`` of TLS, ``cipher`` suite, whether it is ``resumed``,
        and the ``alpn`` protocol if one was chosen."""
        from keyfob.tls.suites import facts

        unload("keyfob.tls.suites")
        return facts(self.engine)

    def read_now(self, view: memoryview):
        """Bytes read into ``view``, None if there are none. Errors: tls.*; of a connection
        that ended, tls.closed after close_notify and tls.truncated without.

        Ask until it is None before `readable`: bytes that the engine holds decrypted make
        no socket readable.
        """
        engine, left = self.engine, _MOST_PIECES
        while True:
            count = engine.read(view)
            if count:
                return count
            if engine.is_closed:
                raise KeyfobError("tls.closed", "by the broker")
            if engine.tx():  # what the engine itself has to say: alerts, key updates
                self.send()
            left -= 1
            # Nothing is held back here: what is unread makes the socket readable.
            if not left or not self.fill():
                return None

    def write_now(self, view: memoryview):
        """How much of ``view`` was sent, in one record; None if it did not all go out yet:
        then the same ``view`` is to be written again. Errors: tls.*."""
        engine = self.engine
        if engine.tx():
            self.send()
        if not self._taken and not engine.tx():
            self._taken = engine.write(view)
            self.send()
        if engine.tx():
            return None
        taken, self._taken = self._taken, 0
        return taken or None

    def poll(self, limit_ms: int) -> bool:
        """Whether the socket is readable; waits for it so long at most, and holds up
        every other task."""
        for _ in self._poller.ipoll(limit_ms):
            return True
        return False

    def readable(self):
        """To be awaited: returns when the socket may be readable."""
        import asyncio

        # As asyncio.StreamReader does it (1.21 to 1.29), whose module takes 900 bytes.
        yield asyncio.core._io_queue.queue_read(self._sock)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Say close_notify, as far as that is possible at once, and close the socket."""
        try:
            self.engine.close()
            # close_notify, or the alert of the error. Why it cannot be sent nobody asks any more.
            self._sock.write(self.engine.tx())
        except (KeyfobError, OSError, MemoryError):
            pass
        self.session = self.engine.session
        self.engine.release()
        self.engine = None
        self._sock.close()

    # Between engine and socket.

    def fill(self) -> bool:
        """Bytes from the socket into the engine; whether there were any."""
        engine = self.engine
        room = engine.room()
        if not room:
            return False
        try:
            count = self._sock.readinto(room)
        except OSError as error:
            raise failure(error, "reading")
        if count is None:
            return False
        if count:
            engine.received(count)
        else:
            engine.ended()
        return True

    def send(self) -> bool:
        """Bytes from the engine into the socket; whether any went."""
        engine = self.engine
        try:
            count = self._sock.write(engine.tx())
        except OSError as error:
            from keyfob.tls.os_errors import while_writing

            raise while_writing(self, error)
        if count:
            engine.sent(count)
        return bool(count)
