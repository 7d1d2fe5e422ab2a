"""Third phase of a full handshake of TLS 1.2: what the server says of itself, judged.

RFC 5246 sections 7.4.2 to 7.4.5, RFC 8422 section 5.4, RFC 4279 section 2 (PSK). The
chain is judged as soon as it is there and dropped then; of the server only its key is
kept, until it has signed the key exchange.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.sinks import CertificateList, Head
from keyfob.tls.wire import Reader

_CERTIFICATE = const(11)
_SERVER_KEY_EXCHANGE = const(12)
_CERTIFICATE_REQUEST = const(13)
_SERVER_HELLO_DONE = const(14)
_NAMED_CURVE = const(3)
_SECP256R1 = const(0x0017)
# Types, and signature schemes up to a number that nobody reaches.
_REQUEST_HEAD_BYTES = const(512)
_RSA_EXCHANGE_SUITES = (0x009C, 0x003C)
_ECDSA_SUITES = (0xC02B, 0xC023)
_SCHEMES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501)


def run(hs):
    """Phase. Next: client12."""
    hs.request = None
    if hs.psk:
        kind, body = yield bytes((_SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE))
        if kind == _SERVER_KEY_EXCHANGE:
            reader = Reader(body)  # the identity hint, which means nothing to us
            reader.vector(2)
            reader.finish()
            kind, body = yield bytes((_SERVER_HELLO_DONE,))
    else:
        yield from judge(hs)
        wanted = bytes((_CERTIFICATE_REQUEST, _SERVER_HELLO_DONE))
        if hs.engine.suite not in _RSA_EXCHANGE_SUITES:
            _, body = yield bytes((_SERVER_KEY_EXCHANGE,))
            yield
            _read_key_exchange(hs, body)
            hs.server_key = None
        hs.sinks = {_CERTIFICATE_REQUEST: Head(_REQUEST_HEAD_BYTES)}
        kind, body = yield wanted
        hs.sinks = {}
        if kind == _CERTIFICATE_REQUEST:
            hs.request = _read_request(body.body)
            kind, body = yield bytes((_SERVER_HELLO_DONE,))
    Reader(body).finish()
    return "client12"


def judge(hs):
    """Take the server's Certificate; its key is ``hs.server_key`` if all is well with it."""
    hs.sinks = {_CERTIFICATE: CertificateList(False)}
    _, sink = yield bytes((_CERTIFICATE,))
    hs.sinks = {}
    from keyfob.pki import extensions, path

    suite = hs.engine.suite
    usage = extensions.DIGITAL_SIGNATURE
    if suite in _RSA_EXCHANGE_SUITES:
        usage = extensions.KEY_ENCIPHERMENT
    steps = path.steps(sink.chain, hs.anchors, hs.host, hs.now_s, usage, hs.pins)
    entity = next(steps)
    while not entity:
        yield
        entity = next(steps)
    if (entity.key_kind == "rsa") == (suite in _ECDSA_SUITES):
        detail = "suite %04x with a key of type %s" % (suite, entity.key_kind)
        raise KeyfobError("tls.illegal-parameter", detail)
    hs.server_key = entity.key
    hs.valid_until_s = entity.valid_until_s
    hs.drop("keyfob.pki.path", "keyfob.pki.names")


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


def _read_request(body) -> bytes:
    """The signature schemes that the server takes from a client, two bytes each."""
    reader = Reader(body)
    reader.vector(1)  # certificate types, which the schemes say more precisely
    return bytes(reader.vector(2))
