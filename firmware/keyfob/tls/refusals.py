"""What is wrong with a record that the engine refuses.

RFC 5246 section 6.2, RFC 8446 section 5. The engine sees that a record must be refused;
this says why. Loaded when there is one, and dropped again.
"""

from micropython import const

from keyfob.errors import KeyfobError

_CHANGE_CIPHER_SPEC = const(20)
_APPLICATION_DATA = const(23)


def header(head: bytearray, version: int, limit: int, is_first: bool) -> KeyfobError:
    """``head``: the record's header, or the part of it that is enough. ``version`` of the
    connection, 0 if it is not known; ``limit``: room for the body; ``is_first``: nothing
    ever came before."""
    kind = head[0]
    if not _CHANGE_CIPHER_SPEC <= kind <= _APPLICATION_DATA:
        if is_first:
            return KeyfobError("tls.not-tls", "first byte %d" % kind)
        return KeyfobError("tls.unexpected-message", "record of type %d" % kind)
    if head[1] != 3 or (version and head[2] != 3):
        code = "tls.wrong-version" if version else "tls.not-tls"
        return KeyfobError(code, "record of version %d.%d" % (head[1], head[2]))
    size = head[3] << 8 | head[4]
    return KeyfobError("tls.record-overflow", "%d bytes, room for %d" % (size, limit))


def record(engine, size: int, opened) -> KeyfobError:
    """``size``: of the record's body; ``opened``: None if it is not genuine, otherwise the
    engine has the content's type and place."""
    kind = engine.kind
    if not opened:
        return KeyfobError("tls.bad-record-mac", "record of %d bytes, type %d" % (size, kind))
    size = engine.end - engine.at
    if size > engine.rx_limit:
        return KeyfobError("tls.record-overflow", "%d bytes of plaintext" % size)
    if kind == _CHANGE_CIPHER_SPEC:
        return KeyfobError("tls.unexpected-message", "ChangeCipherSpec of %d bytes" % size)
    if not size:
        return KeyfobError("tls.unexpected-message", "empty record of type %d" % kind)
    return KeyfobError("tls.unexpected-message", "application data in the handshake")
