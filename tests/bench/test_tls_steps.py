"""The steps of a handshake: of public keys each does one primitive at most, so that others
have their turn; its code is loaded for it and dropped behind it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import pytest
from certificates import CLIENT_AUTH, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from tls12_server import Server12
from tls13_server import Server13
from tls_rig import (
    CA,
    HOST,
    Client,
    make_engine,
    no_collector,  # noqa: F401
    own_modules,  # noqa: F401
    pump,
)
from tls_server import TlsServer
from tls_wire import vector

from keyfob.tls.engine import TLS12, TLS13, Engine

PRIMITIVES = (
    ("p256", ("shared_secret", "public_key")),
    ("p256_curve", ("verify",)),
    ("p256_sign", ("sign",)),
    ("x25519", ("shared_secret", "public_key")),
    ("rsa", ("public_power",)),
    ("rsa_sign", ("_sign",)),
)
ASKS_12 = vector(b"\1\x40", 1) + vector(b"\4\3\4\1", 2) + vector(b"", 2)
ASKS_13 = b"\0" + vector(bytes.fromhex("000d0006000404030804"), 2)
UPPER = make_ca("upper", issuer=CA)


def server_of(version: int, kind: str) -> TlsServer:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    pair = make_leaf(UPPER, HOST, (HOST,), key=key, below=(UPPER,))
    if version == TLS12:
        suite = 0xC02F if kind == "rsa" else 0xC02B
        return Server12(pair, suite=suite, asks=ASKS_12)
    retry = [(51, b"\0\x1d")] if kind == "x25519" else None
    return Server13(pair, asks=ASKS_13, retry=retry)


@pytest.mark.parametrize(
    ("version", "kind", "count"),
    # Our key, the shared secret and our signature; two of the chain, and the server's own.
    [
        (TLS12, "p256", 6),
        (TLS12, "rsa", 6),
        (TLS13, "p256", 6),
        (TLS13, "rsa", 6),
        (TLS13, "x25519", 7),
    ],
)
def test_each_step_has_one_primitive_at_most(
    version: int,
    kind: str,
    count: int,
    own_modules: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    for module_name, names in PRIMITIVES:
        module = importlib.import_module("keyfob.crypto." + module_name)
        for name in names:
            monkeypatch.setattr(module, name, counted(getattr(module, name), name, done))
    seen: list[list[str]] = []
    step = Engine.step

    def watched(engine: Engine) -> bool:
        done.clear()
        more = step(engine)
        seen.append(list(done))
        return more

    monkeypatch.setattr(Engine, "step", watched)
    client_key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else None
    client = Client(make_leaf(CA, "sensor-01", usage=CLIENT_AUTH, key=client_key))
    server = server_of(version, kind)
    engine = make_engine(versions=(version,), client=client)
    pump(engine, server)
    assert engine.is_open and server.client_chain
    assert [step for step in seen if len(step) > 1] == []
    assert sum(len(step) for step in seen) == count, seen


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_code_of_a_handshake_is_loaded_for_it_and_dropped(
    version: int,
    own_modules: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, seen = set(sys.modules), set()
    step = Engine.step

    def watched(engine: Engine) -> bool:
        more = step(engine)
        seen.update(ours() - base)
        # What is large is never there together.
        assert not {"keyfob.pki.search", "keyfob.crypto.p256_base"} <= ours() - base
        return more

    def ours() -> set[str]:
        return {name for name in sys.modules if name.startswith("keyfob.")}

    base = set(sys.modules)
    monkeypatch.setattr(Engine, "step", watched)
    engine = make_engine(versions=(version,))
    pump(engine, server_of(version, "p256"))
    assert engine.is_open
    assert {"keyfob.tls.phases", "keyfob.pki.path", "keyfob.crypto.weierstrass"} <= seen
    assert ours() - base == set()


def counted(function: Callable, name: str, done: list[str]) -> Callable:
    def call(*arguments: object) -> object:
        done.append(name)
        return function(*arguments)

    return call
