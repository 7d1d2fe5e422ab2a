"""Broken messages by the thousand through TLS 1.3's parsers: nothing but `KeyfobError`.

By default a sample; the marker `slow` runs all. The same on MicroPython, in smaller
numbers: tests/unit/test_tls13_fuzz.py.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tls13_server import Server13
from tls_rig import (
    BROKER,
    HOST,
    KeyfobError,
    make_engine,
    no_collector,  # noqa: F401
    pump,
)
from tls_wire import extensions, message, vector

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))
from rfc8448 import octets

from keyfob.tls import certificate13, client_hello, handshake13, hello13, late13, verify13
from keyfob.tls.engine import TLS12, TLS13
from keyfob.tls.session import Session
from keyfob.tls.sinks import CertificateList

SAMPLE, ALL = 4000, 150_000
INTERESTING = (0, 1, 2, 3, 4, 11, 13, 16, 28, 41, 43, 44, 51, 63, 64, 127, 128, 254, 255)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded from the disk again for each message."""
    monkeypatch.setattr(late13, "unload", lambda *_: None)


class Hs:
    """What the parsers see of a handshake."""

    versions = (TLS13, TLS12)
    host, psk, alpn, rx_bytes = HOST, None, (b"mqtt",), 1024
    has_rsa_exchange = has_psk_ke = False
    retry, offered = None, Session(TLS13, 0x1301, HOST, bytes(32), b"ticket", b"", 0, 0, 0)
    session_id, group = bytes(32), 0x17
    sent = (0, 1, 10, 11, 13, 16, 22, 23, 28, 35, 41, 43, 45, 51, 0xFF01)
    change_keys = staticmethod(lambda: None)
    drop = staticmethod(lambda *_: None)

    def __init__(self) -> None:
        class Engine:
            version, suite, alpn, rx_limit, tx_limit = TLS13, 0, None, 16384, 512
            rx_keys = type("Keys", (), {})()

        class Transcript:
            digest = staticmethod(lambda: bytes(32))

        self.engine, self.transcript = Engine(), Transcript()
        self.secret = octets("5.client-secret")
        self.first_digest = bytes(32)
        self.server_hello = b""


def server_hello(body: bytes) -> None:
    hs = Hs()
    hs.server_hello = body
    client_hello._read_server_hello(hs, body)
    phase = handshake13.run(hs)
    hs.send_change_cipher_spec = lambda: iter(())
    for _ in range(2):  # through a HelloRetryRequest, or up to EncryptedExtensions
        try:
            next(phase)
        except StopIteration as stop:
            if stop.value == "client_hello":
                hello13.extensions(hs)
            return


def encrypted_extensions(body: bytes) -> None:
    handshake13._read_encrypted_extensions(Hs(), body)


def certificate_request(body: bytes) -> None:
    limit = random.choice((16, 64, 512))
    certificate13.read_request(body[:limit], len(body) <= limit)


def certificate(body: bytes) -> None:
    sink = CertificateList(True)
    sink.begin(len(body))
    cut = random.randrange(len(body) + 1)
    sink.feed(memoryview(body)[:cut])
    sink.feed(memoryview(body)[cut:])
    sink.end()
    assert sum(len(der) for der in sink.chain) <= len(body)


def certificate_verify(body: bytes) -> None:
    verify13._check_signature(body, octets("5.server-point"), bytes(32))


class Open:
    """What the messages behind the handshake find."""

    kind, suite, session, owes_update = 22, 0x1301, None, False
    late = (bytes(32), HOST, 1_000_000, 2_000_000)
    count_idle = staticmethod(lambda: None)  # the bound has its own tests

    class rx_keys:
        update = staticmethod(lambda: None)

    def __init__(self) -> None:
        self.late_message, self.late_left = bytearray(), 0


OPEN = [Open()]


def late(body: bytes) -> None:
    engine = OPEN[0]
    engine.rx, engine.at, engine.end = bytearray(body), 0, len(body)
    try:
        late13.received(engine)
    except KeyfobError:
        OPEN[0] = Open()
        raise
    assert engine.at == engine.end and len(engine.late_message) <= 2052


