"""Refusals and floods of every kind leave no memory behind, however often they come.

Under MicroPython: tests/unit/test_tls13_late.py, and the fuzz in an ESP8266's heap.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import statistics
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tls12_server import Server12
from tls13_server import Server13
from tls_hostile import flipped, opened12, refused12
from tls_rig import (
    BROKER,
    failure,
    opened,
    own_modules,  # noqa: F401
    pump,
    read_all,
    refused,
)
from tls_wire import ALERT, HANDSHAKE, message, record

import keyfob
from keyfob.errors import KeyfobError

# An engine, a certificate or a record in a round would be more.
LIMIT = 600
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(autouse=True)
def nothing_is_loaded_again(
    own_modules: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """CPython keeps a little of each module that is loaded anew, which is none of ours."""
    for name in ("algorithms", "certificate", "names", "refusal", "search", "signature"):
        importlib.import_module("keyfob.pki." + name)  # what is there the verifier keeps
    importlib.import_module("keyfob.crypto.p256")
    monkeypatch.setattr(keyfob, "unload", lambda *_, **__: None)
    gc.freeze()  # the collector passes over pytest
    yield
    gc.unfreeze()


def server12(**hooks: Callable[[bytes], bytes]) -> Server12:
    server = Server12(BROKER, hooks=hooks)
    server.secret = KEY
    return server


def bad_record12() -> None:
    server = server12()
    engine = opened12(server)
    server.send(b"content")
    server.put(flipped(server.take()))
    failure(engine, server)


def bad_record13() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"content")
    server.put(flipped(server.take()))
    failure(engine, server)


def flood12(content: bytes, kind: int) -> None:
    server = server12()
    engine = opened12(server)
    for _ in range(20):
        server.send(content, kind)
    failure(engine, server)


def truncation13() -> None:
    server = Server13(BROKER)
    engine = opened(server)
    server.send(b"\4\0\x20\0" + bytes(300), HANDSHAKE)
    server.send(bytes(800), HANDSHAKE)
    pump(engine, server)
    engine.read(memoryview(bytearray(1)))
    with contextlib.suppress(KeyfobError):
        engine.ended()


FAULTS: dict[str, Callable[[], object]] = {
    "1.2, ServerHello": lambda: refused12(server12(server_hello=lambda _: message(2, b"x"))),
    "1.2, Certificate": lambda: refused12(server12(certificate=lambda one: one + one)),
    "1.2, signature": lambda: refused12(server12(key_exchange=flipped)),
    "1.2, Finished": lambda: refused12(server12(finished=flipped)),
    "1.2, record": bad_record12,
    "1.2, HelloRequests": lambda: flood12(bytes(4), HANDSHAKE),
    "1.2, warnings": lambda: flood12(b"\1\x70", ALERT),
    "1.2, empty records": lambda: flood12(b"", 23),
    "1.3, ServerHello": lambda: refused(Server13(BROKER, hooks={"server_hello": flipped})),
    "1.3, Certificate": lambda: refused(
        Server13(BROKER, hooks={"certificate": lambda one: one + one})
    ),
    "1.3, signature": lambda: refused(Server13(BROKER, hooks={"certificate_verify": flipped})),
    "1.3, Finished": lambda: refused(Server13(BROKER, hooks={"finished": flipped})),
    "1.3, record": bad_record13,
    "1.3, ChangeCipherSpecs": lambda: refused(
        Server13(BROKER, hooks={"change_cipher_spec": lambda _: record(20, b"\1") * 40})
    ),
    "1.3, a message never ended": truncation13,
}


def growth(once: Callable[[], object], rounds: int) -> int:
    """By how many bytes a round leaves more behind, in the middle of all of them: what is
    cached once shows in one of them."""
    seen = []
    for _ in range(3):
        once()
    tracemalloc.start()
    try:
        for _ in range(rounds):
            once()
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return statistics.median_low(b - a for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("fault", FAULTS)
def test_no_memory_is_left_behind(fault: str) -> None:
    assert growth(FAULTS[fault], 10) < LIMIT


def test_a_connection_takes_no_more_the_longer_it_lasts() -> None:
    """Records, tickets, KeyUpdates and warnings by the hundred over one connection of each
    version."""
    server, old = Server13(BROKER), server12()
    engine, older = opened(server), opened12(old)

    def once() -> None:
        server.psks.clear()
        server.posts.clear()
        server.received = old.received = b""
        for _ in range(5):
            server.send_ticket(b"t" * 500)
            server.send_key_update(1)
        server.send(b"data" * 100)
        assert len(read_all(engine, server)) == 400
        engine.write(memoryview(b"mine"))
        pump(engine, server)
        for _ in range(10):
            old.send(b"\1\x70", ALERT)
        old.send(b"data" * 100)
        assert len(read_all(older, old)) == 400

    assert growth(once, 20) < LIMIT
