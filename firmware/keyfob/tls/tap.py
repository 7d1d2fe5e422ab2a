"""The stream below the TLS engine: a socket, with the peer's records watched.

MicroPython's TLS takes any stream object for its transport. The tap sees ciphertext
only, changes nothing, and is given its socket; it makes no connection, and whoever
wants to wait for the socket or to close it does so with the socket itself.
"""

import errno
import io

from micropython import const

# py/stream.h: all that is asked of it besides reading and writing.
_IOCTL_CLOSE = const(4)


class Tap(io.IOBase):
    """``watch`` gets what the peer sends: a `keyfob.tls.records.RecordWatch`, or None.

    The engine calls in from C, where an exception would jump over its frames, so
    errors go back as negative numbers and "would block" as None.
    """

    def __init__(self, sock, watch=None) -> None:
        self.watch = watch
        self.reads = 0  # how many more while it watches: the engine reads on until there is nothing
        self._sock = sock

    def readinto(self, buffer: bytearray):
        if self.watch:
            if not self.reads:
                return None
            self.reads -= 1
        try:
            count = self._sock.readinto(buffer)
        except OSError as error:
            return -error.args[0]
        if count and self.watch:
            self.watch.feed(buffer, count)
        return count

    def write(self, buffer: bytearray):
        try:
            return self._sock.write(buffer)
        except OSError as error:
            return -error.args[0]

    def ioctl(self, request: int, argument: int) -> int:
        return 0 if request == _IOCTL_CLOSE else -errno.EINVAL
