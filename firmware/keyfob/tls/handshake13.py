"""Second phase of a handshake of TLS 1.3: from the ServerHello to EncryptedExtensions.

RFC 8446 sections 4.1.3, 4.1.4, 4.2.8, 4.2.9 and 4.3.1. What a HelloRetryRequest asks for
is left in ``hs.retry``, and the first phase comes once more.
"""

import hashlib

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12
from keyfob.tls.wire import Reader, read_extensions

_SERVER_HELLO = const(2)
_ENCRYPTED_EXTENSIONS = const(8)
_MESSAGE_HASH = const(254)
_SERVER_NAME = const(0)
_MAX_FRAGMENT_LENGTH = const(1)
_SUPPORTED_GROUPS = const(10)
_ALPN = const(16)
_RECORD_SIZE_LIMIT = const(28)
_PRE_SHARED_KEY = const(41)
_SUPPORTED_VERSIONS = const(43)
_COOKIE = const(44)
_KEY_SHARE = const(51)
_P256 = const(0x0017)
_X25519 = const(0x001D)
_POINTS = const(8)


def run(hs):
    """Phase. Next: client_hello, certificate13, or finished13 when a session is resumed."""
    if hs.server_session_id != hs.session_id:
        raise KeyfobError("tls.illegal-parameter", "ServerHello with another session id")
    if hs.session_id and hs.retry is None:
        yield from hs.send_change_cipher_spec()  # for middleboxes, appendix D.4
    if hs.server_random == hashlib.sha256(b"HelloRetryRequest").digest():
        _read_retry(hs)
        return "client_hello"
    yield  # the shared secret takes long
    _make_keys(hs)
    _, body = yield bytes((_ENCRYPTED_EXTENSIONS,))
    _read_encrypted_extensions(hs, body)
    return "finished13" if hs.resumed else "certificate13"


def _read_retry(hs) -> None:
    if hs.retry is not None:
        raise KeyfobError("tls.unexpected-message", "a second HelloRetryRequest")
    hs.change_keys()  # what stands behind it cannot be an answer to what it asks for
    found = hs.extensions
    _check_extensions(found, (_SUPPORTED_VERSIONS, _KEY_SHARE, _COOKIE))
    hs.retry = b""
    if _KEY_SHARE in found:
        reader = Reader(found[_KEY_SHARE])
        group = reader.number(2)
        reader.finish()
        # One that was offered, and whose share was not sent (section 4.1.4).
        offered = (_P256,) if TLS12 in hs.versions else (_P256, _X25519)
        if group == hs.group or group not in offered:
            raise KeyfobError("tls.illegal-parameter", "HelloRetryRequest for group %04x" % group)
        hs.group = group
        hs.secret = hs.public = None
    elif _COOKIE not in found:
        raise KeyfobError("tls.illegal-parameter", "HelloRetryRequest that changes nothing")
    if _COOKIE in found:
        reader = Reader(found[_COOKIE])
        hs.retry = bytes(reader.vector(2, 1))
        reader.finish()
    # Section 4.4.1: the first ClientHello counts as the hash of it.
    body = hs.server_hello
    header = bytes((_SERVER_HELLO, 0, len(body) >> 8, len(body) & 255))
    hs.transcript.begin(_POINTS)
    hs.retry_hash = hashlib.sha256()
    for part in (bytes((_MESSAGE_HASH, 0, 0, 32)), hs.first_digest, header, body):
        hs.transcript.update(part)
        hs.retry_hash.update(part)


def _check_extensions(found: dict, known: tuple) -> None:
    for kind in found:
        if kind not in known:
            raise KeyfobError("tls.illegal-parameter", "extension %d in a wrong message" % kind)


def _make_keys(hs) -> None:
    """The keys of the handshake; ``hs.resumed``, and the secrets that come later."""
    found = hs.extensions
    _check_extensions(found, (_SUPPORTED_VERSIONS, _KEY_SHARE, _PRE_SHARED_KEY))
    psk = b""
    if _PRE_SHARED_KEY in found:
        if bytes(found[_PRE_SHARED_KEY]) != b"\x00\x00":
            raise KeyfobError("tls.illegal-parameter", "a pre-shared key that was not offered")
        psk = hs.offered.secret
    hs.resumed = bool(psk)
    if psk and hs.has_psk_ke:
        # It was all that was offered; zeros stand for the shared secret (section 7.1).
        if _KEY_SHARE in found:
            raise KeyfobError("tls.illegal-parameter", "key_share where psk_ke was offered")
        secret = b""
        hs.secret = hs.public = None
    else:
        secret = _shared_secret(hs)
    hs.drop("keyfob.crypto.")  # before more is loaded
    from keyfob.tls import keys13
    from keyfob.tls.protection13 import Protection13

    secret = keys13.next_secret(keys13.early_secret(psk), secret)
    digest = hs.transcript.digest()
    hs.client_secret = keys13.derive_secret(secret, b"c hs traffic", digest)
    hs.server_secret = keys13.derive_secret(secret, b"s hs traffic", digest)
    hs.master_secret = keys13.next_secret(secret)
    hs.change_keys()
    hs.engine.rx_keys = Protection13(hs.server_secret)
    hs.engine.tx_keys = Protection13(hs.client_secret)


def _shared_secret(hs) -> bytes:
    if _KEY_SHARE not in hs.extensions:
        raise KeyfobError("tls.missing-extension", "ServerHello without key_share")
    reader = Reader(hs.extensions[_KEY_SHARE])
    group = reader.number(2)
    point = bytes(reader.vector(2))
    reader.finish()
    if group != hs.group:
        raise KeyfobError("tls.illegal-parameter", "group %04x, want %04x" % (group, hs.group))
    if group == _X25519:
        from keyfob.crypto.x25519 import shared_secret
    else:
        from keyfob.crypto.p256 import shared_secret
    secret = shared_secret(hs.secret, point)
    if not secret:
        detail = "key share of %d bytes is no point of the curve" % len(point)
        raise KeyfobError("tls.illegal-parameter", detail)
    hs.secret = hs.public = None
    return secret


def _read_encrypted_extensions(hs, body) -> None:
    from keyfob.tls.handshake12 import read_alpn, read_limits

    found = read_extensions(Reader(body))
    for kind in found:
        if kind not in hs.sent:
            raise KeyfobError("tls.unknown-extension", "extension %d was not offered" % kind)
    _check_extensions(
        found,
        (_SERVER_NAME, _MAX_FRAGMENT_LENGTH, _SUPPORTED_GROUPS, _ALPN, _RECORD_SIZE_LIMIT),
    )
    if found.get(_SERVER_NAME):
        raise KeyfobError("tls.malformed", "server_name with content")
    read_limits(hs, found)
    if _RECORD_SIZE_LIMIT in found:
        # Here it counts the content's type too, and padding: RFC 8449 section 4.
        hs.engine.tx_limit -= 1
        hs.engine.rx_keys.limit = hs.rx_bytes
    read_alpn(hs, found)
    hs.extensions = hs.server_hello = None
