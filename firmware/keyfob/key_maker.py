"""A key that is born on the board: what `keyfob provision --key-on-board` calls here.

    start("b", "sensor-01")    a new key for slot b; its certificate request
    start("b", "sensor-01", 2) the key in slot 2 of the board's secure element
    keep("b", "sensor-01")     the same with the active slot's key
    waiting("b", "sensor-01")  the same, of the key that waits there for its certificate
    check("b", "sensor-01")    slot b, complete, loaded as it will be at the next start

A key in a file goes from `os.urandom` into the slot's ``key.der`` and nowhere else:
nothing here returns, prints or raises it. Only an inactive slot is written.

A secure element is reached through the board's own module ``keyfob_element``:
``key(slot)`` as `keyfob.pki.private_key` says, whose ``public_key()`` is empty where the
slot holds no key; ``make(slot)``, which puts a new one there and returns it; and for
`keyfob element`, ``slots``, the numbers there are, and ``lock()``.

Not done: LittleFS writes to new blocks, so that of an older key something may stand in
flash until its blocks are used again.
"""

import hashlib
import os

from micropython import const

from keyfob.errors import KeyfobError

ROOT = "/id"
_KEY = "/key.der"
_INTEGER = const(0x02)  # DER: what a key.der holds that names a slot of a secure element
_OWN_BYTES = const(121)  # those of `keyfob.crypto.p256_make`
# Of a file that is read: one more than those. A larger limit would take a buffer of its size.
_MAX_BYTES = const(122)


def start(slot: str, subject: str, element: int = -1, is_new: bool = False, root: str = ROOT):
    """Empty ``slot`` ("a" or "b"), give it a key and return (request, SHA-256 of key.der).

    ``subject``: the device's id. ``element``: a slot of the secure element, whose key is
    used, or made where there is none or ``is_new`` asks for another. Nothing is written
    before there is a request. Errors: store.active-slot, store.no-element,
    store.element-unlocked, store.element-in-use, tls.no-randomness, tls.bad-key.
    """
    active = _read(root + "/active")
    if active == slot.encode():
        raise KeyfobError("store.active-slot", "slot %s, where no new key may go" % slot)
    if element < 0:
        content, key = _make()
    else:
        content = bytes((_INTEGER, 1, element))
        other = "b" if slot == "a" else "a"
        key = _element_key(content, is_new, active and _read(root + "/" + other + _KEY))
    return _put(slot, content, key, subject, root)


def keep(slot: str, subject: str, root: str = ROOT):
    """As `start`, with the key of the active slot, which is to have another certificate.
    Errors: tls.bad-key where no board made that, store.no-element."""
    other = "b" if slot == "a" else "a"
    content = _read(root + "/" + other + _KEY)
    if _read(root + "/active") != other.encode() or not _is_own(content):
        raise KeyfobError("tls.bad-key", "slot %s is not active with a key of the board" % other)
    return _put(slot, content, _read_key(content), subject, root)


def waiting(slot: str, subject: str, root: str = ROOT):
    """As `start`, of the key that waits in ``slot`` since then, with a request made anew;
    None where none does. Errors: store.no-element."""
    folder = root + "/" + slot
    content = _read(folder + _KEY)
    if not _is_own(content) or _read(folder + "/manifest.json"):
        return None
    from keyfob.pki import request

    return request.make(_read_key(content), subject), hashlib.sha256(content).digest()


def check(slot: str, device_id: str, root: str = ROOT) -> None:
    """Load ``slot`` whole, its key and its certificate a pair. Errors: those of
    `keyfob.store.load_slot` and `keyfob.store_checks.check`, whose dates are not judged
    (the clock may not be set); store.no-element."""
    from keyfob import store, store_checks
    from keyfob.pki.certificate import Certificate

    identity = store.load_slot(device_id, slot, root)
    store_checks.check(identity)
    point = _read_key(identity.read("key.der")).public_key()
    spki = Certificate(identity.read("cert.der")).spki
    if bytes(spki[-len(point) :]) != point:
        raise KeyfobError("store.key-mismatch", "cert.der is for another key than key.der has")


def _put(slot: str, content: bytes, key, subject: str, root: str) -> tuple:
    """(request, digest) of ``key``; its file alone in ``slot``."""
    from keyfob.pki import request

    made = request.make(key, subject)
    folder = root + "/" + slot
    _empty(folder, root)
    path = folder + _KEY
    try:
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.rename(path + ".new", path)
    except OSError:
        _remove(path + ".new")
        raise
    return made, hashlib.sha256(_read(path)).digest()


def _is_own(content: bytes) -> bool:
    """Whether a key.der is one of `start`'s."""
    return len(content) == _OWN_BYTES or (len(content) == 3 and content[0] == _INTEGER)


def _make() -> tuple:
    """(key.der's bytes, the key) of a key that is new."""
    import network

    from keyfob.crypto import p256_make
    from keyfob.pki.private_key_ec import own_key

    # With its radio off, an ESP32's generator has no noise and follows from its seed.
    station = network.WLAN(network.STA_IF)
    was_active = station.active()
    station.active(True)
    try:
        content = p256_make.make()
    finally:
        if not was_active:
            station.active(False)
    return content, own_key(content)


def _element_key(content: bytes, is_new: bool, used: bytes):
    """The key in the element's slot that ``content`` names; ``used``: the active key.der."""
    key = _load(content)
    if not key.is_locked():
        raise KeyfobError("store.element-unlocked", "slot %d" % content[2])
    if is_new or not key.public_key():
        if content == used:
            raise KeyfobError("store.element-in-use", "slot %d has the active key" % content[2])
        key = __import__("keyfob_element").make(content[2])
    return key


def _read_key(content: bytes):
    """The key that a key.der of `start` stands for."""
    if content[0] == _INTEGER:
        return _load(content)
    from keyfob.pki.private_key_ec import own_key

    return own_key(content)


def _load(content: bytes):
    # Named so, because a board with mbedTLS is not sent it, which takes keys in files only.
    try:
        module = __import__("keyfob.pki.private_key").pki.private_key
    except ImportError as error:
        raise KeyfobError("store.no-element", "the firmware here has none of it: %s" % error)
    return module.load(content)


def _empty(folder: str, root: str) -> None:
    """An empty folder, which no trial waits for; without its manifest it is no identity."""
    for path in (root, folder):
        try:
            os.mkdir(path)
        except OSError:
            pass  # it is there; if it cannot be, writing the key says so
    _remove(root + "/trial")
    _remove(folder + "/manifest.json")
    for name in [entry[0] for entry in os.ilistdir(folder)]:
        _remove(folder + "/" + name)


def _read(path: str) -> bytes:
    """The first bytes of a file; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # it was not there; a flash that fails is told by the next write
