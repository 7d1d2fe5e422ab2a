"""Third phase of a full handshake of TLS 1.2: the server's Certificate comes in.

RFC 5246 section 7.4.2. With a pre-shared key there is none (RFC 4279).
"""

from micropython import const

from keyfob.tls.sinks import CertificateList

_CERTIFICATE = const(11)


def run(hs):
    """Phase. Next: judge, or exchange12 with a pre-shared key."""
    if not hs.psk:
        hs.sinks = {_CERTIFICATE: CertificateList(False)}
        _, sink = yield bytes((_CERTIFICATE,))
        hs.sinks = {}
        hs.chain = sink.chain
        hs.after_judge = "exchange12"
        return "judge"
    return "exchange12"
