"""A verified TLS connection that stands: bytes to and from the network.

There is one way to a stream, `connect`, and it leads through every check. What only
connecting needs is loaded for that, one step after the other, and let go of again.
"""

import asyncio
import select

from keyfob import drop
from keyfob.errors import KeyfobError


async def connect(host: str, port: int, identity, clock) -> "Stream":
    """A verified TLS connection to ``host`` (DNS name or IP address), client certificate sent.

    ``identity``: `keyfob.store.Identity`. ``clock``: `keyfob.clock.Clock`. The clock is
    set, trust anchors are there, the engine's verify mode reads back as CERT_REQUIRED,
    or nothing is sent; the rest is checked in `keyfob.tls.handshake`. Not checked:
    revocation (no CRL reaches the board). Errors: clock.never-set, store.*, x509.*, tls.*.
    """
    now_s = clock.now_s()
    try:
        # First, because the context wants the largest piece of memory.
        from keyfob.tls import context as making

        context = making.make_context(identity)
        del making
        _forget()
        from keyfob import tcp

        sock = await tcp.connect(host, port)
        del tcp
        _forget()
        from keyfob.tls import handshake

        engine = await handshake.shake_hands(context, sock, host, now_s, identity)
        del handshake
        _forget()
        stream = Stream(engine, sock)
        try:
            from keyfob.tls.context import check_verifies

            check_verifies(context)
        except BaseException:
            stream.close()
            raise
        return stream
    finally:
        _forget()


def _forget() -> None:
    drop("tcp", "tls.context", "tls.handshake", "tls.tap", "tls")


class Stream:
    """One TLS connection. Made by `connect`; closed for good after any error."""

    def __init__(self, engine, sock) -> None:
        """``engine``: the TLS socket after its handshake. ``sock``: that below it."""
        self._is_closed = False
        self._tls = engine
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)

    def session(self) -> tuple:
        """(TLS version, cipher suite) of the connection."""
        suite, version = self._tls.cipher()
        return version, suite

    def read_now(self, view: memoryview):
        """Bytes read into ``view``, None if there are none. Errors: tls.closed, tls.*.

        Ask until it is None before `readable`: bytes that the engine holds decrypted
        make no socket readable.
        """
        try:
            count = self._tls.readinto(view)
        except OSError as error:
            raise failure(error, "reading")
        if count == 0:
            raise KeyfobError("tls.closed", "by the broker")
        return count

    def write_now(self, view: memoryview):
        """How much of ``view`` was taken, None if nothing: then the same ``view`` is to be
        written again, as mbedTLS wants it. One record, if its buffer holds it.
        Errors: tls.*."""
        if self._is_closed:
            raise KeyfobError("tls.closed", "while writing")
        try:
            return self._tls.write(view)
        except OSError as error:
            raise failure(error, "writing")

    def poll(self, limit_ms: int) -> bool:
        """Whether the socket is readable; waits for it so long at most, and holds up
        every other task."""
        for _ in self._poller.ipoll(limit_ms):
            return True
        return False

    def readable(self):
        """To be awaited: returns when the socket may be readable."""
        # As asyncio.StreamReader does it (1.21 to 1.29), whose module takes 900 bytes.
        yield asyncio.core._io_queue.queue_read(self._sock)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close engine and socket. MicroPython sends no close_notify; MQTT has DISCONNECT."""
        self._is_closed = True
        self._tls.close()
        self._sock.close()


def failure(error: OSError, doing: str) -> KeyfobError:
    """What an OSError of the socket or the engine means."""
    try:
        from keyfob.tls.reasons import os_error

        return os_error(error, doing)
    except MemoryError:
        return KeyfobError("tls.no-memory", doing + ": " + str(error))
    finally:
        drop("tls.reasons", "tls")


def refuse(der: memoryview, depth: int) -> int:
    """The verify callback of an engine before its handshake and after: no chain will do."""
    return -1
