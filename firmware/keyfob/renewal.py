"""Renewal: the board asks for another certificate before its own ends.

When less than a third of the certificate's life is left, the board makes a new key,
``/id/key.new``, and a certificate request for it, ``/id/request.der``, which it publishes,
retained, once a day. An offer of a certificate for that key answers it (`keyfob.rotation`).
Both files survive a reset, so that a board makes one key and one request however often it is
started before somebody answers; they go when the key is the active identity's.

The new key is of P-256, whatever the old one is. An identity whose key is in a secure element
keeps that key: the request is for it.

Not checked: that anybody answers.
"""

import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.identity import read_file

KEY_NEW = "/key.new"  # below the root: a key that waits for its certificate
REQUEST = "/request.der"
_MAX_BYTES = const(1024)
_INTEGER = const(0x02)  # with which a key.der begins that names a slot of an element


def life(identity) -> tuple:
    """Its certificate's notBefore and notAfter, Unix seconds. Errors: store.*, x509.*"""
    from keyfob.pki.reading import read

    fields = read(identity.read("cert.der"))
    return fields.not_before_s, fields.not_after_s


def make_request(root: str, device_id: str) -> None:
    """Make the request, with its key, where there is none yet. Errors: rotate.no-request."""
    try:
        if not _stored(root + REQUEST):
            _make(root, device_id)
    except (KeyfobError, OSError) as error:
        raise KeyfobError("rotate.no-request", str(error))


def _make(root: str, device_id: str) -> None:
    from keyfob.rotation_slot import active, load

    content = load(root, active(root)).read("key.der")
    if content[0] == _INTEGER:
        # Named so, because a board with mbedTLS is not sent it, which has no element.
        key = __import__("keyfob.pki.private_key").pki.private_key.load(content)
    else:
        key = _new_key(root)
    del content
    from keyfob.pki import request

    _write(root + REQUEST, request.make(key, device_id))


def _new_key(root: str):
    """Of a request that was not written the key is there already."""
    from keyfob.pki.private_key_ec import own_key

    content = _stored(root + KEY_NEW)
    if not content:
        from keyfob.crypto import p256_make

        content = p256_make.make()
        _write(root + KEY_NEW, content)
    return own_key(content)


def stored_key(root: str) -> bytes:
    """The key that waits for its certificate, b"" if none does."""
    return _stored(root + KEY_NEW)


def waiting(root: str, identity) -> bytes:
    """The request that waits for its answer, b"" if there is none.

    Once ``identity``, the active one, has its key, request and key are removed.
    """
    key = _stored(root + KEY_NEW)
    if key and key == identity.read("key.der"):
        for path in (root + KEY_NEW, root + REQUEST):
            try:
                os.remove(path)
            except OSError:
                pass  # the power went between the two
        return b""
    return _stored(root + REQUEST)


def _stored(path: str) -> bytes:
    try:
        return read_file(path, _MAX_BYTES, "store.missing")
    except KeyfobError:
        return b""


def _write(path: str, content: bytes) -> None:
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)
