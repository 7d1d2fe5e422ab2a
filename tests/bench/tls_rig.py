"""An engine and a test's server in one process, with no network between them."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, make_ca, make_leaf
from cryptography.exceptions import InvalidTag
from tls_server import TlsServer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))
import device_support  # noqa: F401 - the firmware and the modules that CPython lacks

from keyfob import unload
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13, Engine

HOST = "broker.keyfob.test"
CA = make_ca()
BROKER = make_leaf(CA, HOST, (HOST,))
_MAX_TURNS = 2000


class Client:
    """A device's certificate and key, as an engine takes them."""

    def __init__(self, pair: Pair, key: object = None) -> None:
        self._pair = pair
        self._key = key

    def certificates(self) -> list[bytes]:
        return [self._pair.der, *self._pair.issuers]

    def key(self) -> object:
        from keyfob.pki import private_key

        return self._key or private_key.load(self._pair.key_der())


@pytest.fixture(autouse=True)
def no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine collects garbage at each step, and CPython's collector goes over all of
    pytest each time. A test module has this by importing it."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture
def own_modules() -> Iterator[None]:
    """None of a handshake's modules is loaded but the engine; behind the test, all is as it
    was before it, for what other tests hold of them."""
    packages = ("keyfob", "keyfob.tls", "keyfob.pki", "keyfob.crypto")
    attributes = {name: dict(vars(importlib.import_module(name))) for name in packages}
    kept = {name: module for name, module in sys.modules.items() if name.startswith("keyfob.")}
    unload("keyfob.pki.", "keyfob.crypto.", "keyfob.tls.", but=["keyfob.tls.engine"])
    yield
    for name in [name for name in sys.modules if name.startswith("keyfob.")]:
        del sys.modules[name]
    sys.modules.update(kept)
    for name, found in attributes.items():
        vars(sys.modules[name]).clear()
        vars(sys.modules[name]).update(found)


def make_engine(**options: object) -> Engine:
    options = {"versions": (TLS13, TLS12), **options}
    return Engine(HOST, [CA.der], int(time.time()), **options)


def give(engine: Engine, raw: bytes) -> bytes:
    """Put ``raw`` into the engine as far as it takes it; what is left."""
    while raw:
        while engine.step():
            pass
        room = engine.room()
        if not len(room):
            return raw
        count = min(len(room), len(raw))
        room[:count] = raw[:count]
        engine.received(count)
        raw = raw[count:]
    while engine.step():
        pass
    return raw


def pump(engine: Engine, server: TlsServer, *, chunk: int = 1 << 20) -> None:
    """Carry bytes both ways until neither side has any that the other takes."""
    for _ in range(_MAX_TURNS):
        while engine.step():
            pass
        out = bytes(engine.tx()[:chunk])
        engine.sent(len(out))
        server.receive(out)
        incoming = server.take()
        rest = give(engine, incoming[:chunk]) + incoming[chunk:]
        server.put(rest)
        if not out and len(rest) == len(incoming) and not len(engine.tx()):
            return
    raise AssertionError("no end of it")


def read_all(engine: Engine, server: TlsServer) -> bytes:
    """What the server sent, read to the last byte that is there."""
    buffer = bytearray(256)
    found = b""
    while True:
        pump(engine, server)
        count = engine.read(memoryview(buffer))
        found += buffer[:count]
        incoming = server.take()
        server.put(incoming)
        if not count and not incoming:
            return found


def opened(server: TlsServer, **options: object) -> Engine:
    """An engine whose handshake with ``server`` succeeded."""
    engine = make_engine(**options)
    pump(engine, server)
    assert engine.is_open and server.is_open and not server.alert
    return engine


def refused(server: TlsServer, **options: object) -> tuple[str, str]:
    """(code, name of the alert that the server got) of a handshake that must fail."""
    engine = make_engine(**options)
    return failure(engine, server)


def failure(engine: Engine, server: TlsServer) -> tuple[str, str]:
    """The same for an engine that is there, whatever it does: reads to the end."""
    try:
        read_all(engine, server)
    except KeyfobError as error:
        assert engine.error is error
        with contextlib.suppress(InvalidTag):
            server.receive(bytes(engine.tx()))
        code = error.code
    else:
        raise AssertionError("nothing was refused")
    for again in (engine.step, lambda: engine.read(memoryview(bytearray(1)))):
        try:
            again()
        except KeyfobError as error:
            assert error is engine.error
        else:
            raise AssertionError("an engine that failed went on")
    assert not len(engine.room())
    return code, server.alert[1] if server.alert else ""
