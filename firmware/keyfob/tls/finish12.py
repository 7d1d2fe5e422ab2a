"""Last phase of TLS 1.2: keys, ChangeCipherSpec and Finished both ways, the session left.

RFC 5246 sections 6.3, 7.1, 7.3 (whose Finished comes first) and 7.4.9, RFC 5077 section
3.3. Of a session that is resumed, this phase is all that needs secrets: who holds its
master secret was verified when it was made.
"""

from micropython import const

from keyfob.crypto.hmac import equal, prf
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12

_NEW_SESSION_TICKET = const(4)
_FINISHED = const(20)
_CHANGE_CIPHER_SPEC = const(254)
_GCM_SUITES = const((0xC02B, 0xC02F, 0x009C, 0x00A8))
# One of OpenSSL has 200 bytes, and the client's certificate on top. It is sent with the
# next ClientHello, and kept until then.
_MAX_TICKET_BYTES = const(2048)


def run(hs):
    """Phase, the last one."""
    is_resumed = hs.engine.is_resumed
    if is_resumed:
        hs.master = hs.offered.secret
        hs.valid_until_s = hs.offered.valid_until_s
    ours, theirs = _protections(hs)
    yield
    if not is_resumed:
        yield from _send_finished(hs, ours)
    ticket, life_s = b"", 0
    if hs.has_ticket:
        ticket, life_s = yield from _read_ticket(hs)
    yield bytes((_CHANGE_CIPHER_SPEC,))
    hs.change_keys()
    hs.engine.rx_keys = theirs
    expected = _verify_data(hs, b"server finished")
    _, body = yield bytes((_FINISHED,))
    if not equal(expected, body):
        raise KeyfobError("tls.bad-finished", "%d bytes that do not fit" % len(body))
    hs.change_keys()
    if is_resumed:
        yield from _send_finished(hs, ours)
    _keep_session(hs, ticket, life_s)


def _protections(hs) -> tuple:
    """(ours, the server's) for the records, RFC 5246 section 6.3."""
    seed = hs.server_random + hs.random
    if hs.engine.suite in _GCM_SUITES:
        from keyfob.tls.protection_gcm import GcmProtection

        block = prf(hs.master, b"key expansion", seed, 40)
        ours = GcmProtection(block[:16], block[32:36])
        return ours, GcmProtection(block[16:32], block[36:])
    from keyfob.tls.protection_cbc import CbcProtection

    block = prf(hs.master, b"key expansion", seed, 96)
    return (
        CbcProtection(block[64:80], block[:32], hs.is_mac_last),
        CbcProtection(block[80:], block[32:64], hs.is_mac_last),
    )


def _verify_data(hs, label: bytes) -> bytes:
    """What a Finished says of the messages up to here; ``label`` says whose it is."""
    return prf(hs.master, label, hs.transcript.digest(), 12)


def _send_finished(hs, ours):
    yield from hs.send_change_cipher_spec()
    hs.engine.tx_keys = ours
    yield from hs.send(_FINISHED, _verify_data(hs, b"client finished"))
    hs.flush()


def _read_ticket(hs):
    # One that is too large is as good as none.
    hs.heads = {_NEW_SESSION_TICKET: _MAX_TICKET_BYTES}
    _, body = yield bytes((_NEW_SESSION_TICKET,))
    if not hs.is_whole:
        return b"", 0
    if len(body) < 6 or len(body) != 6 + (body[4] << 8 | body[5]):
        raise KeyfobError("tls.malformed", "NewSessionTicket of %d bytes" % len(body))
    return bytes(body[6:]), int.from_bytes(body[:4], "big")


def _keep_session(hs, ticket: bytes, life_s: int) -> None:
    """Only what an extended master secret protects may be resumed, RFC 7627 section 5.1;
    with a pre-shared key there is nothing to win."""
    engine = hs.engine
    if engine.is_resumed and not ticket:
        engine.session = hs.offered
    elif hs.is_extended and not hs.psk and (ticket or hs.server_session_id):
        from keyfob.tls.session import Session

        engine.session = Session(
            TLS12, engine.suite, hs.host, hs.master, ticket, hs.server_session_id, hs.now_s,
            life_s, hs.valid_until_s,
        )  # fmt: skip
