"""What the tests of hostile servers share: verdicts, and messages in the place of right ones.

A verdict is the error's code and the name of the alert that the server gets. The tests
are sorted by what is broken: test_tls_hostile_*.py.
"""

from __future__ import annotations

from collections.abc import Callable

from certificates import Pair, make_leaf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tls12_server import EXTENDED, RENEGOTIATION, Server12
from tls_rig import CA, HOST, opened, refused
from tls_wire import extensions, message, vector

from keyfob.tls.engine import TLS12, Engine

UNEXPECTED = ("tls.unexpected-message", "unexpected_message")
FLOOD = ("tls.flood", "unexpected_message")
ILLEGAL = ("tls.illegal-parameter", "illegal_parameter")
NOT_OFFERED = ("tls.not-offered", "illegal_parameter")
DOWNGRADE = ("tls.downgrade", "illegal_parameter")
UNKNOWN = ("tls.unknown-extension", "unsupported_extension")
MISSING = ("tls.missing-extension", "missing_extension")
MALFORMED = ("tls.malformed", "decode_error")
WRONG_VERSION = ("tls.wrong-version", "protocol_version")
BAD_SIGNATURE = ("tls.bad-signature", "decrypt_error")
BAD_FINISHED = ("tls.bad-finished", "decrypt_error")
BAD_MAC = ("tls.bad-record-mac", "bad_record_mac")
OVERFLOW = ("tls.record-overflow", "record_overflow")
TOO_LARGE = ("tls.message-too-large", "internal_error")
NO_CERTIFICATE = ("x509.no-certificate", "decode_error")

PARTS = (RENEGOTIATION, EXTENDED)
NOT_ON_CURVE = b"\x04" + bytes(63) + b"\1"


def refused12(server: Server12, **options: object) -> tuple[str, str]:
    """`tls_rig.refused` where TLS 1.2 alone is offered."""
    return refused(server, **{"versions": (TLS12,), **options})


def opened12(server: Server12, **options: object) -> Engine:
    return opened(server, **{"versions": (TLS12,), **options})


def flipped(one: bytes, at: int = -1) -> bytes:
    """With one bit changed."""
    changed = bytearray(one)
    changed[at] ^= 1
    return bytes(changed)


def leaf(**options: object) -> Pair:
    """Another certificate for the broker's name."""
    return make_leaf(CA, HOST, (HOST,), **options)


def alpn(*names: bytes) -> tuple[int, bytes]:
    return 16, vector(b"".join(vector(name, 1) for name in names), 2)


def hello12(
    parts: tuple[tuple[int, bytes], ...] = PARTS,
    *,
    version: bytes = b"\3\3",
    random: bytes = bytes(32),
    session_id: bytes = b"",
    suite: bytes = b"\xc0\x2b",
    compression: bytes = b"\0",
    raw: bytes | None = None,
) -> Callable[[bytes], bytes]:
    """A hook that sends another ServerHello of TLS 1.2; ``raw``: its extensions as they stand."""
    body = version + random + vector(session_id, 1) + suite + compression
    return lambda _: message(2, body + (extensions(parts) if raw is None else raw))


def hello13(
    parts: list[tuple[int, bytes]],
    *,
    version: bytes = b"\3\3",
    random: bytes = bytes(32),
    echo: bytes | None = None,
    suite: bytes = b"\x13\1",
    compression: bytes = b"\0",
) -> Callable[[bytes], bytes]:
    """A hook that sends another ServerHello of TLS 1.3."""

    def change(one: bytes) -> bytes:
        session_id = one[39:71] if echo is None else echo
        body = version + random + vector(session_id, 1) + suite + compression
        return message(2, body + extensions(parts))

    return change


def share(group: int, point: bytes) -> tuple[int, bytes]:
    return 51, group.to_bytes(2, "big") + vector(point, 2)


def real_point() -> bytes:
    """A point of P-256."""
    form = serialization.PublicFormat.UncompressedPoint
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.X962, form)


IS_13 = (43, b"\3\4")
GOOD = share(0x17, real_point())
COOKIE = (44, vector(b"cookie", 2))
