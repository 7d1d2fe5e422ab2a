"""Phase of a full handshake of TLS 1.2: CertificateVerify, the proof that we hold our key.

RFC 5246 section 7.4.8. The digest it signs is that of the extended master secret.
"""

from micropython import const

from keyfob.errors import KeyfobError

_CERTIFICATE_VERIFY = const(15)


def run(hs):
    """Phase. Next: finish12."""
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
    signature = key.sign(scheme, hs.digest)
    head = (scheme << 16 | len(signature)).to_bytes(4, "big")
    yield from hs.send(_CERTIFICATE_VERIFY, head, signature)
    return "finish12"
