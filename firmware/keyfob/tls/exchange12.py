"""Phase of a full handshake of TLS 1.2: the server's key exchange, and what it asks for.

RFC 5246 sections 7.4.3 to 7.4.5, RFC 8422 section 5.4, RFC 4279 section 2 (PSK).
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.wire import Reader

_SERVER_KEY_EXCHANGE = const(12)
_CERTIFICATE_REQUEST = const(13)
_SERVER_HELLO_DONE = const(14)
_NAMED_CURVE = const(3)
_SECP256R1 = const(0x0017)
# Types, and signature schemes up to a number that nobody reaches.
_REQUEST_HEAD_BYTES = const(512)
_RSA_EXCHANGE_SUITES = const((0x009C, 0x003C))
_SCHEMES = const((0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501))


def run(hs):
    """Phase. Next: client12. Leaves ``hs.server_point``; ``hs.request``: the signature
    schemes that the server takes from a client, None if it does not ask."""
    hs.request = None
    done = bytes((_SERVER_HELLO_DONE,))
    if hs.psk:
        kind, body = yield bytes((_SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE))
        if kind == _SERVER_KEY_EXCHANGE:
            reader = Reader(body)  # the identity hint, which means nothing to us
            reader.vector(2)
            reader.finish()
            kind, body = yield done
    else:
        if hs.engine.suite not in _RSA_EXCHANGE_SUITES:
            _, body = yield bytes((_SERVER_KEY_EXCHANGE,))
            yield
            _read_key_exchange(hs, body)
            hs.server_key = None
            hs.drop("keyfob.crypto.", "keyfob.pki.")
        # Of a CertificateRequest only the head is of use: behind it stand names of CAs, up
        # to 64 KB of them.
        hs.heads = {_CERTIFICATE_REQUEST: _REQUEST_HEAD_BYTES}
        kind, body = yield bytes((_CERTIFICATE_REQUEST, _SERVER_HELLO_DONE))
        if kind == _CERTIFICATE_REQUEST:
            reader = Reader(body)
            reader.vector(1, 1)  # certificate types, which the schemes say more precisely
            hs.request = bytes(reader.vector(2, 2))
            if len(hs.request) & 1:
                raise KeyfobError("tls.malformed", "schemes in %d bytes" % len(hs.request))
            if hs.is_whole:
                names = Reader(reader.vector(2))  # of CAs
                reader.finish()
                while names.left():
                    names.vector(2, 1)
            kind, body = yield done
    Reader(body).finish()
    return "client12"


def _read_key_exchange(hs, body) -> None:
    """Keep the server's point, if its key has signed it for this handshake."""
    reader = Reader(body)
    curve = reader.number(1)
    group = reader.number(2)
    if curve != _NAMED_CURVE or group != _SECP256R1:
        detail = "key exchange on curve %d of type %d" % (group, curve)
        raise KeyfobError("tls.not-offered", detail)
    hs.server_point = bytes(reader.vector(1))
    params = memoryview(body)[: 4 + len(hs.server_point)]
    scheme = reader.number(2)
    signature = reader.vector(2)
    reader.finish()
    if scheme not in _SCHEMES:
        raise KeyfobError("tls.not-offered", "signature scheme %04x" % scheme)
    from keyfob.pki.signature import digest_for, verify_signature

    digest = digest_for(scheme, hs.random + hs.server_random + bytes(params))
    if not verify_signature(scheme, hs.server_key, digest, signature):
        detail = "of the key exchange, scheme %04x" % scheme
        raise KeyfobError("tls.bad-signature", detail)
