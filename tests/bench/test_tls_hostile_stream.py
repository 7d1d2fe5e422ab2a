"""A server that never stops sending: an `EngineStream` comes back to its caller all the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from tls13_server import Server13
from tls_rig import (
    BROKER,
    make_engine,
    no_collector,  # noqa: F401
    opened,
)
from tls_server import TlsServer
from tls_wire import HANDSHAKE, message

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13
from keyfob.tls.engine_stream import EngineStream

NEW_SESSION_TICKET, CERTIFICATE_REQUEST = 4, 13
LIMIT_MS = 120_000


class Wire:
    """A socket that does not block, with a server behind it which says more when asked."""

    def __init__(self, server: TlsServer, more: Iterator[bytes]) -> None:
        self.server, self._more, self._left = server, more, b""
        self.read_end, self._write_end = os.pipe()
        self.reads = 0

    def fileno(self) -> int:
        return self.read_end

    def write(self, data: memoryview) -> int:
        self.server.receive(bytes(data))
        return len(data)

    def readinto(self, room: memoryview) -> int | None:
        self.reads += 1
        self._left += self.server.take() or (b"" if self._left else next(self._more, b""))
        count = min(len(room), len(self._left))
        room[:count] = self._left[:count]
        self._left = self._left[count:]
        return count or None

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self._write_end)


def test_the_handshake_ends_by_its_time_limit_while_bytes_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ms = [0]
    monkeypatch.setattr(time, "ticks_ms", lambda: now_ms[0])
    server = Server13(BROKER)
    engine = make_engine(versions=(TLS13, TLS12))
    while engine.step():
        pass
    hello = bytes((22, 3, 3, 1, 0xF4, 2, 0, 1, 0xF0, 3, 3))  # the begin of a ServerHello
    wire = Wire(server, iter([bytes((each,)) for each in hello] + [b"\0"] * 400))
    stream = EngineStream(engine, wire)
    with pytest.raises(KeyfobError) as caught:
        monkeypatch.setattr(server, "receive", lambda _: None)
        for _ in range(1000):
            now_ms[0] += 1000  # what a step takes on a slow board
            stream.shake()
    assert caught.value.code == "tls.handshake-timeout"
    assert now_ms[0] <= LIMIT_MS + 2000
    wire.close()


def test_a_certificate_request_of_megabytes_is_refused_by_its_head() -> None:
    server = Server13(BROKER)
    engine = make_engine(versions=(TLS13, TLS12))
    head = bytes((CERTIFICATE_REQUEST, 0xFF, 0xFF, 0xFF)) + bytes(100)
    server.hooks["certificate_request"] = server.hooks["certificate"] = lambda _: head
    wire = Wire(server, iter(()))
    stream = EngineStream(engine, wire)
    with pytest.raises(KeyfobError) as caught:
        for _ in range(100):
            stream.shake()
    assert caught.value.code == "tls.message-too-large"
    wire.close()


def test_records_without_data_do_not_hold_up_the_reader() -> None:
    server = Server13(BROKER)
    engine = opened(server, versions=(TLS13,))
    server.fragment = 1
    ticket = bytes(9) + (580).to_bytes(2, "big") + bytes(580) + bytes(2)
    server.send(message(NEW_SESSION_TICKET, ticket), HANDSHAKE)
    raw = server.take()
    wire = Wire(server, iter([raw]))
    stream = EngineStream(engine, wire)
    view = memoryview(bytearray(64))
    assert stream.read_now(view) is None
    assert 0 < wire.reads <= 32
    calls = 1
    while wire._left:
        assert stream.read_now(view) is None
        calls += 1
    assert calls > 10
    server.fragment = 16_384
    server.send(b"data")
    assert stream.read_now(view) == 4
    wire.close()
