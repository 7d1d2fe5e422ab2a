"""Our certificate and proof in TLS 1.3, when the server asks: RFC 8446 sections 4.4.2, 4.4.3."""

import hashlib

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.keys13 import signed_content
from keyfob.tls.wire import vector

_CERTIFICATE = const(11)
_CERTIFICATE_VERIFY = const(15)
# What a key can sign with: ECDSA, RSA-PSS.
_SCHEMES = {"p256": 0x0403, "rsa": 0x0804}


def send(hs):
    """Our chain and CertificateVerify; without a client's certificate, an empty chain.
    Errors: tls.no-common-scheme."""
    chain = hs.client.certificates() if hs.client else ()
    size = sum(len(der) + 5 for der in chain)
    parts = [b"\x00" + size.to_bytes(3, "big")]
    for der in chain:
        parts += (len(der).to_bytes(3, "big"), der, b"\x00\x00")
    yield from hs.send(_CERTIFICATE, *parts)
    if not chain:
        return
    del chain, parts
    key = hs.client.key()
    hs.drop("keyfob.pki.")  # what read the key
    scheme = _SCHEMES[key.kind]
    taken = hs.request
    taken = [taken[at] << 8 | taken[at + 1] for at in range(0, len(taken) - 1, 2)]
    if scheme not in taken:
        detail = "a key of type %s, the broker takes %s" % (key.kind, taken)
        raise KeyfobError("tls.no-common-scheme", detail)
    yield
    content = signed_content(b"client", hs.transcript.digest())
    signature = key.sign(scheme, hashlib.sha256(content).digest())
    del key
    hs.drop("keyfob.crypto.", "keyfob.pki.")
    yield from hs.send(_CERTIFICATE_VERIFY, scheme.to_bytes(2, "big"), vector(2, signature))
