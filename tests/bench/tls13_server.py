"""A TLS 1.3 server without I/O that can break one thing at a time: see `tls_server`."""

from __future__ import annotations

import hashlib
import hmac
import os

import tls_wire as wire
from certificates import Pair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from tls13_wire import Keys, expand_label, extract
from tls_server import ECDSA_P256, PSS_SHA256, Hook, TlsServer, sign
from tls_wire import RETRY_RANDOM, Reader, message, record, vector

SUITE = 0x1301
P256, X25519 = 0x0017, 0x001D
SERVER_CONTEXT = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
CLIENT_CONTEXT = b" " * 64 + b"TLS 1.3, client CertificateVerify\0"


class Server13(TlsServer):
    """``retry``: extensions of a HelloRetryRequest to begin with. ``psks``: PSK by ticket.
    ``allows_psk_ke``: resume without a key exchange where the client wants it.
    ``encrypted``: extensions of its EncryptedExtensions. The rest: see
    `tls_server.TlsServer`.
    """

    send_keys: Keys | None
    receive_keys: Keys | None

    def __init__(
        self,
        pair: Pair,
        *,
        hooks: dict[str, Hook] | None = None,
        retry: list[tuple[int, bytes]] | None = None,
        asks: bytes | None = None,
        psks: dict[bytes, bytes] | None = None,
        allows_psk_ke: bool = False,
        encrypted: list[tuple[int, bytes]] | None = None,
        fragment: int = 1000,
        padding_bytes: int = 0,
    ) -> None:
        super().__init__(pair, hooks, asks, fragment)
        self.posts: list[bytes] = []  # handshake messages of the client's after Finished
        self.change_cipher_specs = 0
        self.psks = psks if psks is not None else {}
        self.allows_psk_ke = allows_psk_ke
        self.resumption_secret = b""
        self._retry = retry
        self._encrypted = encrypted or []
        self._padding_bytes = padding_bytes
        self._hellos = 0
        self._client_application = b""

    def send_ticket(self, ticket: bytes, nonce: bytes = b"\0", lifetime_s: int = 7200) -> None:
        self.psks[ticket] = expand_label(self.resumption_secret, "resumption", nonce)
        body = lifetime_s.to_bytes(4, "big") + os.urandom(4) + vector(nonce, 1)
        self.send(message(4, body + vector(ticket, 2) + bytes(2)), wire.HANDSHAKE)

    def send_key_update(self, request: int) -> None:
        assert self.send_keys
        self.send(message(24, bytes([request])), wire.HANDSHAKE)
        self.send_keys = self.send_keys.updated()

    def _sealed(self, kind: int, part: bytes) -> bytes:
        assert self.send_keys
        return self.send_keys.seal(kind, part, self._padding_bytes)

    def _opened(self, one: bytes) -> tuple[int, bytes]:
        if one[0] != wire.APPLICATION_DATA:
            return one[0], one[5:]
        assert self.receive_keys, "a protected record without keys"
        return self.receive_keys.open(one)

    def _on_change_cipher_spec(self, content: bytes) -> None:
        assert content == b"\1" and not self.is_open
        self.change_cipher_specs += 1

    def _on_message(self, one: bytes) -> None:
        if not self.is_open:
            super()._on_message(one)
            return
        self.posts.append(one)
        if one[0] == 24:
            assert self.receive_keys
            self.receive_keys = self.receive_keys.updated()

    # The client's hello, and the server's flight.

    def _on_client_hello(self, one: bytes) -> None:
        reader = Reader(one[4:])
        assert reader.number(2) == 0x0303
        self._client_random, self._session_id = reader.take(32), reader.vector(1)
        suites = reader.vector(2)
        assert SUITE.to_bytes(2, "big") in [suites[i : i + 2] for i in range(0, len(suites), 2)]
        assert reader.vector(1) == b"\0"
        first, self.hello = self.hello, reader.extensions()
        assert not reader.rest and b"\3\4" in self.hello[43]
        self._hellos += 1
        if self._retry is not None and self._hellos == 1:
            self._transcript = message(254, hashlib.sha256(one).digest())
            self._emit("retry", self._hello_message(RETRY_RANDOM, self._retry))
            return
        if self._hellos == 2 and self._retry is not None:
            offered = dict(self._retry)
            if 44 in offered:
                assert self.hello[44] == offered[44]
            for number in set(first) - {51, 41}:
                assert self.hello[number] == first[number], f"extension {number} changed"
        psk = self._find_psk(one)
        self._transcript += one
        self._send_flight(psk)

    def _find_psk(self, one: bytes) -> bytes:
        if 41 not in self.hello:
            return b""
        assert next(reversed(self.hello)) == 41 and self.hello[45] in (b"\1\1", b"\1\0")
        if self.hello[45] == b"\1\0" and not self.allows_psk_ke:
            return b""
        reader = Reader(self.hello[41])
        identities, binders = Reader(reader.vector(2)), Reader(reader.vector(2))
        ticket, _age = identities.vector(2), identities.number(4)
        binder = binders.vector(1)
        assert not identities.rest and not binders.rest
        psk = self.psks.get(ticket)
        if psk is None:
            return b""
        truncated = self._transcript + one[:-35]
        key = expand_label(extract(b"", psk), "res binder", hashlib.sha256().digest())
        want = hmac.digest(
            expand_label(key, "finished"), hashlib.sha256(truncated).digest(), "sha256"
        )
        assert binder == want, "the PSK's binder"
        return psk

    def _hello_message(self, random: bytes, parts: list[tuple[int, bytes]]) -> bytes:
        parts = [(43, b"\3\4"), *parts]
        body = b"\3\3" + random + vector(self._session_id, 1) + SUITE.to_bytes(2, "big") + b"\0"
        return message(2, body + wire.extensions(parts))

    def _share(self) -> tuple[bytes, bytes]:
        """(KeyShareEntry, shared secret) for the first share of the client's."""
        reader = Reader(Reader(self.hello[51]).vector(2))
        group, theirs = reader.number(2), reader.vector(2)
        if group == P256:
            curve = ec.SECP256R1()
            key = ec.generate_private_key(curve)
            point = ec.EllipticCurvePublicKey.from_encoded_point(curve, theirs)
            secret = key.exchange(ec.ECDH(), point)
            form = serialization.PublicFormat.UncompressedPoint
            ours = key.public_key().public_bytes(serialization.Encoding.X962, form)
        else:
            assert group == X25519
            other = x25519.X25519PrivateKey.generate()
            secret = other.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
            ours = other.public_key().public_bytes_raw()
        return group.to_bytes(2, "big") + vector(ours, 2), secret

    def _send_flight(self, psk: bytes) -> None:
        parts, secret = [], b""  # RFC 8446 section 7.1: without a key exchange, zeros
        if not psk or self.hello[45] != b"\1\0":
            share, secret = self._share()
            parts.append((51, share))
        if psk:
            parts.append((41, b"\0\0"))
        self.was_resumed = bool(psk)
        self._emit("server_hello", self._hello_message(os.urandom(32), parts))
        self.put(self.hooks.get("change_cipher_spec", bytes)(record(20, b"\1")))
        empty = hashlib.sha256().digest()
        early = extract(b"", psk)
        handshake = extract(expand_label(early, "derived", empty), secret)
        self._master = extract(expand_label(handshake, "derived", empty), b"")
        self.receive_keys = Keys(self._derive(handshake, "c hs traffic"))
        self.send_keys = Keys(self._derive(handshake, "s hs traffic"))
        self._emit("encrypted_extensions", message(8, wire.extensions(self._encrypted)))
        if not psk:
            if self._asks is not None:
                self._emit("certificate_request", message(13, self._asks))
            self._emit("certificate", self.certificate())
            self._emit("certificate_verify", self.certificate_verify())
        self._emit("finished", message(20, self._verify_data(self.send_keys.secret)))
        self._client_application = self._derive(self._master, "c ap traffic")
        self.send_keys = Keys(self._derive(self._master, "s ap traffic"))
        self.hooks.get("flight_end", bytes)(b"")

    def certificate(self) -> bytes:
        assert self.pair
        chain = b"".join(vector(der, 3) + b"\0\0" for der in (self.pair.der, *self.pair.issuers))
        return message(11, b"\0" + vector(chain, 3))

    def certificate_verify(self, context: bytes = SERVER_CONTEXT, scheme: int = 0) -> bytes:
        signed = context + hashlib.sha256(self._transcript).digest()
        assert self.pair
        is_ecdsa = isinstance(self.pair.key, ec.EllipticCurvePrivateKey)
        scheme = scheme or (ECDSA_P256 if is_ecdsa else PSS_SHA256)
        signature = sign(self.pair.key, scheme, signed)
        return message(15, scheme.to_bytes(2, "big") + vector(signature, 2))

    def _derive(self, secret: bytes, label: str) -> bytes:
        return expand_label(secret, label, hashlib.sha256(self._transcript).digest())

    def _verify_data(self, base: bytes) -> bytes:
        digest = hashlib.sha256(self._transcript).digest()
        return hmac.digest(expand_label(base, "finished"), digest, "sha256")

    # The client's flight.

    def _on_client_certificate(self, one: bytes) -> None:
        assert self._asks is not None
        reader = Reader(one[4:])
        assert reader.vector(1) == Reader(self._asks).vector(1)
        entries = Reader(reader.vector(3))
        while entries.rest:
            self.client_chain.append(entries.vector(3))
            assert entries.vector(2) == b""
        self._transcript += one

    def _client_signs(self) -> bytes:
        return CLIENT_CONTEXT + hashlib.sha256(self._transcript).digest()

    def _on_client_finished(self, one: bytes) -> None:
        assert self.receive_keys
        assert one[4:] == self._verify_data(self.receive_keys.secret), "the client's Finished"
        self._transcript += one
        self.resumption_secret = self._derive(self._master, "res master")
        self.receive_keys = Keys(self._client_application)
        self.is_open = True
