"""The identity store: two slots, one of them active, every file proven by its hash.

``/id/active`` holds one byte, ``a`` or ``b``. ``/id/a/manifest.json`` names the
files of slot a with their SHA-256: trust anchors ``ca.der``, ``ca1.der`` …, the
end-entity certificate ``cert.der`` with its intermediates ``cert1.der`` …, and
``key.der``. A slot is used whole or not at all.

Not checked here: that the certificates verify; the TLS engine judges that.
"""

import json

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.identity import Identity, read_file

ROOT = "/id"
_MAX_MANIFEST_BYTES = const(2048)
_PUBLIC_BYTES = const(64)
_LEAST_BYTES_WITH_PUBLIC = const(112)
_NEEDED = ("ca.der", "cert.der", "key.der")


def load(device_id: str, root: str = ROOT) -> Identity:
    """The active slot, checked whole.

    ``device_id``: as in the settings; an identity issued for another board is
    refused. Errors: store.no-active, store.bad-active, store.no-manifest,
    store.bad-manifest, store.wrong-device and those of `Identity.read`.
    """
    active = read_file(root + "/active", 2, "store.no-active")
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
    text = read_file(path, _MAX_MANIFEST_BYTES, "store.no-manifest")
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


def facts(identity: Identity) -> dict:
    """What the event ``store.loaded`` tells. Errors: x509.malformed, tls.bad-key."""
    from keyfob.pki.certificate import Certificate

    certificate = Certificate(identity.read("cert.der"))
    # A point, or the end of a modulus with its exponent: the key's file has the same bytes.
    # An EC key may come without them, and is shorter then; of that the broker tells.
    public = bytes(certificate.spki[-_PUBLIC_BYTES:])
    key = identity.read("key.der")
    if len(key) >= _LEAST_BYTES_WITH_PUBLIC and public not in key:
        seen = "".join("%02x" % byte for byte in public[:8])
        raise KeyfobError("tls.bad-key", "cert.der has public key %s, key.der another" % seen)
    ends_s = certificate.not_after_s
    return {"slot": identity.slot, "cert": identity.cert_sha256(), "not_after_s": ends_s}
