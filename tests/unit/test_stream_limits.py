"""keyfob.tls.mbedtls_stream below an engine that blocks, fails or ends: limits and codes.

The engine is scripted, because a real one cannot be made to block for long on one
machine; verification itself is tested against the real engine in tests/bench.
"""

import asyncio
import os
import socket
import sys

from device_support import IS_MICROPYTHON, code_of, refusal, run

import keyfob
from keyfob.tls import context as tls_context
from keyfob.tls.context import check_verifies
from keyfob.tls.mbedtls import refuse
from keyfob.tls.mbedtls_stream import MbedtlsStream


class Engine:
    """Gives the prepared results of its calls, one after the other; the last one for ever."""

    def __init__(self, *results):
        self._results = list(results)
        self.written = []

    def _next(self):
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, OSError):
            raise result
        return result

    def write(self, view):
        count = self._next()
        if count:
            count = min(count, len(view))
            self.written.append(bytes(view[:count]))
        return count

    def readinto(self, view):
        return self._next()


class Bare(MbedtlsStream):
    def __init__(self, engine):
        self._tls = engine
        self._is_closed = False


def test_a_write_takes_what_the_engine_takes():
    engine = Engine(3, None, 100)
    stream = Bare(engine)
    assert [stream.write_now(memoryview(b"0123456789")[at:]) for at in (0, 3, 3)] == [3, None, 7]
    assert engine.written == [b"012", b"3456789"]


def test_a_write_to_a_closed_stream_is_refused():
    stream = Bare(Engine(1))
    stream._is_closed = True
    assert code_of(stream.write_now, memoryview(b"x")) == "tls.closed"


def test_reading_does_not_wait():
    stream = Bare(Engine(None, 5))
    assert [stream.read_now(memoryview(bytearray(8))) for _ in range(2)] == [None, 5]


def test_an_end_of_the_stream_is_told_as_closed():
    assert code_of(Bare(Engine(0)).read_now, memoryview(bytearray(8))) == "tls.closed"


def test_errors_of_the_engine_become_codes():
    stream = Bare(Engine(OSError(104)))
    assert code_of(stream.read_now, memoryview(bytearray(8))) == "tls.reset"
    error = refusal(stream.write_now, memoryview(b"x"))
    assert (error.code, error.detail) == ("tls.reset", "writing: 104")


class Context:
    pass


def test_only_a_verify_mode_that_reads_back_is_believed():
    had = getattr(tls_context.tls, "CERT_REQUIRED", None)
    context = Context()
    error = refusal(check_verifies, context)
    assert (error.code, error.detail) == (
        "tls.cannot-verify",
        "verify_mode reads None, want %s" % had,
    )
    for mode in (0, 1, None, "2"):
        context.verify_mode = mode
        assert code_of(check_verifies, context) == "tls.cannot-verify"


def test_outside_the_handshake_every_chain_is_refused():
    assert refuse(b"", 0) != 0


def test_waiting_ends_when_the_socket_is_readable():
    if not IS_MICROPYTHON:
        return  # it waits by the parts of MicroPython's own asyncio
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = _bind(sock)
    stream = Bare(Engine(None))
    stream._sock = sock
    ended = []

    async def wait():
        await stream.readable()
        ended.append("waiting")

    async def check():
        task = asyncio.create_task(wait())
        await asyncio.sleep_ms(30)
        assert ended == []
        sock.sendto(b"x", address)
        await asyncio.wait_for_ms(task, 1_000)
        sock.recv(1)
        try:
            await asyncio.wait_for_ms(stream.readable(), 30)
        except asyncio.TimeoutError:
            ended.append("time limit")

    run(check())
    sock.close()
    assert ended == ["waiting", "time limit"]


def _bind(sock):
    """The address of a free port; MicroPython does not tell the one of port 0."""
    while True:
        port = 20_000 + int.from_bytes(os.urandom(2), "big") % 12_000
        address = socket.getaddrinfo("127.0.0.1", port)[0][-1]
        try:
            sock.bind(address)
            return address
        except OSError:
            pass


def test_an_error_that_finds_no_memory_for_its_explanation_is_told_all_the_same():
    from keyfob.tls import os_errors

    kept, os_errors.os_error = os_errors.os_error, _no_memory
    try:
        error = refusal(Bare(Engine(OSError(104))).read_now, memoryview(bytearray(8)))
    finally:
        os_errors.os_error = kept
    assert error.code == "tls.no-memory"
    assert error.detail.startswith("reading: ") and "104" in error.detail
    assert "keyfob.tls.os_errors" not in sys.modules


def _no_memory(error, doing):
    raise MemoryError


def test_what_is_let_go_of_is_loaded_again():
    from keyfob.tls import reasons as first

    stays = keyfob.tls
    keyfob.drop("tls.reasons", "tls.reasons", "tls.never-loaded")
    assert "keyfob.tls.reasons" not in sys.modules
    assert not hasattr(stays, "reasons")
    assert first.alert(48).code == "tls.alert-unknown-ca"
    from keyfob.tls import reasons as second

    assert second is not first
