"""The bench's time server: NTP version 4 over UDP, truthful or lying on purpose.

Answers client requests (mode 3) as RFC 5905 section 7.3 and RFC 4330 section 5 lay
down: originate timestamp echoed, receive and transmit timestamps, 32-bit seconds that
start again in 2036 (era 1). `Mode` lists the ways it can answer wrongly. It does not
discipline this machine's clock and has no authentication; it is for a bench.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.listeners import who_listens

DEFAULT_PORT = 11123  # the real port, 123, is for root alone
UNIX_EPOCH_IN_NTP_S = 2_208_988_800  # 1970-01-01 in seconds since 1900-01-01
ERA_S = 1 << 32

_PACKET_BYTES = 48
_HEADER = struct.Struct("!BBbbII4s8s8s8s8s")
_MODE_CLIENT, _MODE_SERVER, _MODE_BROADCAST = 3, 4, 5
_PRECISION = -20  # log2 seconds: about a microsecond
_LEAP_NONE, _LEAP_UNSYNCHRONIZED = 0, 3


class Mode(str, Enum):
    """How the server answers; everything but ``OK`` is what a client must refuse."""

    OK = "ok"
    SILENT = "silent"  # no answer at all
    KISS_OF_DEATH = "kiss-of-death"  # stratum 0, code DENY: RFC 4330 section 8
    KISS_RATE = "kiss-rate"  # stratum 0, code RATE: ask less often
    UNSYNCHRONIZED = "unsynchronized"  # leap indicator 3
    STRATUM_0 = "stratum-0"  # unspecified, with no kiss code
    STRATUM_16 = "stratum-16"  # unsynchronized, as RFC 5905 writes it
    WRONG_ORIGINATE = "wrong-originate"  # not an answer to this request
    WRONG_MODE = "wrong-mode"  # a broadcast packet
    WRONG_VERSION = "wrong-version"
    ZERO_TRANSMIT = "zero-transmit"  # no time in it
    TRUNCATED = "truncated"  # 47 bytes
    GARBAGE = "garbage"  # 48 bytes of 0xff


@dataclass(frozen=True)
class Answer:
    """What `query` learnt. ``offset_s``: how far the server's clock is ahead of this one's."""

    leap: int
    version: int
    mode: int
    stratum: int
    reference_id: bytes
    offset_s: float
    delay_s: float


class NtpServer:
    """A server on a thread of its own. A context manager, or `start` and `stop`.

    ``port`` 0 takes a free one, to be read from `port`. `offset_s` and `mode` may be
    changed while it runs; ``clock`` returns the true Unix time in seconds.
    Error of `start`: ``ntp.port-taken``, ``ntp.bad-address``.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        mode: Mode | str = Mode.OK,
        offset_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.port = port
        self.mode = mode
        self.offset_s = offset_s
        self.requests = 0  # packets that came in, answered or not
        self._clock = clock
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        self._mode = Mode(mode)

    def start(self) -> NtpServer:
        """Bind and answer from now on."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        server = socket.socket(family, socket.SOCK_DGRAM)
        try:
            server.bind((self.host, self.port))
        except OSError as error:
            server.close()
            raise _cannot_bind(self.host, self.port, error) from error
        server.settimeout(0.1)
        self.port = server.getsockname()[1]
        self._socket = server
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name="keyfob-ntp", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering; a second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> NtpServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        server = self._socket
        while server is not None and not self._stopping.is_set():
            try:
                request, address = server.recvfrom(1024)
            except TimeoutError:
                continue
            except OSError:  # an ICMP error of an earlier answer (client gone), or closed
                continue
            self.requests += 1
            received_s = self._clock() + self.offset_s
            reply = answer(request, self._mode, received_s, self._clock() + self.offset_s)
            if reply is not None:
                try:
                    server.sendto(reply, address)
                except OSError:  # no way back to this client; the others matter
                    continue


def answer(request: bytes, mode: Mode, received_s: float, transmit_s: float) -> bytes | None:
    """The reply to ``request`` (bytes of one datagram), or None for none.

    Times are Unix seconds. A packet that is no client request gets no reply.
    """
    if mode is Mode.SILENT or len(request) < _PACKET_BYTES:
        return None
    version = request[0] >> 3 & 7
    if request[0] & 7 != _MODE_CLIENT or not 1 <= version <= 4:
        return None
    if mode is Mode.GARBAGE:
        return b"\xff" * _PACKET_BYTES
    leap, stratum, reference_id = _LEAP_NONE, 1, b"LOCL"
    reply_mode, originate = _MODE_SERVER, request[40:48]
    if mode in (Mode.KISS_OF_DEATH, Mode.KISS_RATE):
        leap, stratum = _LEAP_UNSYNCHRONIZED, 0
        reference_id = b"DENY" if mode is Mode.KISS_OF_DEATH else b"RATE"
    elif mode is Mode.UNSYNCHRONIZED:
        leap = _LEAP_UNSYNCHRONIZED
    elif mode is Mode.STRATUM_0:
        stratum, reference_id = 0, bytes(4)
    elif mode is Mode.STRATUM_16:
        stratum = 16
    elif mode is Mode.WRONG_ORIGINATE:
        originate = bytes(byte ^ 0xFF for byte in originate)
    elif mode is Mode.WRONG_MODE:
        reply_mode = _MODE_BROADCAST
    elif mode is Mode.WRONG_VERSION:
        version = 7
    transmit = bytes(8) if mode is Mode.ZERO_TRANSMIT else ntp_timestamp(transmit_s)
    reply = _HEADER.pack(
        leap << 6 | version << 3 | reply_mode,
        stratum,
        request[2] if request[2] < 18 else 6,  # poll: the client's own, if it makes sense
        _PRECISION,
        0,  # root delay and
        0,  # root dispersion: this is a primary server
        reference_id,
        ntp_timestamp(received_s - 1),  # reference: the clock was set a second ago
        originate,
        ntp_timestamp(received_s),
        transmit,
    )
    return reply[:-1] if mode is Mode.TRUNCATED else reply


def ntp_timestamp(unix_s: float) -> bytes:
    """Unix seconds as the 64-bit NTP timestamp: era dropped, as RFC 5905 section 6 has it."""
    whole = int(unix_s // 1)
    fraction = int((unix_s - whole) * ERA_S) & (ERA_S - 1)
    return struct.pack("!II", (whole + UNIX_EPOCH_IN_NTP_S) % ERA_S, fraction)


def unix_time(timestamp: bytes, near_s: float) -> float:
    """An NTP timestamp as Unix seconds, in the era that brings it nearest to ``near_s``."""
    in_era_0: float = int.from_bytes(timestamp, "big") / ERA_S - UNIX_EPOCH_IN_NTP_S
    return in_era_0 + round((near_s - in_era_0) / ERA_S) * ERA_S


def query(host: str, port: int, *, timeout_s: float = 1.0) -> Answer:
    """Ask ``host`` for the time, once. Error ``ntp.no-answer``.

    For status and readiness: what came is reported and not judged.
    """
    request_s = time.time()
    cookie = ntp_timestamp(request_s)
    request = bytes([4 << 3 | _MODE_CLIENT]) + bytes(39) + cookie
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout_s)
            client.connect((host, port))
            client.send(request)
            reply = client.recv(1024)
        arrival_s = time.time()
    except OSError as error:
        raise KeyfobHostError(
            "ntp.no-answer",
            "the time server does not answer",
            evidence=f"{host}:{port}: {error}",
            fix="keyfob ntp up",
            status=ExitStatus.NETWORK,
        ) from error
    if len(reply) < _PACKET_BYTES:
        raise KeyfobHostError(
            "ntp.no-answer",
            "what answers is not a time server",
            evidence=f"{host}:{port}: {len(reply)} bytes, expected {_PACKET_BYTES}",
            fix="keyfob ntp up --mode ok",
            status=ExitStatus.NETWORK,
        )
    receive_s = unix_time(reply[32:40], arrival_s)
    transmit_s = unix_time(reply[40:48], arrival_s)
    return Answer(
        leap=reply[0] >> 6,
        version=reply[0] >> 3 & 7,
        mode=reply[0] & 7,
        stratum=reply[1],
        reference_id=reply[12:16],
        offset_s=((receive_s - request_s) + (transmit_s - arrival_s)) / 2,
        delay_s=(arrival_s - request_s) - (transmit_s - receive_s),
    )


def _cannot_bind(host: str, port: int, error: OSError) -> KeyfobHostError:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        taken = error.errno == errno.EADDRINUSE
        held = f"held by {who_listens(port, 'udp')}" if taken else str(error.strerror)
        return KeyfobHostError(
            "ntp.port-taken" if taken else "ntp.port-privileged",
            f"the time server cannot have UDP port {port}",
            evidence=f"{host}:{port}: {held}",
            fix=f"take another port: keyfob ntp up --port {DEFAULT_PORT + 1}",
            status=ExitStatus.HOST,
        )
    return KeyfobHostError(
        "ntp.bad-address",
        "the time server cannot listen on this address",
        evidence=f"{host}:{port}: {error.strerror or error}",
        fix="keyfob ntp up --bind 127.0.0.1",
        status=ExitStatus.HOST,
    )
