"""A TCP connection that does not block. It carries nothing but TLS: see `keyfob.stream`.

`getaddrinfo` blocks the whole program for as long as the port's resolver takes; no
port offers another.
"""

import errno
import select
import socket
import time

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.stream import failure
from keyfob.waiting import pause

_CONNECT_LIMIT_MS = const(10_000)
_POLL_MS = const(5)


async def connect(host: str, port: int):
    """A connected socket that does not block. Errors: tls.name-not-found, tls.refused, …"""
    try:
        # Never kept: the address may change between connections.
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        if not found:  # as the ESP8266 says that a name does not exist
            raise OSError(errno.ENOENT)
    except OSError as error:
        raise KeyfobError("tls.name-not-found", "%s: %s" % (host, error))
    doing = "connecting to %s:%d" % (host, port)
    sock = None
    try:
        sock = socket.socket(found[0][0], socket.SOCK_STREAM)
        sock.setblocking(False)
        await _connect(sock, found[0][-1], doing)
        return sock
    except BaseException as error:
        if sock:
            sock.close()
        if isinstance(error, OSError):
            raise failure(error, doing)
        raise


async def _connect(sock, address, doing: str) -> None:
    try:
        sock.connect(address)
        return
    except OSError as error:
        if error.args[0] != errno.EINPROGRESS:
            raise
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    started_ms = time.ticks_ms()
    while True:
        for _, flags in poller.ipoll(0):
            if flags & (select.POLLERR | select.POLLHUP):
                sock.connect(address)  # raises what the first attempt met
                raise OSError(errno.ECONNREFUSED)
            return
        if time.ticks_diff(time.ticks_ms(), started_ms) > _CONNECT_LIMIT_MS:
            raise KeyfobError("tls.connect-timeout", "%s: %d ms" % (doing, _CONNECT_LIMIT_MS))
        await pause(_POLL_MS)
