"""A verified connection of the firmware's own mbedTLS that stands: bytes to and from the network.

`keyfob.tls.mbedtls` makes one.
"""

import select

from keyfob.errors import KeyfobError
from keyfob.stream import failure


class MbedtlsStream:
    """One TLS connection; closed for good after any error."""

    def __init__(self, engine, sock) -> None:
        """``engine``: the TLS socket after its handshake. ``sock``: that below it."""
        self._is_closed = False
        self._tls = engine
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)

    def facts(self) -> dict:
        """Of the connection: ``version`` of TLS, ``cipher`` suite."""
        suite, version = self._tls.cipher()
        return {"version": version, "cipher": suite}

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
        import asyncio

        # As asyncio.StreamReader does it (1.21 to 1.29), whose module takes 900 bytes.
        yield asyncio.core._io_queue.queue_read(self._sock)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close engine and socket. MicroPython sends no close_notify; MQTT has DISCONNECT."""
        self._is_closed = True
        self._tls.close()
        self._sock.close()
