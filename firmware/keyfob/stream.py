"""Bytes to and from the network: name look-up, datagrams, and verified TLS over TCP.

The only module that touches `socket` and `tls`. There is one way to a stream,
`connect`, and it leads through every check: the clock is set, trust anchors are
there, the engine's verify mode reads back as CERT_REQUIRED, the server name is
given, the engine showed us the broker's chain during the handshake, and each of its
certificates is of version 3 with the names in the SAN. mbedTLS checks chain,
signatures, validity, name (DNS or IP SAN), key usage, EKU and path length.

Not checked: revocation (no CRL reaches the board). `getaddrinfo` blocks the whole
program for as long as the port's resolver takes; no port offers another.
"""

import asyncio
import errno
import gc
import select
import socket
import time

import tls
from micropython import const

from keyfob.config import split_server
from keyfob.errors import KeyfobError
from keyfob.tls import reasons
from keyfob.tls.chain import Chain
from keyfob.tls.tap import Tap

_CONNECT_LIMIT_MS = const(10_000)
_HANDSHAKE_LIMIT_MS = const(30_000)
_POLL_MS = const(5)
_DATAGRAM_BYTES = const(128)


async def connect(host: str, port: int, identity, clock) -> "Stream":
    """A verified TLS connection to ``host`` (DNS name or IP address), client certificate sent.

    ``identity``: `keyfob.store.Identity`. ``clock``: `keyfob.clock.Clock`. Nothing
    is sent before the clock, the store and the engine are found able to verify.
    Errors: clock.never-set, store.*, x509.*, tls.*.
    """
    now_s = clock.now_s()
    chain = Chain(host, now_s, identity)
    context = _make_context(identity, chain)
    raw = await _connect_tcp(host, port)
    stream = None
    try:
        stream = Stream(context, raw, host, chain)
        await stream.handshake()
        return stream
    except BaseException:
        if stream:
            stream.close()
        raw.close()
        raise


async def exchange_datagram(server: str, packet: bytes, limit_ms: int) -> bytes:
    """Send ``packet`` to ``server`` (``host`` or ``host:port``); the first datagram back.

    Errors: clock.no-server (the name does not resolve), clock.no-answer.
    """
    host, port = split_server(server)
    try:
        address = _look_up(host, port, socket.SOCK_DGRAM)
        sock = socket.socket(address[0], socket.SOCK_DGRAM)
    except OSError as error:
        raise KeyfobError("clock.no-server", str(error))
    try:
        sock.setblocking(False)
        sock.sendto(packet, address[-1])
        started_ms = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), started_ms) < limit_ms:
            try:
                return sock.recv(_DATAGRAM_BYTES)
            except OSError as error:
                if error.args[0] != errno.EAGAIN:
                    raise
            await asyncio.sleep_ms(_POLL_MS)
    except OSError as error:
        raise KeyfobError("clock.no-answer", str(error))
    finally:
        sock.close()
    raise KeyfobError("clock.no-answer", "%d ms" % limit_ms)


class Stream:
    """One TLS connection. Made by `connect`; closed for good after any error."""

    def __init__(self, context, raw, host: str, chain: Chain) -> None:
        self._is_closed = False
        self._raw = raw
        self._tap = Tap(raw)
        self._chain = chain
        self._context = context
        self._readable = asyncio.StreamReader(raw)
        self._poller = select.poll()
        self._poller.register(raw, select.POLLIN)
        gc.collect()  # the engine wants its record buffers in one piece each
        try:
            # The socket does not block, so the handshake is driven by reading.
            self._tls = context.wrap_socket(
                self._tap, server_hostname=host, do_handshake_on_connect=False
            )
        except OSError as error:
            raise reasons.os_error(error, "setting up TLS")

    async def handshake(self) -> None:
        """Drive the handshake to its end, then make sure that the chain was verified."""
        try:
            await asyncio.wait_for_ms(self._drive(), _HANDSHAKE_LIMIT_MS)
        except asyncio.TimeoutError:
            detail = "%d bytes from the broker in %d ms" % (
                self._tap.watch.seen_bytes,
                _HANDSHAKE_LIMIT_MS,
            )
            raise KeyfobError("tls.handshake-timeout", detail)
        check_verifies(self._context)
        if not self._chain.was_judged:
            raise KeyfobError("tls.cannot-verify", "the engine showed no certificate chain")

    async def _drive(self) -> None:
        byte = bytearray(1)
        watch = self._tap.watch
        while not watch.is_over:
            try:
                count = self._tls.readinto(byte)
            except ValueError as error:
                raise self._chain.error or reasons.refusal(str(error), self._chain)
            except OSError as error:
                raise self._handshake_error(error)
            if count is None and not watch.is_over:
                await self._wait()
            elif count is not None:
                # MQTT lets no broker speak before it has seen our CONNECT.
                raise self._closed_error(count)

    async def _wait(self) -> None:
        if self._tap.is_blocked:
            await asyncio.sleep_ms(_POLL_MS)
        else:
            await self._readable.read(0)

    def _handshake_error(self, error: OSError) -> KeyfobError:
        watch = self._tap.watch
        if self._chain.error:
            return self._chain.error
        self._tap.drain()
        if watch.alert >= 0:
            return reasons.alert(watch.alert)
        if not watch.is_tls:
            return KeyfobError("tls.not-tls", "first bytes from the broker are no TLS record")
        if watch.seen_bytes == 0:
            return self._closed_error(0)
        return reasons.os_error(error, "handshake")

    def _closed_error(self, count: int) -> KeyfobError:
        if self._tap.watch.seen_bytes == 0:
            return KeyfobError("tls.no-answer", "closed before its first byte")
        return KeyfobError("tls.closed", "%d bytes during the handshake" % count)

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
            raise reasons.os_error(error, "reading")
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
            raise reasons.os_error(error, "writing")

    def poll(self, limit_ms: int) -> bool:
        """Whether the socket is readable; waits for it so long at most, and holds up
        every other task."""
        for _ in self._poller.ipoll(limit_ms):
            return True
        return False

    async def readable(self) -> None:
        """Return when the socket may be readable."""
        await self._readable.read(0)

    def close(self) -> None:
        """Close engine and socket. MicroPython sends no close_notify; MQTT has DISCONNECT."""
        self._is_closed = True
        self._tls.close()
        self._raw.close()


