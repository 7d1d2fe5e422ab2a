"""Last phase of a full handshake of TLS 1.2: our key, our proof, and both Finished.

RFC 5246 sections 7.4.6 to 7.4.9, RFC 8422 section 5.7, RFC 4279 section 2 (PSK), RFC
5077 section 3.3. The premaster secret is gone when the master secret is made.
"""

import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.tls.finish12 import read_finished, send_finished
from keyfob.tls.keys12 import make_protections, master_secret
from keyfob.tls.wire import vector

_CERTIFICATE = const(11)
_CERTIFICATE_VERIFY = const(15)
_CLIENT_KEY_EXCHANGE = const(16)
# What a key can do, the cheapest first: ECDSA; PKCS#1, PSS. RFC 8446 section 4.2.3.
_SCHEMES = {"p256": (0x0403,), "rsa": (0x0401, 0x0804)}
_RSA_EXCHANGE_SUITES = (0x009C, 0x003C)


def run(hs):
    """Phase, the last one."""
    key = None
    if hs.request is not None:
        key = yield from _send_certificate(hs)
    if hs.psk:
        premaster = yield from _exchange_psk(hs)
    elif hs.engine.suite in _RSA_EXCHANGE_SUITES:
        premaster = yield from _exchange_rsa(hs)
    else:
        premaster = yield from _exchange_ecdhe(hs)
    yield
    digest = hs.transcript.digest()
    hs.master = master_secret(hs, premaster, digest)
    premaster = None
    if key:
        yield
        yield from _send_certificate_verify(hs, key, digest)
        key = None
    make_protections(hs)
    yield from send_finished(hs)
    yield from read_finished(hs)


def _send_certificate(hs):
    """Our chain, or none; the key that belongs to it, or None."""
    chain = hs.client.certificates() if hs.client else ()
    size = sum(len(der) + 3 for der in chain)
    parts = [size.to_bytes(3, "big")]
    for der in chain:
        parts.append(len(der).to_bytes(3, "big"))
        parts.append(der)
    yield from hs.send(_CERTIFICATE, *parts)
    return hs.client.key() if chain else None


def _send_certificate_verify(hs, key, digest: bytes):
    offered = hs.request
    offered = [offered[at] << 8 | offered[at + 1] for at in range(0, len(offered) - 1, 2)]
    for scheme in _SCHEMES[key.kind]:
        if scheme in offered:
            break
    else:
        detail = "a key of type %s, the broker takes %s" % (key.kind, offered)
        raise KeyfobError("tls.no-common-scheme", detail)
    signature = key.sign(scheme, digest)
    yield from hs.send(_CERTIFICATE_VERIFY, scheme.to_bytes(2, "big"), vector(2, signature))


def _exchange_ecdhe(hs):
    from keyfob.crypto import p256

    if not hs.secret:
        hs.secret = p256.new_secret()
        yield
        hs.public = p256.public_key(hs.secret)
    yield from hs.send(_CLIENT_KEY_EXCHANGE, vector(1, hs.public))
    yield
    premaster = p256.shared_secret(hs.secret, hs.server_point)
    hs.secret = hs.public = hs.server_point = None
    if not premaster:
        raise KeyfobError("tls.illegal-parameter", "the broker's point is not on the curve")
    return premaster


def _exchange_rsa(hs):
    """RFC 5246 section 7.4.7.1: the version offered, against a rollback."""
    from keyfob.crypto.rsa_encrypt import encrypt_pkcs1

    premaster = b"\x03\x03" + os.urandom(46)
    modulus, exponent = hs.server_key
    yield from hs.send(_CLIENT_KEY_EXCHANGE, vector(2, encrypt_pkcs1(modulus, exponent, premaster)))
    hs.server_key = None
    return premaster


def _exchange_psk(hs):
    identity, key = hs.psk
    yield from hs.send(_CLIENT_KEY_EXCHANGE, vector(2, identity))
    return vector(2, bytes(len(key))) + vector(2, key)
