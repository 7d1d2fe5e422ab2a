"""What TLS 1.3 adds to the ClientHello (RFC 8446 section 4.2), for `keyfob.tls.client_hello`.

One key share, of P-256, which every server must know (section 9.1); of X25519 when a
HelloRetryRequest asks for it. One pre-shared key, that of a session which was verified,
with (EC)DHE (psk_dhe_ke), unless psk_ke is asked for: then without, and without a key share
until a HelloRetryRequest wants one. What that costs is said in `keyfob.tls.engine`. Early
data are never offered.
"""

import hashlib

from micropython import const

from keyfob.tls.engine import TLS13
from keyfob.tls.wire import vector

_P256 = const(0x0017)
_DIGEST_BYTES = const(32)


def extensions(hs) -> list:
    """supported_versions, key_share, psk_key_exchange_modes, and the cookie that is to be
    sent back. ``hs.retry``: None, or the cookie of a HelloRetryRequest, b"" if it has none.
    Leaves ``hs.group``, that of the key share, 0 without one; it stays what it is when a
    HelloRetryRequest names none (section 4.1.2)."""
    modes = b"\x01"  # psk_dhe_ke
    group = _P256
    if hs.has_psk_ke:
        # A ticket is for the modes that were named when it was made (section 4.2.9), so both
        # are where there is none yet. Of both, servers take the one with a key exchange.
        modes = b"\x00\x01"
        if hs.offered and hs.offered.version == TLS13:
            modes = b"\x00"
            group = 0
    if hs.retry is None:
        hs.group = group
    versions = b"".join(version.to_bytes(2, "big") for version in hs.versions)
    found = [
        b"\x00\x2b" + vector(2, vector(1, versions)),
        b"\x00\x33" + vector(2, vector(2, _key_share(hs) if hs.group else b"")),
        b"\x00\x2d" + vector(2, vector(1, modes)),
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