CHAIN = b"\0" + vector(vector(BROKER.der, 3) + b"\0\0", 3)
HELLO_PARTS = extensions(
    [(43, b"\3\4"), (51, b"\0\x17" + vector(octets("5.server-point"), 2)), (41, b"\0\0")]
)
RETRY_PARTS = extensions([(43, b"\3\4"), (44, vector(b"cookie", 2)), (51, b"\0\x17")])
HELLO = b"\3\3" + bytes(32) + vector(bytes(32), 1) + b"\x13\1\0" + HELLO_PARTS
RETRY = octets("5.hello-retry-request")[4:39] + bytes(32) + b"\x13\1\0" + RETRY_PARTS
ENCRYPTED = extensions(
    [(0, b""), (10, vector(b"\0\x17", 2)), (16, vector(vector(b"mqtt", 1), 2)), (28, b"\2\0")]
)
TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "ServerHello": (server_hello, [HELLO, RETRY.replace(bytes(32), vector(bytes(32), 1), 1)]),
    "EncryptedExtensions": (encrypted_extensions, [ENCRYPTED, extensions([(1, b"\2")])]),
    "CertificateRequest": (certificate_request, [octets("6.certificate-request")[4:]]),
    "Certificate": (certificate, [CHAIN]),
    "CertificateVerify": (
        certificate_verify,
        [b"\4\3" + vector(b"\x30\6\2\1\1\2\1\1", 2), b"\x08\4" + vector(bytes(64), 2)],
    ),
    "behind the handshake": (late, [octets("3.ticket"), message(24, b"\1")]),
}


def mutations(seeds: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """One after the other without end, none of them as it was."""
    while True:
        changed = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(changed) + 1)
            kind = chance.randrange(5)
            if kind == 0:
                changed[at : at + 1] = bytes([chance.choice(INTERESTING)])
            elif kind == 1:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            elif kind == 2:
                del changed[at : at + chance.randrange(1, 30)]
            elif kind == 3:
                changed[at:at] = chance.randbytes(chance.randrange(1, 30))
            else:
                size = chance.randrange(1, 40)
                changed[at:at] = changed[at : at + size]
        if bytes(changed) not in seeds:
            yield bytes(changed)


def fuzz(target: str, count: int, seed: int) -> None:
    call, seeds = TARGETS[target]
    if target in ("EncryptedExtensions", "Certificate", "behind the handshake"):
        for one in seeds:
            call(one)
    done = refused = 0
    for body in itertools.islice(mutations(seeds, random.Random(seed)), count):
        done += 1
        try:
            call(body)
        except KeyfobError:
            refused += 1
        except BaseException:
            print(f"{target}: {body.hex()}")
            raise
    assert done == count and refused > count // 3


@pytest.mark.parametrize("target", TARGETS)
def test_sample(target: str) -> None:
    fuzz(target, SAMPLE if target != "ServerHello" else SAMPLE // 8, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS)
def test_all(target: str) -> None:
    fuzz(target, ALL if target != "ServerHello" else ALL // 8, 2)


@pytest.mark.parametrize(
    "count", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_broken_records_of_a_whole_connection(count: int) -> None:
    chance = random.Random(3)
    for _ in range(count):
        server = Server13(BROKER, fragment=chance.choice((50, 300, 1000)))
        engine = make_engine()
        pump_until_hello(engine, server)
        sent = server.take()
        changed = next(mutations([sent], chance))
        server.put(changed)
        with contextlib.suppress(KeyfobError):
            pump(engine, server)
        if engine.is_open:
            assert changed.startswith(sent) or differs_without_meaning(changed, sent)


def differs_without_meaning(changed: bytes, sent: bytes) -> bool:
    """Whether a ChangeCipherSpec came more or less often, or the first record's version is
    another."""
    mark = bytes.fromhex("140303000101")
    return changed.replace(mark, b"")[3:] == sent.replace(mark, b"")[3:]


def pump_until_hello(engine: object, server: Server13) -> None:
    while engine.step():
        pass
    out = bytes(engine.tx())
    engine.sent(len(out))
    server.receive(out)
