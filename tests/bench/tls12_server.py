"""A TLS 1.2 server without I/O that can break one thing at a time: see `tls_server`."""

from __future__ import annotations

import hashlib
import hmac
import os

import tls_wire as wire
from certificates import Pair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from tls12_wire import CbcKeys, GcmKeys, prf
from tls_server import ECDSA_P256, PKCS1_SHA256, Hook, TlsServer, sign
from tls_wire import Reader, message, record, vector

ECDHE_ECDSA_GCM, ECDHE_RSA_GCM = 0xC02B, 0xC02F
ECDHE_ECDSA_CBC, ECDHE_RSA_CBC = 0xC023, 0xC027
RSA_GCM, RSA_CBC, PSK_GCM, PSK_CBC = 0x009C, 0x003C, 0x00A8, 0x00AE
GCM = (ECDHE_ECDSA_GCM, ECDHE_RSA_GCM, RSA_GCM, PSK_GCM)
RSA_EXCHANGE = (RSA_GCM, RSA_CBC)
RENEGOTIATION = (0xFF01, b"\0")
EXTENDED = (23, b"")
ETM = (22, b"")
TICKET = (35, b"")


class Server12(TlsServer):
    """``suite``: the one it chooses. ``parts``: extensions of its ServerHello. ``sessions``:
    master secret and suite by session id or ticket. ``ticket``: what it gives in a
    NewSessionTicket. The rest: see `tls_server.TlsServer`.
    """

    def __init__(
        self,
        pair: Pair | None,
        *,
        suite: int = ECDHE_ECDSA_GCM,
        hooks: dict[str, Hook] | None = None,
        parts: tuple[tuple[int, bytes], ...] = (RENEGOTIATION, EXTENDED),
        asks: bytes | None = None,
        sessions: dict[bytes, tuple[bytes, int]] | None = None,
        session_id: bytes = b"",
        ticket: bytes = b"",
        psk: bytes = b"",
        fragment: int = 1000,
    ) -> None:
        super().__init__(pair, hooks, asks, fragment)
        self.client_random = self.server_random = b""
        self.sessions = sessions if sessions is not None else {}
        self.suite = suite
        self.suites: list[int] = []
        self.master = self.identity = b""
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self._parts = parts
        self._session_id, self._ticket, self._psk = session_id, ticket, psk
        self._keys: tuple[GcmKeys | CbcKeys, GcmKeys | CbcKeys] | None = None

    def _opened(self, one: bytes) -> tuple[int, bytes]:
        assert one[1:3] == b"\3\3" or (not self._keys and one[1:3] == b"\3\1")
        return self.receive_keys.open(one) if self.receive_keys else (one[0], one[5:])

    def _on_change_cipher_spec(self, content: bytes) -> None:
        assert content == b"\1" and not self.receive_keys and self._keys
        self.receive_keys = self._keys[0]

    # The server's flights.

    def _on_client_hello(self, one: bytes) -> None:
        reader = Reader(one[4:])
        assert reader.number(2) == 0x0303
        self.client_random, session_id = reader.take(32), reader.vector(1)
        suites = reader.vector(2)
        offered = [int.from_bytes(suites[i : i + 2], "big") for i in range(0, len(suites), 2)]
        self.suites = offered
        assert reader.vector(1) == b"\0"
        self.hello = reader.extensions()
        assert not reader.rest
        self._transcript += one
        found = self.sessions.get(self.hello.get(35, b"")) or self.sessions.get(session_id)
        self.was_resumed = found is not None
        if found:
            self.master, self.suite = found
            self._session_id = session_id
        self.server_random = os.urandom(32)
        self._emit("server_hello", self._server_hello())
        if found:
            self._make_keys()
            self._send_finished()
            return
        if self.pair and not self._psk:
            self._emit("certificate", self.certificate())
        if self.suite not in RSA_EXCHANGE and not self._psk:
            self._emit("key_exchange", self.key_exchange())
        if self._asks is not None:
            self._emit("certificate_request", message(13, self._asks))
        self._emit("hello_done", message(14, b""))

    def _server_hello(self) -> bytes:
        body = b"\3\3" + self.server_random + vector(self._session_id, 1)
        body += self.suite.to_bytes(2, "big") + b"\0"
        parts = list(self._parts) + ([TICKET] if self._ticket else [])
        return message(2, body + (wire.extensions(parts) if parts else b""))

    def certificate(self) -> bytes:
        assert self.pair
        chain = b"".join(vector(der, 3) for der in (self.pair.der, *self.pair.issuers))
        return message(11, vector(chain, 3))

    def key_exchange(
        self,
        *,
        curve: bytes = b"\3\0\x17",
        point: bytes | None = None,
        scheme: int = 0,
        signer: Pair | None = None,
        randoms: bytes | None = None,
    ) -> bytes:
        """ServerKeyExchange; each argument takes the place of what is right."""
        form = serialization.PublicFormat.UncompressedPoint
        right = self.secret.public_key().public_bytes(serialization.Encoding.X962, form)
        params = curve + vector(right if point is None else point, 1)
        signed = (randoms or self.client_random + self.server_random) + params
        signer = signer or self.pair
        assert signer
        is_ecdsa = isinstance(signer.key, ec.EllipticCurvePrivateKey)
        scheme = scheme or (ECDSA_P256 if is_ecdsa else PKCS1_SHA256)
        signature = sign(signer.key, scheme, signed)
        return message(12, params + scheme.to_bytes(2, "big") + vector(signature, 2))

    def _make_keys(self) -> None:
        seed = self.server_random + self.client_random
        if self.suite in GCM:
            block = prf(self.master, b"key expansion", seed, 40)
            theirs = GcmKeys(block[:16], block[32:36])
            self._keys = theirs, GcmKeys(block[16:32], block[36:])
        else:
            is_mac_last = ETM in self._parts
            block = prf(self.master, b"key expansion", seed, 96)
            theirs = CbcKeys(block[64:80], block[:32], is_mac_last)
            self._keys = theirs, CbcKeys(block[80:], block[32:64], is_mac_last)

    def _send_finished(self) -> None:
        if self._ticket:
            body = (7200).to_bytes(4, "big") + vector(self._ticket, 2)
            self.sessions[self._ticket] = self.master, self.suite
            self._emit("ticket", message(4, body))
        elif self._session_id:
            self.sessions[self._session_id] = self.master, self.suite
        assert self._keys
        self.put(self.hooks.get("change_cipher_spec", bytes)(record(20, b"\1")))
        self.send_keys = self._keys[1]
        self._emit("finished", message(20, self._verify_data(b"server finished")))

    def _verify_data(self, label: bytes) -> bytes:
        return prf(self.master, label, hashlib.sha256(self._transcript).digest(), 12)

    # The client's flight.

    def _on_client_certificate(self, one: bytes) -> None:
        assert self._asks is not None
        entries = Reader(Reader(one[4:]).vector(3))
        while entries.rest:
            self.client_chain.append(entries.vector(3))
        self._transcript += one

    def _on_client_key_exchange(self, one: bytes) -> None:
        reader = Reader(one[4:])
        if self._psk:
            self.identity = reader.vector(2)
            premaster = vector(bytes(len(self._psk)), 2) + vector(self._psk, 2)
        elif self.suite in RSA_EXCHANGE:
            assert self.pair and isinstance(self.pair.key, rsa.RSAPrivateKey)
            premaster = self.pair.key.decrypt(reader.vector(2), padding.PKCS1v15())
            assert premaster[:2] == b"\3\3" and len(premaster) == 48
        else:
            curve = ec.SECP256R1()
            point = ec.EllipticCurvePublicKey.from_encoded_point(curve, reader.vector(1))
            premaster = self.secret.exchange(ec.ECDH(), point)
        assert not reader.rest
        self._transcript += one
        if EXTENDED in self._parts:
            digest = hashlib.sha256(self._transcript).digest()
            self.master = prf(premaster, b"extended master secret", digest, 48)
        else:
            seed = self.client_random + self.server_random
            self.master = prf(premaster, b"master secret", seed, 48)
        self._make_keys()

    def _client_signs(self) -> bytes:
        return self._transcript

    def _on_client_finished(self, one: bytes) -> None:
        assert self.receive_keys, "Finished in clear"
        want = self._verify_data(b"client finished")
        assert hmac.compare_digest(one[4:], want), "the client's Finished"
        self._transcript += one
        if not self.was_resumed:
            self._send_finished()
        self.is_open = True
