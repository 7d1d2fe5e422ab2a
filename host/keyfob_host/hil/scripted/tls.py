"""The server's end of one TLS connection, whose records are cut as a case wants them.

OpenSSL between two memory buffers, so that it is known what goes into which record, and so
that a connection can end in any of the ways in which one ends. For one reading thread and
any that write.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time

RECORD_BYTES = 16384  # the most plain text in a record: RFC 8446 section 5.1
_CHUNK_BYTES = 65536
_SEND_TIMEOUT_S = 30.0
_LINGER_S = 0.5
_ALERT = re.compile(r"ALERT_([A-Z_]+)")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: RST instead of FIN


class TlsEnd:
    """Over ``sock``, which it closes. `handshake` first; errors are `OSError`, of which
    `ssl.SSLError` is one."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(_SEND_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=True)
        self._lock = threading.Lock()
        self.is_ended = False  # the client said close_notify, or no more at all
        self.has_close_notify = False
        self.is_reset = False  # by us

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def version(self) -> str:
        """``TLSv1.2``, "" before the handshake is over."""
        return self._ssl.version() or ""

    @property
    def suite(self) -> str:
        """OpenSSL's name of the cipher suite."""
        found = self._ssl.cipher()
        return found[0] if found else ""

    def handshake(self) -> bool:
        """Go on with it, with what came; True when it is over."""
        with self._lock:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                return False
            finally:
                self._flush()  # an alert, where it failed
        return True

    def receive(self) -> bool:
        """Take what came on the socket; False at its end."""
        data = self._sock.recv(_CHUNK_BYTES)
        with self._lock:
            if data:
                self._in.write(data)
            else:
                self._in.write_eof()
                self.is_ended = True
        return bool(data)

    def read(self) -> bytes:
        """All plain text that is there."""
        parts = []
        with self._lock:
            try:
                while part := self._ssl.read(_CHUNK_BYTES):
                    parts.append(part)
                self.is_ended = self.has_close_notify = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLEOFError:
                self.is_ended = True
            except ssl.SSLZeroReturnError:
                self.is_ended = self.has_close_notify = True
            self._flush()
        return b"".join(parts)

    def write(self, data: bytes, record_bytes: int = RECORD_BYTES) -> None:
        """Send ``data`` in records of at most ``record_bytes`` of plain text.

        OpenSSL makes them smaller where the client asked for that (RFC 6066 section 4).
        """
        with self._lock:
            for at in range(0, len(data), record_bytes):
                self._ssl.write(data[at : at + record_bytes])
            self._flush()

    def close(self, how: str) -> None:
        """End it with close_notify (``"fin"``), without (``"cut"``), or by RST (``"reset"``)."""
        with contextlib.suppress(OSError):
            if how == "fin":
                with self._lock:
                    with contextlib.suppress(ssl.SSLError):
                        self._ssl.unwrap()
                    self._flush()
            if how == "reset":
                self.is_reset = True
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            else:
                self._sock.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Give the socket back, after `close`.

        What still comes is read for a moment: a close with bytes unread is a RST, which
        overtakes what was said last.
        """
        end = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self._sock.settimeout(_LINGER_S)
            while not self.is_reset and time.monotonic() < end and self._sock.recv(_CHUNK_BYTES):
                pass
        self._sock.close()

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())


def alert_in(error: ssl.SSLError) -> str:
    """The name of the alert that OpenSSL received (``unknown_ca``), "" if it was none."""
    found = _ALERT.search(error.reason or "")
    return found[1].lower() if found else ""
