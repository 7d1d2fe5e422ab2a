"""The identity store: two slots, one of them active, every file proven by its hash.

``/id/active`` holds one byte, ``a`` or ``b``. ``/id/a/manifest.json`` names the
files of slot a with their SHA-256: trust anchors ``ca.der``, ``ca1.der`` …, the
end-entity certificate ``cert.der`` with its intermediates ``cert1.der`` …, and
``key.der``. A slot is used whole or not at all.

A slot on trial goes first (`keyfob.trial`). Where the active slot fails a check that the
other one passes, the other is used for this connection, and said so each time; the active
one stays active, since that is what provisioning mends. No slot is guessed where none is
active.

Not checked here: what the certificates say (`keyfob.store_checks` does, of slots that are
to be used), and that they verify; the TLS engine judges that.
"""

import json
import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit
from keyfob.identity import Identity, read_file

ROOT = "/id"
_MAX_MANIFEST_BYTES = const(2048)
_NEEDED = ("ca.der", "cert.der", "key.der")
# What an own certificate is refused for that may be the clock's fault.
_DATES = ("store.expired", "store.not-yet-valid", "store.anchor-expired")


def load(device_id: str, root: str = ROOT, clock=None, failed=None) -> Identity:
    """The identity to connect with: of the slot on trial, the active one, or the other.

    ``device_id``: as in the settings; an identity issued for another board is
    refused. ``clock``: one that was set, which is an attempt to connect: it counts for a
    trial, and certificates are judged. Without one it is a look at the files only, no slot
    is tried. ``failed``: the error that the last attempt ended with, if that was on trial.
    Event: store.fallback {slot, code, detail}, with the other slot, and with what
    is wrong with the active one. Errors: store.no-active, store.bad-active, those of
    `load_slot`; store.no-identity where both slots have one and neither will do.
    """
    slot = _on_trial(root, failed) if clock else ""
    if slot:
        # Here and not a call further down: judging it goes deep, and a small stack is at its end.
        try:
            identity = load_slot(device_id, slot, root, clock)
            identity.on_trial = True
            return identity
        except KeyfobError as error:
            from keyfob import trial

            trial.failed(error, root)
    active = read_file(root + "/active", 2, "store.no-active")
    if active not in (b"a", b"b"):
        raise KeyfobError("store.bad-active", "%s/active: %r, want a or b" % (root, active))
    slot = active.decode()
    try:
        return load_slot(device_id, slot, root, clock)
    except KeyfobError as error:
        reason = error
    slot = "b" if slot == "a" else "a"
    if not _exists("%s/%s/manifest.json" % (root, slot)):
        raise reason  # never provisioned twice: the reason is not hidden by another
    try:
        identity = load_slot(device_id, slot, root, clock)
    except KeyfobError as error:
        detail = "%s: %s; %s: %s" % (active.decode(), reason, slot, error)
        raise KeyfobError("store.no-identity", detail)
    emit("store.fallback", slot=slot, code=reason.code, detail=reason.detail)
    return identity


def load_slot(device_id: str, slot: str, root: str = ROOT, clock=None) -> Identity:
    """The identity in ``slot``, checked whole; with ``clock``, what it says as well.

    A certificate whose dates do not fit leaves the clock in doubt: it is asked for the time
    before the next attempt. Errors: store.no-manifest, store.bad-manifest,
    store.wrong-device, those of `Identity.read` and of `keyfob.store_checks.check`.
    """
    folder = root + "/" + slot
    path = folder + "/manifest.json"
    identity = Identity(folder, slot, _read_manifest(path))
    if identity.device_id != device_id:
        detail = "%s: %s, settings: %s" % (path, identity.device_id, device_id)
        raise KeyfobError("store.wrong-device", detail)
    identity.check()
    if clock:
        from keyfob import store_checks

        try:
            store_checks.check(identity, clock.now_s())
        except KeyfobError as error:
            if error.code in _DATES:
                clock.doubt()
            raise
    return identity


def _on_trial(root: str, failed) -> str:
    """The slot on trial, "" if there is none, or it is given up."""
    if not _exists(root + "/trial"):
        return ""
    from keyfob import trial

    if failed:
        trial.failed(failed, root)
    return trial.attempt(root)


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


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