def check_verifies(context) -> None:
    """Refuse an engine that does not verify. Errors: tls.cannot-verify.

    The ESP8266's axTLS ignores every write to the attribute and reads CERT_NONE for
    ever; its module does not even have the name CERT_REQUIRED.
    """
    required = getattr(tls, "CERT_REQUIRED", None)
    seen = getattr(context, "verify_mode", None)
    if required is None or seen != required:
        detail = "verify_mode reads %s, want %s" % (seen, required)
        raise KeyfobError("tls.cannot-verify", detail)


def _require_verification(context, chain: Chain) -> None:
    try:
        context.verify_mode = getattr(tls, "CERT_REQUIRED", None)
        context.verify_callback = chain.see
    except (AttributeError, TypeError) as error:
        raise KeyfobError("tls.cannot-verify", str(error))
    check_verifies(context)


def _make_context(identity, chain: Chain):
    gc.collect()
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    _require_verification(context, chain)
    _load_identity(context, identity)
    return context


def _load_identity(context, identity) -> None:
    for name in identity.names("ca"):
        try:
            context.load_verify_locations(identity.read(name))
        except (ValueError, OSError) as error:
            raise KeyfobError("x509.bad-anchor", "%s: %s" % (name, error))
    certificates = [identity.read(name) for name in identity.names("cert")]
    try:
        context.load_cert_chain(_chain_of(certificates), identity.read("key.der"))
    except (ValueError, OSError) as error:
        code = "tls.bad-key" if "key" in str(error) else "x509.bad-certificate"
        detail = str(error)
        if len(certificates) > 1:
            detail += "; with %d intermediates, which take an engine that reads PEM" % (
                len(certificates) - 1
            )
        raise KeyfobError(code, detail)


def _chain_of(certificates: list) -> bytes:
    """The chain as `load_cert_chain` takes it: one DER, or PEM when there are several.

    mbedTLS reads one certificate of DER and stops; of PEM it reads all.
    """
    if len(certificates) == 1:
        return certificates[0]
    import binascii  # seldom needed: most chains are one certificate

    text = b""
    for der in certificates:
        text += b"-----BEGIN CERTIFICATE-----\n" + binascii.b2a_base64(der)
        text += b"-----END CERTIFICATE-----\n"
    return text


def _look_up(host: str, port: int, kind: int) -> tuple:
    """The first address of ``host``. Never kept: it may change between connections."""
    found = socket.getaddrinfo(host, port, 0, kind)
    if not found:  # as the ESP8266 says that a name does not exist
        raise OSError(errno.ENOENT)
    return found[0]


async def _connect_tcp(host: str, port: int):
    """A connected socket that does not block. Errors: tls.name-not-found, tls.refused, …"""
    try:
        address = _look_up(host, port, socket.SOCK_STREAM)
    except OSError as error:
        raise KeyfobError("tls.name-not-found", "%s: %s" % (host, error))
    doing = "connecting to %s:%d" % (host, port)
    try:
        sock = socket.socket(address[0], socket.SOCK_STREAM)
    except OSError as error:
        raise reasons.os_error(error, doing)
    try:
        await _connect_socket(sock, address[-1], doing)
    except OSError as error:
        sock.close()
        raise reasons.os_error(error, doing)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_socket(sock, address, doing: str) -> None:
    sock.setblocking(False)
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
        await asyncio.sleep_ms(_POLL_MS)
