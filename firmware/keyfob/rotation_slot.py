"""The slot that a rotation writes: an offer, then its files, each as far as it came.

``/id/<slot>/offer`` is the offer as it was sent, put there by `begin` once its signature was
judged; with it the slot has no manifest, so that nothing else takes it for an identity. A
file's size says how many of its bytes came. Where the power fails nothing is lost but the
chunk that was being written.

Not checked here: signatures and hashes; `keyfob.rotation_offer` and `keyfob.rotation_finish`
do that, before and afterwards.
"""

import json
import os

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.identity import Identity, read_file

MAX_OFFER_BYTES = const(1024)
_MAX_MANIFEST_BYTES = const(2048)
_OFFER = "/offer"
_MANIFEST = "/manifest.json"


def active(root: str) -> str:
    """The active slot. Errors: store.no-active, store.bad-active."""
    seen = read_file(root + "/active", 2, "store.no-active")
    if seen not in (b"a", b"b"):
        raise KeyfobError("store.bad-active", "%s/active: %r, want a or b" % (root, seen))
    return seen.decode()


def inactive_folder(root: str) -> str:
    """The folder of the other one."""
    return root + ("/a" if active(root) == "b" else "/b")


def load_active(root: str) -> Identity:
    """The active identity, its files read when they are asked for. Errors: store.*"""
    return load(root, active(root))


def load(root: str, slot: str) -> Identity:
    """That of a slot. Errors: store.no-manifest, store.bad-manifest."""
    return Identity(root + "/" + slot, slot, _manifest(root, slot))


def slot_on_trial(root: str) -> str:
    """The slot that the next attempt to connect tries; "" if none is on trial."""
    try:
        with open(root + "/trial") as file:
            text = file.read(2)
    except (OSError, UnicodeError):
        return ""
    return text[:1] if text[:1] in ("a", "b") and text[1:] != "0" else ""


def signer(root: str, number: int) -> tuple:
    """(name, content) of that file whose key may sign offers: trust anchors of the active
    identity, CAs below them in its chain, its update key. ("", b"") behind the last.
    Errors: store.*"""
    identity = load_active(root)
    names = identity.names("ca") + identity.names("cert")[1:] + names_in(root, identity, "update")
    if number >= len(names):
        return "", b""
    return names[number], identity.read(names[number])


def names_in(root: str, identity: Identity, stem: str) -> list:
    """File names of ``ca``, ``cert`` or ``update`` in it; of the last there may be none."""
    if stem != "update":
        return identity.names(stem)
    name = stem + ".der"
    return [name] if name in _manifest(root, identity.slot)["files"] else []


def created_s(root: str, slot) -> int:
    """When the identity in ``slot`` was made, in Unix seconds; 0 where there is none."""
    try:
        made_s = _manifest(root, slot).get("created_s")
    except KeyfobError:
        return 0
    return made_s if isinstance(made_s, int) else 0


def newest_s(root: str) -> int:
    """That of the newer one."""
    return max(created_s(root, "a"), created_s(root, "b"))


def check_free(root: str) -> None:
    """Refuse what would write to a slot that is on trial. Errors: rotate.busy."""
    try:
        os.stat(root + "/trial")
    except OSError:
        return
    raise KeyfobError("rotate.busy", "another identity is on trial")


def stored_offer(root: str) -> bytes:
    """The offer that is under way, b"" if there is none."""
    try:
        folder = inactive_folder(root)
        offer = read_file(folder + _OFFER, MAX_OFFER_BYTES, "store.missing")
        # One that became an identity, which was replaced since: its removal was cut short.
        is_over = created_in(offer) <= created_s(root, active(root))
    except (KeyfobError, ValueError, UnicodeError, KeyError, TypeError):
        return b""  # or damaged: it is sent once more
    return b"" if is_over else offer


def begin(root: str, offer: bytes) -> None:
    """Make the inactive slot that of ``offer``, which was judged. Errors: OSError of the
    file system; then the slot is empty."""
    folder = clear(root)
    path = folder + _OFFER
    try:
        with open(path + ".new", "wb") as file:
            file.write(offer)
        os.rename(path + ".new", path)
    except OSError:
        clear(root)
        raise


def clear(root: str) -> str:
    """Empty the inactive slot; its folder. Errors: rotate.busy."""
    check_free(root)
    folder = inactive_folder(root)
    remove(folder + _MANIFEST)  # first: without it nobody takes the rest for an identity
    try:
        os.mkdir(folder)
    except OSError:
        pass  # it is there
    for name in os.listdir(folder):
        os.remove(folder + "/" + name)
    return folder


def remove(path: str) -> None:
    """Remove a file that may be there."""
    try:
        os.remove(path)
    except OSError:
        pass


def files_of(offer: bytes) -> dict:
    """Name to [size, SHA-256 in hex] of an offer that was judged."""
    return _manifest_in(offer)["files"]


def created_in(offer: bytes) -> int:
    """``created_s`` of an offer that was judged."""
    return _manifest_in(offer)["created_s"]


def plan(root: str, offer: bytes) -> tuple:
    """See ``plan`` in `keyfob.rotation_work`."""
    folder = inactive_folder(root)
    files = files_of(offer)
    progress = {name: [files[name][0], size_of(folder + "/" + name)] for name in files}
    return created_in(offer), folder, progress


def is_complete(root: str, offer: bytes) -> bool:
    """Whether all of its bytes are there."""
    folder = inactive_folder(root)
    files = files_of(offer)
    return all(size_of(folder + "/" + name) == files[name][0] for name in files)


def size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _manifest(root: str, slot) -> dict:
    """Errors: store.no-manifest, store.bad-manifest."""
    path = "%s/%s%s" % (root, slot, _MANIFEST)
    text = read_file(path, _MAX_MANIFEST_BYTES, "store.no-manifest")
    try:
        manifest = json.loads(text.decode())
        if isinstance(manifest["files"], dict) and isinstance(manifest["device_id"], str):
            return manifest
    except (ValueError, UnicodeError, KeyError, TypeError):
        pass
    raise KeyfobError("store.bad-manifest", path)


def _manifest_in(offer: bytes) -> dict:
    """Of an offer that was judged before it was written."""
    return json.loads(offer[offer.find(b"\n") + 1 :].decode())
