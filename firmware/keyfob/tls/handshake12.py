"""Second phase of TLS 1.2: what the ServerHello's extensions agree on, the Certificate in.

RFC 5246 sections 7.4.1.4 and 7.4.2, and the documents named in `keyfob.tls.client_hello`.
With a pre-shared key there is no Certificate (RFC 4279).
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12
from keyfob.tls.wire import Reader

_MAX_FRAGMENT_LENGTH = const(1)
_POINT_FORMATS = const(11)
_ALPN = const(16)
_ENCRYPT_THEN_MAC = const(22)
_EXTENDED_MASTER_SECRET = const(23)
_RECORD_SIZE_LIMIT = const(28)
_SESSION_TICKET = const(35)
_RENEGOTIATION_INFO = const(0xFF01)
# server_name, encrypt_then_mac, extended_master_secret, session_ticket: an answer says yes.
_EMPTY = const((0, 22, 23, 35))
_LEAST_RECORD_LIMIT = const(64)
_CBC_SUITES = const((0xC023, 0xC027, 0x003C, 0x00AE))
_CERTIFICATE = const(11)
# Hashes to come: for the session hash and CertificateVerify, and both Finished.
_POINTS = const(3)
_POINTS_RESUMED = const(2)


def run(hs):
    """Phase. Next: judge; exchange12 with a pre-shared key; finish12 when the server takes
    up the offered session."""
    found = hs.extensions
    if bytes(found.get(_RENEGOTIATION_INFO, b"")) != b"\x00":
        raise KeyfobError("tls.no-secure-renegotiation", "RFC 5746 is not signalled")
    for kind in _EMPTY:
        if found.get(kind):
            raise KeyfobError("tls.malformed", "extension %d with content" % kind)
    if _POINT_FORMATS in found:  # RFC 8422 section 5.2
        reader = Reader(found[_POINT_FORMATS])
        formats = bytes(reader.vector(1, 1))
        reader.finish()
        if 0 not in formats:
            raise KeyfobError("tls.illegal-parameter", "no uncompressed points")
    read_limits(hs, found)
    read_alpn(hs, found)
    hs.has_ticket = _SESSION_TICKET in found
    hs.is_extended = _EXTENDED_MASTER_SECRET in found
    hs.is_mac_last = _ENCRYPT_THEN_MAC in found
    if hs.is_mac_last and hs.engine.suite not in _CBC_SUITES:
        raise KeyfobError("tls.illegal-parameter", "encrypt-then-MAC without CBC")
    hs.extensions = hs.server_hello = hs.sent = found = None
    if hs.session_id and hs.server_session_id == hs.session_id:
        _check_resumption(hs)
        hs.engine.is_resumed = True
        hs.transcript.keep(_POINTS_RESUMED)
        return "finish12"
    hs.offered = None  # a ticket may have 2 KB
    hs.transcript.keep(_POINTS)
    if hs.psk:
        return "exchange12"
    hs.drop("keyfob.tls.wire")
    from keyfob.tls.sinks import CertificateList

    hs.sinks = {_CERTIFICATE: CertificateList(False)}
    _, sink = yield bytes((_CERTIFICATE,))
    hs.sinks = {}
    hs.chain = sink.chain
    return "judge"


def read_limits(hs, found: dict) -> None:
    """How large records may be, each way: extensions max_fragment_length and
    record_size_limit."""
    engine = hs.engine
    if _MAX_FRAGMENT_LENGTH in found:
        content = found[_MAX_FRAGMENT_LENGTH]
        if len(content) != 1 or 256 << content[0] != hs.rx_bytes or _RECORD_SIZE_LIMIT in found:
            raise KeyfobError("tls.illegal-parameter", "max_fragment_length %r" % bytes(content))
        engine.rx_limit = hs.rx_bytes
        engine.tx_limit = min(engine.tx_limit, hs.rx_bytes)
    elif _RECORD_SIZE_LIMIT in found:
        reader = Reader(found[_RECORD_SIZE_LIMIT])
        limit = reader.number(2)
        reader.finish()
        if limit < _LEAST_RECORD_LIMIT:
            raise KeyfobError("tls.illegal-parameter", "record_size_limit %d" % limit)
        engine.rx_limit = hs.rx_bytes
        engine.tx_limit = min(engine.tx_limit, limit)


def read_alpn(hs, found: dict) -> None:
    """The protocol that the server chose, RFC 7301 section 3.1."""
    if _ALPN not in found:
        return
    outer = Reader(found[_ALPN])
    reader = Reader(outer.vector(2))
    outer.finish()
    name = bytes(reader.vector(1))
    reader.finish()
    if name not in hs.alpn:
        raise KeyfobError("tls.not-offered", "application protocol %r" % name)
    hs.engine.alpn = name


def _check_resumption(hs) -> None:
    """RFC 5246 section 7.4.1.3, RFC 7627 section 5.3."""
    offered = hs.offered
    suite = hs.engine.suite
    if not offered or offered.version != TLS12:
        raise KeyfobError("tls.illegal-parameter", "a session resumed that was not offered")
    if suite != offered.suite:
        detail = "resumed with suite %04x, was %04x" % (suite, offered.suite)
        raise KeyfobError("tls.illegal-parameter", detail)
    if not hs.is_extended:
        raise KeyfobError("tls.illegal-parameter", "resumed without extended master secret")
