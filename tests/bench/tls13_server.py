"""A TLS 1.3 server without I/O that can break one thing at a time.

What it sends passes through ``hooks`` by the message's name, and what comes back is
sent and enters the transcript, so that nothing but the hook's change is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

import tls13_wire as wire
from certificates import Pair
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from tls13_wire import Keys, Reader, expand_label, extract, message, record, vector

SUITE = 0x1301
P256, X25519 = 0x0017, 0x001D
ECDSA_P256, PSS_RSAE = 0x0403, 0x0804
SERVER_CONTEXT = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
CLIENT_CONTEXT = b" " * 64 + b"TLS 1.3, client CertificateVerify\0"
Hook = Callable[[bytes], bytes]


class Server13:
    """``receive`` what the client sent, then `take` what it is sent.

    ``retry``: extensions of a HelloRetryRequest to begin with. ``asks``: body of a
    CertificateRequest. ``psks``: PSK by ticket. ``fragment``: bytes of content a record.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        hooks: dict[str, Hook] | None = None,
        retry: list[tuple[int, bytes]] | None = None,
        asks: bytes | None = None,
        psks: dict[bytes, bytes] | None = None,
        encrypted: list[tuple[int, bytes]] | None = None,
        fragment: int = 1000,
        padding_bytes: int = 0,
    ) -> None:
        self.alert: tuple[int, str] | None = None
        self.received = b""
        self.is_open = False
        self.was_resumed = False
        self.hello: dict[int, bytes] = {}
        self.client_chain: list[bytes] = []
        self.posts: list[bytes] = []  # handshake messages of the client's after Finished
        self.change_cipher_specs = 0
        self.hooks = hooks or {}
        self.send_keys: Keys | None = None
        self.receive_keys: Keys | None = None
        self.padding_bytes = padding_bytes
        self.resumption_secret = b""
        self._pair = pair
        self._retry, self._asks, self._psks = retry, asks, psks or {}
        self._encrypted = encrypted or []
        self._fragment = fragment
        self._transcript = b""
        self._out = bytearray()
        self._in = bytearray()
        self._flight = b""
        self._hellos = 0
        self._client_application = b""

    def take(self) -> bytes:
        taken = bytes(self._out)
        self._out.clear()
        return taken

    def put(self, raw: bytes) -> None:
        """Bytes for the client as they stand."""
        self._out += raw

    def send(self, content: bytes, kind: int = wire.APPLICATION_DATA) -> None:
        """``content`` in records under the current keys, or in clear before there are any."""
        for at in range(0, max(len(content), 1), self._fragment):
            part = content[at : at + self._fragment]
            if self.send_keys:
                self.put(self.send_keys.seal(kind, part, self.padding_bytes))
            else:
                self.put(record(kind, part))

    def send_ticket(self, ticket: bytes, nonce: bytes = b"\0", lifetime_s: int = 7200) -> None:
        self._psks[ticket] = expand_label(self.resumption_secret, "resumption", nonce)
        body = lifetime_s.to_bytes(4, "big") + os.urandom(4) + vector(nonce, 1)
        self.send(message(4, body + vector(ticket, 2) + bytes(2)), wire.HANDSHAKE)

    def send_key_update(self, request: int) -> None:
        assert self.send_keys
        self.send(message(24, bytes([request])), wire.HANDSHAKE)
        self.send_keys = self.send_keys.updated()

    def close(self) -> None:
        self.send(b"\1\0", wire.ALERT)

    def receive(self, data: bytes) -> None:
        self._in += data
        while len(self._in) >= 5:
            size = 5 + int.from_bytes(self._in[3:5], "big")
            if len(self._in) < size:
                return
            one = bytes(self._in[:size])
            del self._in[:size]
            assert one[1] == 3 and size <= 5 + 16384 + 256
            self._on_record(one)

    def _on_record(self, one: bytes) -> None:
        kind, content = one[0], one[5:]
        if kind == wire.APPLICATION_DATA:
            assert self.receive_keys, "a protected record without keys"
            kind, content = self.receive_keys.open(one)
        if kind == wire.ALERT:
            self.alert = (content[0], wire.ALERTS[content[1]])
        elif kind == wire.CHANGE_CIPHER_SPEC:
            assert content == b"\1" and not self.is_open
            self.change_cipher_specs += 1
        elif kind == wire.APPLICATION_DATA:
            assert self.is_open
            self.received += content
        else:
            assert kind == wire.HANDSHAKE
            self._flight += content
            while len(self._flight) >= 4:
                size = 4 + int.from_bytes(self._flight[1:4], "big")
                if len(self._flight) < size:
                    return
                one_message, self._flight = self._flight[:size], self._flight[size:]
                self._on_message(one_message)

    def _on_message(self, one: bytes) -> None:
        if self.is_open:
            self.posts.append(one)
            if one[0] == 24:
                assert self.receive_keys
                self.receive_keys = self.receive_keys.updated()
        elif one[0] == 1:
            self._on_client_hello(one)
        elif one[0] == 11:
            self._on_client_certificate(one)
        elif one[0] == 15:
            self._on_client_verify(one)
        else:
            assert one[0] == 20, f"message {one[0]}"
            self._on_client_finished(one)

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
            self._emit("retry", self._hello_message(wire.RETRY_RANDOM, self._retry))
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
        assert next(reversed(self.hello)) == 41 and self.hello[45] == b"\1\1"
        reader = Reader(self.hello[41])
        identities, binders = Reader(reader.vector(2)), Reader(reader.vector(2))
        ticket, _age = identities.vector(2), identities.number(4)
        binder = binders.vector(1)
        assert not identities.rest and not binders.rest
        psk = self._psks.get(ticket)
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

    def _emit(self, name: str, one: bytes) -> None:
        one = self.hooks.get(name, bytes)(one)
        self._transcript += one
        if one:
            self.send(one, wire.HANDSHAKE)

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
        share, secret = self._share()
        parts = [(51, share)] + ([(41, b"\0\0")] if psk else [])
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
        chain = b"".join(vector(der, 3) + b"\0\0" for der in (self._pair.der, *self._pair.issuers))
        return message(11, b"\0" + vector(chain, 3))

    def certificate_verify(self, context: bytes = SERVER_CONTEXT, scheme: int = 0) -> bytes:
        signed = context + hashlib.sha256(self._transcript).digest()
        key = self._pair.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
            scheme = scheme or ECDSA_P256
        else:
            assert isinstance(key, rsa.RSAPrivateKey)
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            signature = key.sign(signed, pss, hashes.SHA256())
            scheme = scheme or PSS_RSAE
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

    def _on_client_verify(self, one: bytes) -> None:
        reader = Reader(one[4:])
        scheme, signature = reader.number(2), reader.vector(2)
        signed = CLIENT_CONTEXT + hashlib.sha256(self._transcript).digest()
        key = x509.load_der_x509_certificate(self.client_chain[0]).public_key()
        if scheme == ECDSA_P256:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        else:
            assert scheme == PSS_RSAE and isinstance(key, rsa.RSAPublicKey)
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            key.verify(signature, signed, pss, hashes.SHA256())
        self._transcript += one

    def _on_client_finished(self, one: bytes) -> None:
        assert self.receive_keys
        assert one[4:] == self._verify_data(self.receive_keys.secret), "the client's Finished"
        self._transcript += one
        self.resumption_secret = self._derive(self._master, "res master")
        self.receive_keys = Keys(self._client_application)
        self.is_open = True
