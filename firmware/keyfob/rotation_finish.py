"""The end of a rotation's transfer: files become an identity, which goes on trial.

Every file against its hash; what was not sent is copied from the active identity; the key is
that which the new certificate is for, the present one or the one made for a renewal. Then
the manifest, by a rename, the store's own checks of that slot, and the trial. Done while
there is no connection, since it takes more heap than one leaves.

Not checked: that the broker will take the certificate; the trial tells.
"""

import hashlib
import json
import os

from micropython import const

from keyfob import drop
from keyfob import rotation_slot as slots
from keyfob.errors import KeyfobError
from keyfob.events import emit
from keyfob.identity import read_file
from keyfob.renewal import KEY_NEW

_MAX_FILE_BYTES = const(4096)
_PUBLIC_BYTES = const(64)


def finish(root: str, device_id: str, now_s: int) -> None:
    """Put the offer that is complete on trial. Errors: rotate.hash-mismatch,
    rotate.wrong-device, store.*, x509.*; OSError of the file system."""
    offer = slots.stored_offer(root)
    files = slots.files_of(offer)
    folder = slots.inactive_folder(root)
    digests = {}
    for name in sorted(files):
        content = read_file(folder + "/" + name, _MAX_FILE_BYTES, "store.missing")
        digests[name] = _sha256(content)
        if digests[name] != files[name][1]:
            what = (name, digests[name][:16], files[name][1][:16])
            raise KeyfobError("rotate.hash-mismatch", "%s: sha256 %s, offer %s" % what)
    present = slots.load_active(root)
    for stem in ("ca", "cert", "update"):
        if stem + ".der" not in files:
            for name in slots.names_in(root, present, stem):
                digests[name] = _write(folder + "/" + name, present.read(name))
    digests["key.der"] = _write_key(root, folder, present)
    manifest = {
        "device_id": device_id, "created_s": slots.created_in(offer), "files": digests
    }  # fmt: skip
    path = folder + "/manifest.json"
    _write(path + ".new", json.dumps(manifest).encode())
    os.rename(path + ".new", path)
    slot = folder[-1]
    try:
        _check(root, device_id, slot, now_s)
        from keyfob import trial

        trial.begin(slot, root)
    except KeyfobError:
        slots.remove(path)  # the store must never fall back to it
        raise
    emit("identity.trial", slot=slot, created_s=manifest["created_s"])
    slots.remove(folder + "/offer")


def _write_key(root: str, folder: str, present) -> str:
    """The key that cert.der is for; where none fits, the present one, for the check to tell."""
    from keyfob.pki.reading import read

    certificate = read_file(folder + "/cert.der", _MAX_FILE_BYTES, "store.missing")
    public = bytes(read(certificate).spki[-_PUBLIC_BYTES:])
    del read
    drop("pki.reading", "pki.general_names", "pki.fields", "pki.der")
    try:
        key = read_file(root + KEY_NEW, _MAX_FILE_BYTES, "store.missing")
    except KeyfobError:
        key = b""
    return _write(folder + "/key.der", key if public in key else present.read("key.der"))


def _check(root: str, device_id: str, slot: str, now_s: int) -> None:
    """As the store does before it uses the slot, and that the certificate is this board's:
    a broker would let it in as somebody else, cut off from its own topics."""
    from keyfob import store, store_checks
    from keyfob.pki.certificate import common_name
    from keyfob.pki.reading import read

    identity = store.load_slot(device_id, slot, root)
    store_checks.check(identity, now_s)
    name = common_name(read(identity.read("cert.der")).subject_name)
    if name != device_id:
        detail = "certificate for %s, this is %s" % (name, device_id)
        raise KeyfobError("rotate.wrong-device", detail)


def _write(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return _sha256(content)


def _sha256(content: bytes) -> str:
    return "".join("%02x" % byte for byte in hashlib.sha256(content).digest())
