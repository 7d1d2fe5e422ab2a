"""Phase of a handshake of TLS 1.3: the server's CertificateVerify comes in.

RFC 8446 section 4.4.3. Its key has signed this handshake, or there is none.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.wire import Reader

_CERTIFICATE_VERIFY = const(15)
# ECDSA of P-256 and P-384 with the size of a point, and RSA-PSS: those offered, without
# PKCS#1, and each for its own curve (section 4.2.3).
_SCHEMES = {0x0403: 65, 0x0503: 97, 0x0804: 0, 0x0805: 0}


def run(hs):
    """Phase. Next: finished13. ``hs.server_key``: as the chain has it, found good."""
    _, body = yield bytes((_CERTIFICATE_VERIFY,))
    yield
    _check_signature(body, hs.server_key, hs.digest)
    hs.server_key = None
    return "finished13"


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
