"""The stream below the TLS engine: a socket, with the peer's records watched.

MicroPython's TLS takes any stream object for its transport. The tap sees ciphertext
only, changes nothing, and is given its socket; it makes no connection.
"""

import errno
import io
import select

from micropython import const

from keyfob.tls.records import RecordWatch

# py/stream.h: the requests that the TLS engine makes of the stream below it.
_IOCTL_POLL = const(3)
_IOCTL_CLOSE = const(4)


class Tap(io.IOBase):
    """``watch`` is what the peer sent; ``is_blocked``: the last write would block.

    The engine calls in from C, where an exception would jump over its frames, so
    errors go back as negative numbers and "would block" as None.
    """

    def __init__(self, sock) -> None:
        self.watch = RecordWatch()
        self.is_blocked = False
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def readinto(self, buffer: bytearray):
        try:
            count = self._sock.readinto(buffer)
        except OSError as error:
            return -error.args[0]
        if count and not self.watch.is_over:
            self.watch.feed(buffer, count)
        return count

    def drain(self) -> None:
        """Watch what the peer still said, after the engine gave up.

        A broker that refuses our certificate sends its alert and closes while we are
        still writing: the engine meets a reset and never reads why.
        """
        rest = bytearray(64)
        while (self.readinto(rest) or 0) > 0:
            pass

    def write(self, buffer: bytearray):
        try:
            count = self._sock.write(buffer)
        except OSError as error:
            return -error.args[0]
        self.is_blocked = count is None
        return count

    def ioctl(self, request: int, argument: int) -> int:
        if request == _IOCTL_POLL:
            self._poll.modify(self._sock, argument)
            for _, flags in self._poll.ipoll(0):
                return flags
            return 0
        if request == _IOCTL_CLOSE:
            self._sock.close()
            return 0
        return -errno.EINVAL
