"""Whether somebody who may has signed an offer: ECDSA or RSA PKCS#1 v1.5, with SHA-256.

Reading a key and the arithmetic are each loaded for their part only: on a small board there
is no room for both.

Not checked: dates and usage of the trust anchors and intermediates whose keys they are.
"""

import sys

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.rotation_memory import unload

_RSA_PKCS1_SHA256 = const(0x0401)
_ECDSA_SHA256 = const(0x0403)


def verify(root: str, digest: bytes, signature: bytes) -> None:
    """``signature`` is one of ``digest`` by a key of `keyfob.rotation_slot.signers`.

    Errors: rotate.bad-signature, store.*
    """
    kept = list(sys.modules)
    count = 0
    while True:
        try:
            key = _key(root, count)
            unload(kept)  # what read it, before the arithmetic is loaded
            if key is None:
                raise KeyfobError("rotate.bad-signature", "by none of %d that may sign" % count)
            if key and _is_signed(key, digest, signature):
                return
        finally:
            unload(kept)
        count += 1


def _key(root: str, number: int):
    """The key of that number that may sign; None behind the last, () of one that no signature
    can be verified with here."""
    from keyfob import rotation_slot

    name, content = rotation_slot.signer(root, number)
    if not name:
        return None
    from keyfob.pki.algorithms import read_public_key
    from keyfob.pki.fields import Fields

    try:
        if name == "update.der":
            fields = Fields()
            fields.spki = memoryview(content)
            fields.subject_name = memoryview(b"\x30\x00")  # for the texts of errors
        else:
            from keyfob.pki.reading import read

            fields = read(content)
        return read_public_key(fields)[1]
    except KeyfobError:
        return ()


def _is_signed(key, digest: bytes, signature: bytes) -> bool:
    from keyfob.pki.signature import verify_signature

    scheme = _RSA_PKCS1_SHA256 if isinstance(key, tuple) else _ECDSA_SHA256
    return verify_signature(scheme, key, digest, signature)
