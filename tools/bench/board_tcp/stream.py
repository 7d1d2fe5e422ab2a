"""The firmware's stream without TLS, for measuring and for cutting MQTT at known bytes.

It stands in for `keyfob.stream` in copies of the firmware that never leave this
machine; the firmware itself has no way to an unverified connection.
"""

import errno
import select
import socket

from keyfob.errors import KeyfobError


async def connect(host, port, identity, clock, settings, session=None):
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.connect(address[-1])
    except OSError as error:
        sock.close()
        raise KeyfobError("tls.refused", str(error))
    sock.setblocking(False)
    return Stream(sock)


class Stream:
    def __init__(self, sock):
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)

    def facts(self):
        return {"version": "none", "cipher": "none"}

    def read_now(self, view):
        try:
            count = self._sock.readinto(view)
        except OSError as error:
            raise _failure(error)
        if count == 0:
            raise KeyfobError("tls.closed", "by the broker")
        return count

    def write_now(self, view):
        try:
            return self._sock.write(view)
        except OSError as error:
            raise _failure(error)

    def poll(self, limit_ms):
        for _ in self._poller.ipoll(limit_ms):
            return True
        return False

    def readable(self):
        import asyncio

        yield asyncio.core._io_queue.queue_read(self._sock)

    def close(self):
        self._sock.close()


def _failure(error):
    gone = error.args[0] in (errno.ECONNRESET, 32)
    return KeyfobError("tls.reset" if gone else "tls.failed", str(error))


def unload(empties=False):
    pass
