"""Third phase of a full handshake of TLS 1.3: the server's Certificate comes in.

RFC 8446 sections 4.3.2 and 4.4.2. Not checked: OCSP responses and SCTs, which are
not asked for.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.wire import Reader, read_extensions

_CERTIFICATE = const(11)
_CERTIFICATE_REQUEST = const(13)
_SIGNATURE_ALGORITHMS = const(13)
_REQUEST_HEAD_BYTES = const(512)


def run(hs):
    """Phase. Next: judge, and verify13. Leaves ``hs.request``: the signature schemes that the
    server takes from a client, None if it does not ask; ``hs.digest``: of all up to here."""
    from keyfob.tls.sinks import CertificateList

    hs.request = None
    hs.sinks = {_CERTIFICATE: CertificateList(True)}
    hs.heads = {_CERTIFICATE_REQUEST: _REQUEST_HEAD_BYTES}
    kind, sink = yield bytes((_CERTIFICATE_REQUEST, _CERTIFICATE))
    if kind == _CERTIFICATE_REQUEST:
        hs.request = read_request(sink, hs.is_whole)
        _, sink = yield bytes((_CERTIFICATE,))
    hs.sinks = {}
    hs.digest = hs.transcript.digest()
    hs.chain = sink.chain
    return "judge"


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
    if len(schemes) & 1:
        raise KeyfobError("tls.malformed", "schemes in %d bytes" % len(schemes))
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
