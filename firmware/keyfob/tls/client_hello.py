"""First phase of every handshake: the ClientHello out, the ServerHello in.

RFC 5246 section 7.4.1, RFC 8446 section 4.1 and section 4.2 (extensions), RFC 6066
(server_name, max_fragment_length), RFC 7301 (ALPN), RFC 7366 (encrypt-then-MAC), RFC
7627 (extended master secret), RFC 5746 (secure renegotiation), RFC 5077 (tickets), RFC
8449 (record size limit).

What is TLS 1.3's alone comes from `keyfob.tls.hello13`:

* ``extensions(hs) -> list``: supported_versions, key_share, psk_key_exchange_modes, and
  what ``hs.retry`` asks for, each an extension in bytes;
* ``pre_shared_key(hs) -> bytes``: that extension up to its binders, or b"" if there is
  no session of TLS 1.3 to resume; its length counts the binders;
* ``binders(hs, header, parts) -> bytes``: the rest, ``header`` (four bytes) and ``parts``
  being the message up to there.

P-256 is the only group, so in TLS 1.2 a server whose key is on P-384 has no suite for us
(RFC 8422 section 5.1); in TLS 1.3 it has.

A HelloRetryRequest is a ServerHello too: the phase `keyfob.tls.handshake13` sets
``hs.retry`` and returns to this one.
"""

import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, TLS13
from keyfob.tls.wire import Reader, read_extensions, vector

# Numbers of the extensions.
_SERVER_NAME = const(0)
_MAX_FRAGMENT_LENGTH = const(1)
_SUPPORTED_GROUPS = const(10)
_POINT_FORMATS = const(11)
_SIGNATURE_ALGORITHMS = const(13)
_ALPN = const(16)
_ENCRYPT_THEN_MAC = const(22)
_EXTENDED_MASTER_SECRET = const(23)
_RECORD_SIZE_LIMIT = const(28)
_SESSION_TICKET = const(35)
_SUPPORTED_VERSIONS = const(43)
_COOKIE = const(44)
_RENEGOTIATION_INFO = const(0xFF01)

_CLIENT_HELLO = const(1)
_SERVER_HELLO = const(b"\x02")
# ECDHE with ECDSA, then with RSA; GCM before CBC. RFC 5289.
_ECDHE_SUITES = const(b"\xc0\x2b\xc0\x2f\xc0\x23\xc0\x27")
_RSA_SUITES = const(b"\x00\x9c\x00\x3c")  # RFC 5288, RFC 5246
_PSK_SUITES = const(b"\x00\xa8\x00\xae")  # RFC 5487
_SUITES_13 = const(b"\x13\x01")
# ECDSA P-256, RSA-PSS and PKCS#1 with SHA-256, then the same with P-384 and SHA-384.
# A chain may be signed so too (RFC 5246 section 7.4.2).
_SCHEMES = const(b"\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01")
_GROUPS = const(b"\x00\x17")  # secp256r1
_X25519 = const(b"\x00\x1d")


def run(hs):
    """Phase. Next: handshake13 or handshake12."""
    parts = _client_hello(hs)
    yield from hs.send(_CLIENT_HELLO, *parts)
    hs.flush()
    if TLS13 in hs.versions:
        hs.first_digest = hs.transcript.digest()
    _, hs.server_hello = yield _SERVER_HELLO
    return _read_server_hello(hs, hs.server_hello)


def _client_hello(hs) -> list:
    if not hs.session_id:
        hs.session_id = _session_id(hs)
    extensions = _extensions(hs)
    offers_13 = TLS13 in hs.versions
    binder_bytes = 0
    if offers_13:
        from keyfob.tls import hello13

        extensions += hello13.extensions(hs)
        psk = hello13.pre_shared_key(hs)
        if psk:
            extensions.append(psk)
            binder_bytes = (psk[2] << 8 | psk[3]) + 4 - len(psk)
    hs.sent = [part[0] << 8 | part[1] for part in extensions]
    size = sum(len(part) for part in extensions) + binder_bytes
    parts = [
        b"\x03\x03" + hs.random + vector(1, hs.session_id) + vector(2, _suites(hs)) + b"\x01\x00",
        size.to_bytes(2, "big"),
    ]
    parts += extensions
    if binder_bytes:
        size = sum(len(part) for part in parts) + binder_bytes
        header = bytes((_CLIENT_HELLO,)) + size.to_bytes(3, "big")
        parts.append(hello13.binders(hs, header, parts))
    return parts


def _session_id(hs) -> bytes:
    """An id that is echoed tells that the ticket was taken (RFC 5077 section 3.4)."""
    if hs.offered and hs.offered.version == TLS12 and not hs.offered.ticket:
        return hs.offered.session_id
    if hs.offered or TLS13 in hs.versions:
        return os.urandom(32)
    return b""


def _suites(hs) -> bytes:
    if hs.psk:
        return _PSK_SUITES
    suites = _SUITES_13 if TLS13 in hs.versions else b""
    if TLS12 in hs.versions:
        suites += _ECDHE_SUITES
        if hs.has_rsa_exchange:
            suites += _RSA_SUITES
    return suites


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, content)


