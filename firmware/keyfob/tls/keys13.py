"""The key schedule of TLS 1.3 for the suites with SHA-256 (RFC 8446 sections 4.4 and 7).

Secrets go in and come out as 32 bytes; a transcript comes in as its digest. No step
here needs more than one block of HKDF-Expand. Not checked: the sizes of what is put
in, which are the caller's. MicroPython cannot wipe a secret: it is gone when the heap
is used again.
"""

from micropython import const

from keyfob.crypto.hmac import hmac_sha256

_HASH_BYTES = const(32)
_KEY_BYTES = const(16)
_IV_BYTES = const(12)
# SHA-256 of nothing.
_EMPTY_DIGEST = (
    b"\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24"
    b"\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55"
)


def expand_label(secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label of at most 32 bytes; ``label`` without its prefix "tls13 "."""
    label = b"tls13 " + label
    info = bytes((0, size, len(label))) + label + bytes((len(context),)) + context
    return hmac_sha256(secret, info, b"\1")[:size]


def derive_secret(secret: bytes, label: bytes, digest: bytes = _EMPTY_DIGEST) -> bytes:
    """Derive-Secret; ``digest`` is that of the messages."""
    return expand_label(secret, label, digest, _HASH_BYTES)


def early_secret(psk: bytes = b"") -> bytes:
    """Early Secret; without PSK, that of zeros."""
    return hmac_sha256(bytes(_HASH_BYTES), psk or bytes(_HASH_BYTES))


def next_secret(secret: bytes, shared_secret: bytes = b"") -> bytes:
    """From Early to Handshake Secret with (EC)DHE's shared secret, from there to Master
    Secret without."""
    salt = derive_secret(secret, b"derived")
    return hmac_sha256(salt, shared_secret or bytes(_HASH_BYTES))


def verify_data(base_secret: bytes, digest: bytes) -> bytes:
    """What Finished, or a PSK's binder, says of a transcript with this ``digest``."""
    return hmac_sha256(expand_label(base_secret, b"finished", b"", _HASH_BYTES), digest)


def signed_content(side: bytes, digest: bytes) -> bytes:
    """What a CertificateVerify of ``side``, b"server" or b"client", signs (section 4.4.3)."""
    return b" " * 64 + b"TLS 1.3, " + side + b" CertificateVerify\x00" + digest


def traffic_keys(secret: bytes) -> tuple:
    """(key, iv) of AES-128-GCM for records under a traffic secret."""
    key = expand_label(secret, b"key", b"", _KEY_BYTES)
    return key, expand_label(secret, b"iv", b"", _IV_BYTES)


def next_traffic_secret(secret: bytes) -> bytes:
    """The traffic secret after a KeyUpdate."""
    return expand_label(secret, b"traffic upd", b"", _HASH_BYTES)


def resumption_psk(resumption_secret: bytes, nonce: bytes) -> bytes:
    """The PSK of a ticket with this ``nonce``."""
    return expand_label(resumption_secret, b"resumption", nonce, _HASH_BYTES)
