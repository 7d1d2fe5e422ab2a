"""ChangeCipherSpec and Finished of TLS 1.2, both ways, and the session that is left.

RFC 5246 sections 7.1 and 7.4.9, RFC 5077 section 3.3.
"""

from micropython import const

from keyfob.crypto.hmac import equal
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12
from keyfob.tls.keys12 import verify_data
from keyfob.tls.phases import CHANGE_CIPHER_SPEC
from keyfob.tls.session import Session
from keyfob.tls.sinks import Head
from keyfob.tls.wire import Reader

_NEW_SESSION_TICKET = const(4)
_FINISHED = const(20)
# One of OpenSSL has 200 bytes, and the client's certificate on top. It is sent with the
# next ClientHello, and kept until then.
_MAX_TICKET_BYTES = const(2048)


def send_finished(hs):
    """Our keys from here on, and our Finished; out it goes."""
    yield from hs.send_change_cipher_spec()
    hs.engine.tx_keys = hs.protections[0]
    yield from hs.send(_FINISHED, verify_data(hs, b"client finished"))
    hs.flush()


def read_finished(hs):
    """The server's ticket, if it promised one, its keys from here on, and its Finished."""
    ticket = b""
    life_s = 0
    if hs.has_ticket:
        hs.sinks = {_NEW_SESSION_TICKET: Head(_MAX_TICKET_BYTES)}
        _, sink = yield bytes((_NEW_SESSION_TICKET,))
        hs.sinks = {}
        if sink.is_whole:
            reader = Reader(sink.body)
            life_s = reader.number(4)
            ticket = bytes(reader.vector(2))
            reader.finish()
    yield bytes((CHANGE_CIPHER_SPEC,))
    hs.change_keys()
    hs.engine.rx_keys = hs.protections[1]
    expected = verify_data(hs, b"server finished")
    _, body = yield bytes((_FINISHED,))
    if not equal(expected, body):
        raise KeyfobError("tls.bad-finished", "%d bytes that do not fit" % len(body))
    hs.change_keys()
    _keep_session(hs, ticket, life_s)


def _keep_session(hs, ticket: bytes, life_s: int) -> None:
    """Only what an extended master secret protects may be resumed, RFC 7627 section 5.1."""
    engine = hs.engine
    if hs.psk:
        return
    if hs.is_resumed and not ticket:
        engine.session = hs.offered
    elif hs.is_extended and (ticket or hs.server_session_id):
        engine.session = Session(
            TLS12, engine.suite, hs.host, hs.master, ticket, hs.server_session_id, hs.now_s, life_s,
            hs.valid_until_s,
        )  # fmt: skip
