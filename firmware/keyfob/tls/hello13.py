"""What TLS 1.3 adds to the ClientHello (RFC 8446 section 4.2), for `keyfob.tls.client_hello`.

One key share, of P-256, which every server must know (section 9.1); of X25519 when a
HelloRetryRequest asks for it. One pre-shared key, that of a session which was verified,
always with (EC)DHE. Early data are never offered.
"""

import hashlib

from micropython import const

from keyfob.tls.engine import TLS13
from keyfob.tls.wire import vector

_P256 = const(0x0017)
_DIGEST_BYTES = const(32)


def extensions(hs) -> list:
    """supported_versions, key_share, psk_key_exchange_modes, and the cookie that is to be
    sent back. ``hs.retry``: None, or the cookie of a HelloRetryRequest, b"" if it has none."""
    if hs.retry is None:
        hs.group = _P256
    versions = b"".join(version.to_bytes(2, "big") for version in hs.versions)
    found = [
        b"\x00\x2b" + vector(2, vector(1, versions)),
        b"\x00\x33" + vector(2, vector(2, _key_share(hs))),
        b"\x00\x2d\x00\x02\x01\x01",  # psk_dhe_ke
    ]
    if hs.retry:
        found.append(b"\x00\x2c" + vector(2, vector(2, hs.retry)))
    return found


def _key_share(hs) -> bytes:
    """KeyShareEntry of our key pair, which is made where there is none; TLS 1.2 uses it too."""
    if not hs.secret:
        if hs.group == _P256:
            from keyfob.crypto import p256

            hs.secret = p256.new_secret()
            hs.public = p256.public_key(hs.secret)
        else:
            from keyfob.crypto import x25519
            from keyfob.crypto.entropy import random_bytes

            hs.secret = random_bytes(32)
            hs.public = x25519.public_key(hs.secret)
        hs.drop("keyfob.crypto.")
    return hs.group.to_bytes(2, "big") + vector(2, hs.public)


def pre_shared_key(hs) -> bytes:
    """The extension up to its binders, for the session to resume; b"" if there is none."""
    session = hs.offered
    if not session or session.version != TLS13:
        return b""
    # ``extra`` is ticket_age_add; the sum is obfuscated_ticket_age (section 4.2.11.1).
    age_ms = (hs.now_s - session.made_s) * 1000 + session.extra & 0xFFFFFFFF
    identities = vector(2, vector(2, session.ticket) + age_ms.to_bytes(4, "big"))
    # The binders: two bytes of length, one of the only binder's.
    size = len(identities) + 3 + _DIGEST_BYTES
    return b"\x00\x29" + size.to_bytes(2, "big") + identities


def binders(hs, header: bytes, parts: list) -> bytes:
    """The rest of pre_shared_key; ``header`` and ``parts`` are the ClientHello up to there.
    Section 4.2.11.2."""
    from keyfob.tls import keys13

    transcript = hs.retry_hash or hashlib.sha256()
    transcript.update(header)
    for part in parts:
        transcript.update(part)
    key = keys13.derive_secret(keys13.early_secret(hs.offered.secret), b"res binder")
    return vector(2, vector(1, keys13.verify_data(key, transcript.digest())))
