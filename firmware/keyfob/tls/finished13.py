"""Last phase of a handshake of TLS 1.3: both Finished, and the keys for application data.

RFC 8446 sections 4.4.4, 7.1 and 4.6.1.
"""

from micropython import const

from keyfob.crypto.hmac import equal
from keyfob.errors import KeyfobError
from keyfob.tls import keys13

_FINISHED = const(20)


def run(hs):
    """Phase; the handshake is over behind it."""
    engine = hs.engine
    expected = keys13.verify_data(hs.server_secret, hs.transcript.digest())
    _, body = yield bytes((_FINISHED,))
    if not equal(body, expected):
        raise KeyfobError("tls.bad-finished", "Finished of %d bytes does not fit" % len(body))
    hs.change_keys()
    digest = behind = hs.transcript.digest()
    if not hs.resumed and hs.request is not None:
        from keyfob.tls import client13

        yield from client13.send(hs)
        behind = hs.transcript.digest()
    yield from hs.send(_FINISHED, keys13.verify_data(hs.client_secret, behind))
    hs.flush()
    master = hs.master_secret
    secret = keys13.derive_secret(master, b"s ap traffic", digest)
    engine.rx_keys.use(secret)
    secret = keys13.derive_secret(master, b"c ap traffic", digest)
    engine.tx_keys.use(secret)
    secret = keys13.derive_secret(master, b"res master", hs.transcript.digest())
    until_s = (hs.offered if hs.resumed else hs).valid_until_s
    engine.is_resumed = hs.resumed
    engine.late = (secret, hs.host, hs.now_s, until_s)
