"""The identity store: two slots, one of them active, every file proven by its hash.

``/id/active`` holds one byte, ``a`` or ``b``. ``/id/a/manifest.json`` names the
files of slot a with their SHA-256: trust anchors ``ca.der``, ``ca1.der`` …, the
end-entity certificate ``cert.der`` with its intermediates ``cert1.der`` …, and
``key.der``. A slot is used whole or not at all.

Not checked here: that the certificates parse, verify, or belong to the key; the
TLS engine judges that.
"""

import hashlib
import json
import os

from micropython import const

from keyfob.errors import KeyfobError

ROOT = "/id"
# A mbedTLS certificate chain of RSA-4096 has files below this; a larger one is not ours.
_MAX_FILE_BYTES = const(4096)
_MAX_MANIFEST_BYTES = const(2048)
_MAX_CERTIFICATES = const(4)
_NEEDED = ("ca.der", "cert.der", "key.der")


class Identity:
    """A slot whose manifest was read. The files are read when they are asked for.

    ``slot``: "a" or "b". ``device_id``: as provisioned. Nothing of the key stays on
    the heap after `read` returns it to the caller.
    """

    def __init__(self, folder: str, slot: str, manifest: dict) -> None:
        self.slot = slot
        self.device_id = manifest["device_id"]
        self._folder = folder
        self._files = manifest["files"]

    def read(self, name: str) -> bytes:
        """The bytes of one file. Errors: store.missing, store.too-large, store.hash-mismatch."""
        path = self._folder + "/" + name
        content = _read_file(path, _MAX_FILE_BYTES, "store.missing")
        seen = "".join("%02x" % byte for byte in hashlib.sha256(content).digest())
        if seen != self._files[name]:
            detail = "%s: sha256 %s, manifest %s" % (path, seen[:16], self._files[name][:16])
            raise KeyfobError("store.hash-mismatch", detail)
        return content

    def names(self, stem: str) -> list:
        """File names of ``ca`` or ``cert`` in order: ca.der, ca1.der, …"""
        found = [stem + ".der"]
        while len(found) < _MAX_CERTIFICATES and "%s%d.der" % (stem, len(found)) in self._files:
            found.append("%s%d.der" % (stem, len(found)))
        return found

    def check(self) -> None:
        """Read every file once against its hash, and let each go again."""
        for name in sorted(self._files):
            self.read(name)

    def cert_sha256(self) -> str:
        """First 16 hex digits of the end-entity certificate's SHA-256."""
        return self._files["cert.der"][:16]


def load(device_id: str, root: str = ROOT) -> Identity:
    """The active slot, checked whole.

    ``device_id``: as in the settings; an identity issued for another board is
    refused. Errors: store.no-active, store.bad-active, store.no-manifest,
    store.bad-manifest, store.wrong-device and those of `Identity.read`.
    """
    active = _read_file(root + "/active", 2, "store.no-active")
    if active not in (b"a", b"b"):
        raise KeyfobError("store.bad-active", "%s/active: %r, want a or b" % (root, active))
    slot = active.decode()
    folder = root + "/" + slot
    path = folder + "/manifest.json"
    identity = Identity(folder, slot, _read_manifest(path))
    if identity.device_id != device_id:
        detail = "%s: %s, settings: %s" % (path, identity.device_id, device_id)
        raise KeyfobError("store.wrong-device", detail)
    identity.check()
    return identity


def _read_manifest(path: str) -> dict:
    text = _read_file(path, _MAX_MANIFEST_BYTES, "store.no-manifest")
    try:
        manifest = json.loads(text.decode())
    except (ValueError, UnicodeError) as error:
        raise KeyfobError("store.bad-manifest", "%s: %s" % (path, error))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("device_id"), str):
        raise KeyfobError("store.bad-manifest", path + ": no device_id")
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise KeyfobError("store.bad-manifest", path + ": no files")
    for name in _NEEDED:
        if name not in files:
            raise KeyfobError("store.bad-manifest", path + ": no " + name)
    for name in files:
        if "/" in name or not isinstance(files[name], str) or len(files[name]) != 64:
            raise KeyfobError("store.bad-manifest", "%s: %s" % (path, name))
    return manifest


def _read_file(path: str, limit: int, missing: str) -> bytes:
    try:
        # Asked first, because read(limit) takes a buffer of that size from the heap.
        size = os.stat(path)[6]
        if size > limit:
            raise KeyfobError("store.too-large", "%s: %d bytes, limit %d" % (path, size, limit))
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise KeyfobError(missing, "%s: %s" % (path, error))
