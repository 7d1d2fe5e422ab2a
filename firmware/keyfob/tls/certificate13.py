"""Third phase of a full handshake of TLS 1.3: the server's certificate and its signature.

RFC 8446 sections 4.3.2, 4.4.2 and 4.4.3. Not checked: OCSP responses and SCTs, which are
not asked for.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.wire import Reader, read_extensions

_CERTIFICATE = const(11)
_CERTIFICATE_REQUEST = const(13)
_CERTIFICATE_VERIFY = const(15)
_SIGNATURE_ALGORITHMS = const(13)
_REQUEST_HEAD_BYTES = const(512)
# ECDSA of P-256 and P-384 with the size of a point, and RSA-PSS: those offered, without
# PKCS#1, and each for its own curve (section 4.2.3).
_SCHEMES = {0x0403: 65, 0x0503: 97, 0x0804: 0, 0x0805: 0}


def run(hs):
    """Phase. Next: finished13. Leaves ``hs.request``: the signature schemes that the server
    takes from a client, None if it does not ask; ``hs.valid_until_s`` of its chain."""
    from keyfob.tls.sinks import CertificateList

    hs.request = None
    hs.sinks = {_CERTIFICATE: CertificateList(True)}
    hs.heads = {_CERTIFICATE_REQUEST: _REQUEST_HEAD_BYTES}
    kind, sink = yield bytes((_CERTIFICATE_REQUEST, _CERTIFICATE))
    if kind == _CERTIFICATE_REQUEST:
        hs.request = read_request(sink, hs.is_whole)
        _, sink = yield bytes((_CERTIFICATE,))
    hs.sinks = {}
    digest = hs.transcript.digest()
    chain = sink.chain
    del sink, CertificateList
    hs.drop("keyfob.tls.sinks")
    from keyfob.pki import path

    steps = path.steps(chain, hs.anchors, hs.host, hs.now_s, pins=hs.pins)
    entity = next(steps)
    while not entity:
        yield
        entity = next(steps)
    del chain, steps
    hs.valid_until_s = entity.valid_until_s
    hs.drop("keyfob.pki.path", "keyfob.pki.names")
    _, body = yield bytes((_CERTIFICATE_VERIFY,))
    yield
    _check_signature(body, entity.key, digest)
    return "finished13"


def read_request(body, is_whole: bool) -> bytes:
    """The signature schemes of a CertificateRequest, two bytes each. ``body``: its head;
    what stands behind are names of CAs, of which there may be 64 KB."""
    reader = Reader(body)
    if reader.number(1):
        raise KeyfobError("tls.illegal-parameter", "CertificateRequest with a context")
    if is_whole:
        extensions = read_extensions(reader)
        if _SIGNATURE_ALGORITHMS not in extensions:
            raise KeyfobError("tls.missing-extension", "CertificateRequest without schemes")
        reader = Reader(extensions[_SIGNATURE_ALGORITHMS])
    else:
        reader = Reader(_search(reader))
    schemes = bytes(reader.vector(2, 2))
    reader.finish()
    return schemes


def _search(reader: Reader) -> memoryview:
    reader.number(2)
    while reader.left() > 4:
        kind = reader.number(2)
        size = reader.number(2)
        if size > reader.left():
            break
        content = reader.read(size)
        if kind == _SIGNATURE_ALGORITHMS:
            return content
    raise KeyfobError("tls.message-too-large", "CertificateRequest: no schemes in its head")


def _check_signature(body, key, digest: bytes) -> None:
    reader = Reader(body)
    scheme = reader.number(2)
    signature = reader.vector(2)
    reader.finish()
    if _SCHEMES.get(scheme) != (0 if isinstance(key, tuple) else len(key)):
        raise KeyfobError("tls.illegal-parameter", "CertificateVerify of scheme %04x" % scheme)
    from keyfob.pki.signature import digest_for, verify_signature
    from keyfob.tls.keys13 import signed_content

    digest = digest_for(scheme, signed_content(b"server", digest))
    if not verify_signature(scheme, key, digest, signature):
        raise KeyfobError("tls.bad-signature", "of CertificateVerify, scheme %04x" % scheme)
