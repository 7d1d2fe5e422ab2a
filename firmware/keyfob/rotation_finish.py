"""The end of a rotation's transfer: files become an identity, which goes on trial.

Every file against its hash; what was not sent is copied from the active identity; the key is
that which the new certificate is for, the present one or the one made for a renewal. Then
the manifest, by a rename, the store's own checks of that slot, and the trial. Its parts are
loaded one after the other, as a small board has no room for all.

Not checked: that the broker will take the certificate; the trial tells.
"""

import hashlib
import json
import os
import sys

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit
from keyfob.rotation_memory import unload

_MAX_FILE_BYTES = const(4096)
_PUBLIC_BYTES = const(64)


def finish(root: str, device_id: str, now_s: int) -> None:
    """Put the offer that is complete on trial. Errors: rotate.hash-mismatch,
    rotate.wrong-device, store.*, x509.*; OSError of the file system."""
    kept = list(sys.modules)
    folder, created_s, digests = _gather(root)
    unload(kept)
    digests["key.der"] = _put_key(root, folder)
    unload(kept)
    manifest = {"device_id": device_id, "created_s": created_s, "files": digests}
    del digests
    path = folder + "/manifest.json"
    _write(path + ".new", json.dumps(manifest).encode())
    del manifest
    os.rename(path + ".new", path)
    slot = folder[-1]
    try:
        _check(root, device_id, slot, now_s)
        unload(kept)
        _check_name(folder, device_id)
        unload(kept)
        from keyfob import trial

        trial.begin(slot, root)
    except (KeyfobError, MemoryError):
        os.remove(path)  # the store must never fall back to it
        raise
    emit("identity.trial", slot=slot, created_s=created_s)
    try:
        os.remove(folder + "/offer")
    except OSError:
        pass  # it is known for what it is by its age


def _gather(root: str) -> tuple:
    """(folder, created_s, {name: SHA-256 in hex}) of all files but the key, all in place."""
    from keyfob import rotation_slot as slots

    offer = slots.stored_offer(root)
    files = slots.files_of(offer)
    folder = slots.inactive_folder(root)
    digests = {}
    for name in sorted(files):
        digests[name] = _sha256(_content(folder + "/" + name))
        if digests[name] != files[name][1]:
            what = (name, digests[name][:16], files[name][1][:16])
            raise KeyfobError("rotate.hash-mismatch", "%s: sha256 %s, offer %s" % what)
    present = slots.load_active(root)
    for stem in ("ca", "cert", "update"):
        if stem + ".der" not in files:
            for name in slots.names_in(root, present, stem):
                digests[name] = _write(folder + "/" + name, present.read(name))
    return folder, slots.created_in(offer), digests


def _put_key(root: str, folder: str) -> str:
    """The key that cert.der is for; where none fits, the present one, for the check to tell."""
    from keyfob import renewal
    from keyfob import rotation_slot as slots

    key = renewal.stored_key(root)
    if not key or _public_key(folder) not in key:
        key = slots.load_active(root).read("key.der")
    return _write(folder + "/key.der", key)


def _public_key(folder: str) -> bytes:
    from keyfob.pki.reading import read

    return bytes(read(_content(folder + "/cert.der")).spki[-_PUBLIC_BYTES:])


def _check(root: str, device_id: str, slot: str, now_s: int) -> None:
    """As the store does before it uses the slot."""
    from keyfob import store

    identity = store.load_slot(device_id, slot, root)
    del store
    from keyfob import store_checks

    store_checks.check(identity, now_s)


def _check_name(folder: str, device_id: str) -> None:
    """The certificate is this board's: a broker would let it in as somebody else, cut off
    from its own topics."""
    from keyfob.pki.certificate import common_name
    from keyfob.pki.reading import read

    name = common_name(read(_content(folder + "/cert.der")).subject_name)
    if name != device_id:
        detail = "certificate for %s, this is %s" % (name, device_id)
        raise KeyfobError("rotate.wrong-device", detail)


def _content(path: str) -> bytes:
    from keyfob.identity import read_file

    return read_file(path, _MAX_FILE_BYTES, "store.missing")


def _write(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return _sha256(content)


def _sha256(content: bytes) -> str:
    return "".join("%02x" % byte for byte in hashlib.sha256(content).digest())
