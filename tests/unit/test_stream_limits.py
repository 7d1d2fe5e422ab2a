"""keyfob.stream below an engine that blocks, fails or ends: limits and codes.

The engine is scripted, because a real one cannot be made to block for long on one
machine; verification itself is tested against the real engine in tests/bench.
"""

import asyncio

from device_support import code_of, refusal, refused_coroutine, run

import keyfob.stream
from keyfob.stream import Stream, check_verifies


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


class Readable:
    async def read(self, count):
        await asyncio.sleep_ms(0)


class Bare(Stream):
    def __init__(self, engine):
        self._tls = engine
        self._is_closed = False
        self._readable = Readable()


class Fast:
    """The stream's clock, a thousand times faster."""

    def __init__(self):
        self._now_ms = 0

    def ticks_ms(self):
        self._now_ms += 1000
        return self._now_ms

    def ticks_diff(self, later, earlier):
        return later - earlier


def test_a_write_that_goes_out_in_pieces_is_whole():
    engine = Engine(3, None, None, 4, None, 100)
    run(Bare(engine).write(memoryview(b"0123456789")))
    assert engine.written == [b"012", b"3456", b"789"]


def test_a_write_that_makes_no_progress_ends_by_time_limit():
    real = keyfob.stream.time
    keyfob.stream.time = Fast()
    try:
        error = refused_coroutine(Bare(Engine(3, None)).write(memoryview(b"0123456789")))
    finally:
        keyfob.stream.time = real
    assert (error.code, error.detail) == ("tls.write-timeout", "3 of 10 bytes")


def test_a_write_to_a_closed_stream_is_refused():
    stream = Bare(Engine(1))
    stream._is_closed = True
    assert refused_coroutine(stream.write(memoryview(b"x"))).code == "tls.closed"


def test_reading_waits_until_there_is_something():
    assert run(Bare(Engine(None, None, 5)).read(memoryview(bytearray(8)))) == 5


def test_an_end_of_the_stream_is_told_as_closed():
    assert refused_coroutine(Bare(Engine(0)).read(memoryview(bytearray(8)))).code == "tls.closed"


def test_errors_of_the_engine_become_codes():
    stream = Bare(Engine(OSError(104)))
    assert refused_coroutine(stream.read(memoryview(bytearray(8)))).code == "tls.reset"
    error = refused_coroutine(stream.write(memoryview(b"x")))
    assert (error.code, error.detail) == ("tls.reset", "writing: 104")


class Context:
    pass


def test_only_a_verify_mode_that_reads_back_is_believed():
    had = getattr(keyfob.stream.tls, "CERT_REQUIRED", None)
    context = Context()
    error = refusal(check_verifies, context)
    assert (error.code, error.detail) == (
        "tls.cannot-verify",
        "verify_mode reads None, want %s" % had,
    )
    for mode in (0, 1, None, "2"):
        context.verify_mode = mode
        assert code_of(check_verifies, context) == "tls.cannot-verify"
