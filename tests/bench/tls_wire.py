"""Messages, records and vectors of TLS for a test's server: what both versions share.

Like all of the server it shares no line with the product's engine, and does not check
what a server would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def vector(content: bytes, size: int) -> bytes:
    """``content`` with its length before it in ``size`` bytes."""
    return len(content).to_bytes(size, "big") + content


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(body, 3)


def record(kind: int, content: bytes, version: int = 0x0303) -> bytes:
    return bytes([kind]) + version.to_bytes(2, "big") + vector(content, 2)


def extensions(parts: Iterable[tuple[int, bytes]]) -> bytes:
    return vector(
        b"".join(number.to_bytes(2, "big") + vector(body, 2) for number, body in parts), 2
    )


class Reader:
    """Reads vectors off a buffer; an overrun is the engine's mistake and fails the test."""

    def __init__(self, buffer: bytes) -> None:
        self.rest = buffer

    def take(self, count: int) -> bytes:
        assert len(self.rest) >= count, f"{count} bytes wanted of {self.rest.hex()}"
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def extensions(self) -> dict[int, bytes]:
        inside, found = Reader(self.vector(2)), {}
        while inside.rest:
            number = inside.number(2)
            assert number not in found, f"extension {number} twice"
            found[number] = inside.vector(2)
        return found
