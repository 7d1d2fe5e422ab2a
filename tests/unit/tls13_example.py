"""An engine in the middle of RFC 8448's example with P-256 and a HelloRetryRequest.

It has sent the second ClientHello, and holds the RFC's secret. The RFC's key has 1024
bits, which the verifier rightly finds too weak; so chain and signature are judged here
by what the RFC says: this signature, of this transcript, is good, and no other.
"""

import hashlib

from rfc8448 import octets

from keyfob.pki import path, signature
from keyfob.tls import client_hello
from keyfob.tls.engine import TLS13, Engine
from keyfob.tls.phases import Transcript

HOST = "server"
NOW_S = 1_500_000_000
_SENT = (0, 10, 13, 16, 28, 41, 43, 44, 45, 51)


class _Judged:
    key_kind = "rsa"
    key = (bytes(128), 65537)
    valid_until_s = NOW_S + 1000


def _steps(*_, **__):
    yield None
    yield _Judged


def _verify_signature(scheme, key, digest, signature):
    before = hashlib.sha256(b"\xfe\0\0\x20" + _first_digest())
    for name in ("hello-retry-request", "client-hello-2", "server-hello"):
        before.update(octets("5." + name))
    flight = octets("5.server-flight")
    before.update(flight[:-172])
    signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + before.digest()
    is_signed = digest == hashlib.sha256(signed).digest()
    return scheme == 0x0804 and key is _Judged.key and is_signed and signature == flight[-164:-36]


def _first_digest():
    return hashlib.sha256(octets("5.client-hello-1")).digest()


def _hello(hs):
    _, hs.server_hello = yield b"\x02"
    return client_hello._read_server_hello(hs, hs.server_hello)


def waiting_for_server_hello(**options):
    """The engine."""
    engine = Engine(HOST, (), NOW_S, versions=(TLS13,), **options)
    hs = engine._handshake
    hs.transcript = Transcript(8)
    hs.transcript.update(b"\xfe\0\0\x20" + _first_digest())
    hs.transcript.update(octets("5.hello-retry-request"))
    hs.transcript.update(octets("5.client-hello-2"))
    hs.retry = b"its cookie"
    hs.session_id = b""
    hs.sent = _SENT
    hs.group = 0x17
    hs.secret = octets("5.client-secret")
    hs._phase = _hello(hs)
    return engine


def give(engine, raw, chunk=1 << 20):
    """Let the engine have ``raw``, and do all it can with it."""
    kept = path.steps, signature.verify_signature
    path.steps, signature.verify_signature = _steps, _verify_signature
    try:
        _give(engine, raw, chunk)
    finally:
        path.steps, signature.verify_signature = kept


def _give(engine, raw, chunk):
    at = 0
    while True:
        while engine.step():
            pass
        if at == len(raw):
            return
        room = engine.room()
        assert len(room)
        count = min(len(room), len(raw) - at, chunk)
        room[:count] = raw[at : at + count]
        engine.received(count)
        at += count
