"""The files of one identity: trust anchors, certificate chain, key; read when asked for."""

import hashlib
import os

from micropython import const

from keyfob.errors import KeyfobError

# A mbedTLS certificate chain of RSA-4096 has files below this; a larger one is not ours.
_MAX_FILE_BYTES = const(4096)
_MAX_CERTIFICATES = const(4)


class Identity:
    """A slot whose manifest was read. The files are read when they are asked for.

    ``slot``: "a" or "b". ``device_id``: as provisioned. ``on_trial``: its slot is not the
    active one yet (`keyfob.trial`). ``not_after_s``: until when the end-entity certificate
    is valid, 0 before it was looked at. Nothing of the key stays on the heap after `read`
    returns it to the caller.
    """

    on_trial = False
    not_after_s = 0

    def __init__(self, folder: str, slot: str, manifest: dict) -> None:
        self.slot = slot
        self.device_id = manifest["device_id"]
        self._folder = folder
        self._files = manifest["files"]

    def read(self, name: str) -> bytes:
        """The bytes of one file. Errors: store.missing, store.too-large, store.hash-mismatch."""
        path = self._folder + "/" + name
        content = read_file(path, _MAX_FILE_BYTES, "store.missing")
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

    # What Keyfob's own engine asks of it, see `keyfob.tls.engine.Engine`.

    def __iter__(self):
        """The trust anchors, one at a time, as often as they are asked for."""
        for name in self.names("ca"):
            yield self.read(name)

    def certificates(self) -> list:
        """The chain, the end-entity first."""
        return [self.read(name) for name in self.names("cert")]

    def key(self):
        """The private key. Errors: tls.bad-key."""
        # Named so, because a board with mbedTLS is not sent it: it follows from no import.
        module = __import__("keyfob.pki.private_key").pki.private_key
        return module.load(self.read("key.der"))

    def check(self) -> None:
        """Read every file once against its hash, and let each go again."""
        for name in sorted(self._files):
            self.read(name)

    def digest(self) -> bytes:
        """SHA-256 over the hashes of all files: that of another identity is another."""
        all_of_it = hashlib.sha256()
        for name in sorted(self._files):
            all_of_it.update(name.encode() + b"=" + self._files[name].encode() + b";")
        return all_of_it.digest()

    def cert_sha256(self) -> str:
        """First 16 hex digits of the end-entity certificate's SHA-256."""
        return self._files["cert.der"][:16]


def read_file(path: str, limit: int, missing: str) -> bytes:
    """The whole file. Errors: ``missing``, store.too-large."""
    try:
        # Asked first, because read(limit) takes a buffer of that size from the heap.
        size = os.stat(path)[6]
        if size > limit:
            raise KeyfobError("store.too-large", "%s: %d bytes, limit %d" % (path, size, limit))
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise KeyfobError(missing, "%s: %s" % (path, error))
