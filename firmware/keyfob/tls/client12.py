"""Phase of a full handshake of TLS 1.2: our certificate, our half of the key exchange, and
CertificateVerify, the proof that we hold our key.

RFC 5246 sections 7.4.6 to 7.4.8, RFC 8422 section 5.7, RFC 4279 section 2 (PSK), RFC
7627. The premaster secret is gone when the master secret is made. CertificateVerify signs
the digest that makes an extended master secret.
"""

from micropython import const

from keyfob.errors import KeyfobError

_CERTIFICATE = const(11)
_CERTIFICATE_VERIFY = const(15)
_CLIENT_KEY_EXCHANGE = const(16)
_RSA_EXCHANGE_SUITES = const((0x009C, 0x003C))


def run(hs):
    """Phase. Next: finish12."""
    is_signing = False
    if hs.request is not None:
        is_signing = yield from _send_certificate(hs)
    if hs.psk:
        premaster = yield from _exchange_psk(hs)
    elif hs.engine.suite in _RSA_EXCHANGE_SUITES:
        premaster = yield from _exchange_rsa(hs)
    else:
        premaster = yield from _exchange_ecdhe(hs)
    hs.drop("keyfob.crypto.")
    yield
    from keyfob.crypto.hmac import prf

    digest = hs.transcript.digest()
    if hs.is_extended:
        hs.master = prf(premaster, b"extended master secret", digest, 48)
    else:
        hs.master = prf(premaster, b"master secret", hs.random + hs.server_random, 48)
    if is_signing:
        del premaster, prf
        hs.drop("keyfob.crypto.")
        yield from _send_verify(hs, digest)
    return "finish12"


def _send_certificate(hs):
    """Our chain, or none; whether there is one."""
    chain = hs.client.certificates() if hs.client else ()
    parts = [sum(len(der) + 3 for der in chain).to_bytes(3, "big")]
    for der in chain:
        parts.append(len(der).to_bytes(3, "big"))
        parts.append(der)
    yield from hs.send(_CERTIFICATE, *parts)
    return bool(chain)


def _exchange_ecdhe(hs):
    from keyfob.crypto import p256

    if not hs.secret:
        hs.secret = p256.new_secret()
        yield
        hs.public = p256.public_key(hs.secret)
        hs.drop("keyfob.crypto.p256_base")
    yield from hs.send(_CLIENT_KEY_EXCHANGE, b"\x41", hs.public)
    yield
    premaster = p256.shared_secret(hs.secret, hs.server_point)
    hs.secret = hs.public = None
    if not premaster:
        raise KeyfobError("tls.illegal-parameter", "the broker's point is not on the curve")
    return premaster


def _exchange_rsa(hs):
    """RFC 5246 section 7.4.7.1: the version offered, against a rollback."""
    from keyfob.crypto.entropy import random_bytes
    from keyfob.crypto.rsa_encrypt import encrypt_pkcs1

    premaster = b"\x03\x03" + random_bytes(46)
    modulus, exponent = hs.server_key
    hs.server_key = None
    yield from hs.send(_CLIENT_KEY_EXCHANGE, *_vector(encrypt_pkcs1(modulus, exponent, premaster)))
    return premaster


def _exchange_psk(hs):
    identity, key = hs.psk
    yield from hs.send(_CLIENT_KEY_EXCHANGE, *_vector(identity))
    return b"".join(_vector(bytes(len(key))) + _vector(key))


def _send_verify(hs, digest: bytes):
    key = hs.client.key()
    hs.drop("keyfob.pki.")  # what read the key
    # What a key can do, the cheapest first: ECDSA; PKCS#1, PSS. RFC 8446 section 4.2.3.
    schemes = (0x0403,) if key.kind == "p256" else (0x0401, 0x0804)
    offered = hs.request
    offered = [offered[at] << 8 | offered[at + 1] for at in range(0, len(offered) - 1, 2)]
    for scheme in schemes:
        if scheme in offered:
            break
    else:
        detail = "a key of type %s, the broker takes %s" % (key.kind, offered)
        raise KeyfobError("tls.no-common-scheme", detail)
    yield
    signature = key.sign(scheme, digest)
    head = (scheme << 16 | len(signature)).to_bytes(4, "big")
    yield from hs.send(_CERTIFICATE_VERIFY, head, signature)


def _vector(content: bytes) -> tuple:
    """Its length in two bytes, and ``content``. `keyfob.tls.wire` has more than is needed
    here, and P-256 wants the room."""
    return len(content).to_bytes(2, "big"), content
