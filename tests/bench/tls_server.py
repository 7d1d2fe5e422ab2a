"""A TLS server without I/O that can break one thing at a time: what both versions share.

What it sends passes through ``hooks`` by the message's name, and what comes back is
sent and enters the transcript, so that nothing but the hook's change is wrong. It shares
no line with the product's engine. The versions: `tls12_server`, `tls13_server`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from certificates import Pair
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from tls_wire import (
    ALERT,
    ALERTS,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Reader,
    record,
)

ECDSA_P256, ECDSA_P384, PKCS1_SHA256, PSS_SHA256 = 0x0403, 0x0503, 0x0401, 0x0804
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
Hook = Callable[[bytes], bytes]


class Keys(Protocol):
    """Protection of one direction's records."""

    def seal(self, kind: int, content: bytes) -> bytes: ...

    def open(self, one: bytes) -> tuple[int, bytes]: ...


class TlsServer:
    """``receive`` what the client sent, then `take` what it is sent.

    ``asks``: body of a CertificateRequest. ``fragment``: bytes of content a record.
    """

    def __init__(
        self, pair: Pair | None, hooks: dict[str, Hook] | None, asks: bytes | None, fragment: int
    ) -> None:
        self.alert: tuple[int, str] | None = None
        self.received = b""
        self.is_open = False
        self.was_resumed = False
        self.hello: dict[int, bytes] = {}
        self.client_chain: list[bytes] = []
        self.client_scheme = 0
        self.hooks = hooks or {}
        self.send_keys: Keys | None = None
        self.receive_keys: Keys | None = None
        self.pair, self._asks = pair, asks
        self.fragment = fragment
        self._transcript = b""
        self._out, self._in, self._flight = bytearray(), bytearray(), b""

    # Bytes.

    def take(self) -> bytes:
        taken = bytes(self._out)
        self._out.clear()
        return taken

    def put(self, raw: bytes) -> None:
        """Bytes for the client as they stand."""
        self._out += raw

    def send(self, content: bytes, kind: int = APPLICATION_DATA) -> None:
        """``content`` in records under the current keys, or in clear before there are any."""
        for at in range(0, max(len(content), 1), self.fragment):
            part = content[at : at + self.fragment]
            self.put(self._sealed(kind, part) if self.send_keys else record(kind, part))

    def _sealed(self, kind: int, part: bytes) -> bytes:
        assert self.send_keys
        return self.send_keys.seal(kind, part)

    def close(self) -> None:
        self.send(b"\1\0", ALERT)

    def receive(self, data: bytes) -> None:
        self._in += data
        while len(self._in) >= 5:
            size = 5 + int.from_bytes(self._in[3:5], "big")
            assert self._in[1] == 3 and size <= 5 + 16384 + 256
            if len(self._in) < size:
                return
            one = bytes(self._in[:size])
            del self._in[:size]
            self._on_record(one)

    # Records.

    def _opened(self, one: bytes) -> tuple[int, bytes]:
        """(type, content) of a record."""
        raise NotImplementedError

    def _on_change_cipher_spec(self, content: bytes) -> None:
        raise NotImplementedError

    def _on_record(self, one: bytes) -> None:
        kind, content = self._opened(one)
        if kind == ALERT:
            self.alert = (content[0], ALERTS[content[1]])
        elif kind == CHANGE_CIPHER_SPEC:
            self._on_change_cipher_spec(content)
        elif kind == APPLICATION_DATA:
            assert self.is_open
            self.received += content
        else:
            assert kind == HANDSHAKE
            self._flight += content
            while len(self._flight) >= 4:
                size = 4 + int.from_bytes(self._flight[1:4], "big")
                if len(self._flight) < size:
                    return
                one_message, self._flight = self._flight[:size], self._flight[size:]
                self._on_message(one_message)

    # Messages.

    def _on_message(self, one: bytes) -> None:
        handlers = {
            1: self._on_client_hello,
            11: self._on_client_certificate,
            15: self._on_client_verify,
            16: self._on_client_key_exchange,
            20: self._on_client_finished,
        }
        handlers[one[0]](one)

    def _emit(self, name: str, one: bytes) -> None:
        one = self.hooks.get(name, bytes)(one)
        self._transcript += one
        if one:
            self.send(one, HANDSHAKE)

    def _on_client_hello(self, one: bytes) -> None:
        raise NotImplementedError

    def _on_client_certificate(self, one: bytes) -> None:
        raise NotImplementedError

    def _on_client_key_exchange(self, one: bytes) -> None:
        raise AssertionError("a message of TLS 1.2")

    def _on_client_finished(self, one: bytes) -> None:
        raise NotImplementedError

    def _on_client_verify(self, one: bytes) -> None:
        reader = Reader(one[4:])
        self.client_scheme, signature = reader.number(2), reader.vector(2)
        key = x509.load_der_x509_certificate(self.client_chain[0]).public_key()
        check_signature(key, self.client_scheme, signature, self._client_signs())
        self._transcript += one

    def _client_signs(self) -> bytes:
        """What a client's CertificateVerify signs here."""
        raise NotImplementedError


def sign(key: object, scheme: int, content: bytes) -> bytes:
    """As ``scheme`` has it, as far as the key can; SHA-256 but for ECDSA_P384."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        hash_ = hashes.SHA384() if scheme == ECDSA_P384 else hashes.SHA256()
        return key.sign(content, ec.ECDSA(hash_))
    assert isinstance(key, rsa.RSAPrivateKey)
    form = padding.PKCS1v15() if scheme == PKCS1_SHA256 else PSS
    return key.sign(content, form, hashes.SHA256())


def check_signature(key: object, scheme: int, signature: bytes, content: bytes) -> None:
    if scheme == ECDSA_P256:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    else:
        assert scheme in (PKCS1_SHA256, PSS_SHA256) and isinstance(key, rsa.RSAPublicKey)
        form = padding.PKCS1v15() if scheme == PKCS1_SHA256 else PSS
        key.verify(signature, content, form, hashes.SHA256())
