"""keyfob.stream below an engine that blocks, fails or ends: limits and codes.

The engine is scripted, because a real one cannot be made to block for long on one
machine; verification itself is tested against the real engine in tests/bench.
"""

from device_support import code_of, refusal

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


class Bare(Stream):
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
