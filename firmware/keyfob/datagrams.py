"""One datagram there and one back, for the time; it carries nothing else."""

import errno
import socket
import time

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.waiting import pause

_DATAGRAM_BYTES = const(128)
_POLL_MS = const(5)


async def exchange(server: str, packet: bytes, limit_ms: int) -> bytes:
    """Send ``packet`` to ``server``, ``host`` or ``host:port`` as the settings have it; the
    first datagram back. Errors: clock.no-server (the name does not resolve),
    clock.no-answer.
    """
    host, port = (server + ":123").split(":")[:2]
    try:
        found = socket.getaddrinfo(host, int(port), 0, socket.SOCK_DGRAM)
        if not found:  # as the ESP8266 says that a name does not exist
            raise OSError(errno.ENOENT)
        sock = socket.socket(found[0][0], socket.SOCK_DGRAM)
    except OSError as error:
        raise KeyfobError("clock.no-server", str(error))
    try:
        sock.setblocking(False)
        sock.sendto(packet, found[0][-1])
        started_ms = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), started_ms) < limit_ms:
            try:
                return sock.recv(_DATAGRAM_BYTES)
            except OSError as error:
                if error.args[0] != errno.EAGAIN:
                    raise
            await pause(_POLL_MS)
    except OSError as error:
        raise KeyfobError("clock.no-answer", str(error))
    finally:
        sock.close()
    raise KeyfobError("clock.no-answer", "%d ms" % limit_ms)
