"""Handshake messages of TLS 1.3 behind the handshake: tickets and KeyUpdate.

RFC 8446 sections 4.6.1, 4.6.3 and 5.5. Loaded when there is one, and dropped again. A
ticket takes the place of the one before; one that is larger than a board should keep
is let go by. How many come in a row without application data between them, the
engine counts. Not here: authentication of the client after the handshake, which is
not offered.
"""

from micropython import const

from keyfob import unload
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS13

_HANDSHAKE = const(22)
_NEW_SESSION_TICKET = const(4)
_KEY_UPDATE = const(24)
_HEADER_BYTES = const(4)
# One of OpenSSL has 200 bytes, and the client's certificate on top.
_MAX_TICKET_BYTES = const(2048)
_MAX_MESSAGE_BYTES = const(16_384)
_MODULES = (
    "keyfob.tls.late13",
    "keyfob.tls.keys13",
    "keyfob.tls.session",
    "keyfob.tls.wire",
    "keyfob.crypto.hmac",
)


def received(engine) -> None:
    """Consume the record at hand, which is not application data.

    ``engine.late_message`` is the message that goes on in the next record, of which
    ``engine.late_left`` bytes are to come; until its header is whole, what there is of that.
    Errors: tls.unexpected-message, tls.flood, tls.malformed, tls.illegal-parameter,
    tls.message-too-large.
    """
    if engine.kind != _HANDSHAKE:
        detail = "record of type %d after the handshake" % engine.kind
        raise KeyfobError("tls.unexpected-message", detail)
    while engine.at < engine.end:
        message, left = engine.late_message, engine.late_left
        at = engine.at
        count = min(engine.end - at, left or _HEADER_BYTES - len(message))
        engine.at = at + count
        piece = memoryview(engine.rx)[at : at + count]
        if left:
            at = len(message) - left
            if at >= _HEADER_BYTES:  # else it is let go by
                message[at : at + count] = piece
            left -= count
        else:
            message += piece
            if len(message) < _HEADER_BYTES:
                continue
            left = _begin(engine, message)
            engine.late_message = message = _room_for(message)
        engine.late_left = left
        if not left:
            engine.late_message = bytearray()
            _finish(engine, message)
    unload(*_MODULES)


def send_update(engine) -> None:
    """KeyUpdate, which asks for none in return; our next key from here on. Only while
    nothing waits to be sent."""
    engine.put(_HANDSHAKE, b"\x18\x00\x00\x01\x00")
    engine.seal()
    engine.tx_keys.update()
    engine.owes_update = False
    unload(*_MODULES)


def _size(message: bytearray) -> int:
    return message[1] << 16 | message[2] << 8 | message[3]


def _room_for(header: bytearray) -> bytearray:
    """For the whole message, in one piece; the header alone if it is to be let go by."""
    size = _size(header)
    if size > _MAX_TICKET_BYTES:
        return header
    message = bytearray(_HEADER_BYTES + size)
    message[:_HEADER_BYTES] = header
    return message


def _begin(engine, header: bytearray) -> int:
    """The size of the message that begins."""
    kind, size = header[0], _size(header)
    if kind not in (_NEW_SESSION_TICKET, _KEY_UPDATE):
        raise KeyfobError("tls.unexpected-message", "message %d after the handshake" % kind)
    if size > _MAX_MESSAGE_BYTES:
        detail = "message %d: %d bytes, limit %d" % (kind, size, _MAX_MESSAGE_BYTES)
        raise KeyfobError("tls.message-too-large", detail)
    if kind == _KEY_UPDATE and size != 1:
        raise KeyfobError("tls.malformed", "KeyUpdate of %d bytes" % size)
    engine.count_idle()
    return size


def _finish(engine, message: bytearray) -> None:
    if message[0] == _KEY_UPDATE:
        _update(engine, message[_HEADER_BYTES])
    elif len(message) == _HEADER_BYTES + _size(message):
        _keep_ticket(engine, memoryview(message)[_HEADER_BYTES:])


def _update(engine, request: int) -> None:
    if engine.at < engine.end:
        raise KeyfobError("tls.unexpected-message", "a record goes on behind KeyUpdate")
    if request > 1:
        raise KeyfobError("tls.illegal-parameter", "KeyUpdate with request %d" % request)
    engine.rx_keys.update()
    if request:
        engine.owes_update = True


def _keep_ticket(engine, body: memoryview) -> None:
    from keyfob.tls.keys13 import resumption_psk
    from keyfob.tls.session import Session
    from keyfob.tls.wire import Reader, read_extensions

    reader = Reader(body)
    life_s = reader.number(4)
    age_add = reader.number(4)
    nonce = bytes(reader.vector(1))
    ticket = reader.vector(2, 1)
    read_extensions(reader)  # none of which is of use
    if not life_s:  # "to be discarded immediately"
        return
    secret, host, now_s, until_s = engine.late
    engine.session = Session(
        TLS13, engine.suite, host, resumption_psk(secret, nonce), bytes(ticket), b"", now_s,
        life_s, until_s, age_add,
    )  # fmt: skip