def _extensions(hs) -> list:
    """Those that TLS 1.2 has too. Only what both sides can use is offered."""
    fragment = hs.rx_bytes
    found = [
        _extension(_MAX_FRAGMENT_LENGTH, bytes((fragment_code(fragment),))),
        _extension(_RECORD_SIZE_LIMIT, fragment.to_bytes(2, "big")),
    ]
    if not is_address(hs.host):
        # Without the dot of an absolute name (RFC 6066 section 3).
        name = b"\x00" + vector(2, hs.host.rstrip(".").encode())
        found.append(_extension(_SERVER_NAME, vector(2, name)))
    if hs.alpn:
        names = [vector(1, name) for name in hs.alpn]
        found.append(_extension(_ALPN, vector(2, *names)))
    if not hs.psk:
        # Whoever offers TLS 1.2 too may be asked for any of them there.
        groups = _GROUPS if TLS12 in hs.versions else _GROUPS + _X25519
        found.append(_extension(_SUPPORTED_GROUPS, vector(2, groups)))
        found.append(_extension(_SIGNATURE_ALGORITHMS, vector(2, _SCHEMES)))
    if TLS12 in hs.versions:
        offered = hs.offered
        ticket = offered.ticket if offered and offered.version == TLS12 else b""
        found += [
            _extension(_POINT_FORMATS, b"\x01\x00"),
            _extension(_RENEGOTIATION_INFO, b"\x00"),
            _extension(_EXTENDED_MASTER_SECRET, b""),
            _extension(_ENCRYPT_THEN_MAC, b""),
            _extension(_SESSION_TICKET, ticket),
        ]
    return found


def fragment_code(size: int) -> int:
    """The number of max_fragment_length for ``size``, RFC 6066 section 4."""
    for code in range(1, 5):
        if size == 256 << code:
            return code
    raise KeyfobError("config.out-of-range", "rx_bytes %d, want 512, 1024, 2048 or 4096" % size)


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address; those are not named (RFC 6066 section 3)."""
    return ":" in host or not host.strip("0123456789.")


def _read_server_hello(hs, body) -> str:
    """Keep what it says in ``hs``; the next phase."""
    reader = Reader(body)
    version = reader.number(2)
    hs.server_random = bytes(reader.read(32))
    hs.server_session_id = bytes(reader.vector(1))
    suite = reader.number(2)
    compression = reader.number(1)
    extensions = read_extensions(reader, True)
    is_said = TLS13 in hs.versions and _SUPPORTED_VERSIONS in extensions
    # TLS 1.3 is said by the extension only, and 1.2 without it (RFC 8446 section 4.1.3).
    is_13 = version == TLS12 and is_said
    if is_13:
        reader = Reader(extensions[_SUPPORTED_VERSIONS])
        version = reader.number(2)
        reader.finish()
    is_older = hs.retry is not None and not is_13
    if version not in hs.versions or is_13 != (version == TLS13) or is_older:
        # Who knows the extension has no excuse; others are just old (section 4.2.1).
        code = "tls.illegal-parameter" if is_said or is_older else "tls.wrong-version"
        raise KeyfobError(code, "the broker chose %04x" % version)
    if len(hs.server_session_id) > 32:
        raise KeyfobError("tls.malformed", "session id of %d bytes" % len(hs.server_session_id))
    if compression:
        raise KeyfobError("tls.not-offered", "compression %d" % compression)
    suites = _suites(hs)
    offered = [suites[at] << 8 | suites[at + 1] for at in range(0, len(suites), 2)]
    if suite not in offered or (suite >> 8 == 0x13) != (version == TLS13):
        raise KeyfobError("tls.not-offered", "cipher suite %04x" % suite)
    for kind in extensions:
        # A HelloRetryRequest may ask to have its cookie back.
        if kind not in hs.sent and not (version == TLS13 and kind == _COOKIE):
            raise KeyfobError("tls.unknown-extension", "extension %d" % kind)
        # Those of TLS 1.3, and what no ServerHello has (RFC 8446 section 4.2).
        if version == TLS12 and (kind == _SIGNATURE_ALGORITHMS or 41 <= kind <= 51):
            raise KeyfobError("tls.illegal-parameter", "extension %d in a wrong message" % kind)
    if version == TLS12 and hs.server_random[24:31] == b"DOWNGRD":
        _check_downgrade(hs)
    hs.engine.version = version
    hs.engine.suite = suite
    hs.extensions = extensions
    return "handshake13" if version == TLS13 else "handshake12"


def _check_downgrade(hs) -> None:
    """RFC 8446 section 4.1.3: the server can do better than what it was made to choose."""
    last = hs.server_random[31]
    if not last or (last == 1 and TLS13 in hs.versions):
        raise KeyfobError("tls.downgrade", "TLS 1.2 with the mark of a downgrade, %d" % last)
