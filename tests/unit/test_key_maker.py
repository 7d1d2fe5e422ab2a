"""keyfob.key_maker: where a key made on the board goes, and what an interrupted run leaves."""

import hashlib
import os
import sys

from device_support import code_of, new_folder, refusal, remove_folder, write

from keyfob import key_maker
from keyfob.crypto import p256
from keyfob.pki import private_key
from keyfob.pki.private_key_ec import EcKey


class Element:
    """Stands in for a board's module ``keyfob_element``: it holds its keys in ``keys``."""

    def __init__(self, is_locked=True):
        self.keys = {}
        self.locked = is_locked

    def key(self, slot):
        return ElementKey(self, slot)

    def make(self, slot):
        self.keys[slot] = EcKey(p256.new_secret())
        return self.key(slot)


class ElementKey:
    kind = "p256"

    def __init__(self, element, slot):
        self.slot = slot
        self._element = element

    def public_key(self):
        return (
            self._element.keys[self.slot].public_key() if self.slot in self._element.keys else b""
        )

    def sign(self, scheme, digest):
        return self._element.keys[self.slot].sign(scheme, digest)

    def is_locked(self):
        return self._element.locked


def with_root(test, element=None):
    """Call ``test(root)`` on an empty store, the board having ``element``."""
    root = new_folder()
    if element:
        sys.modules["keyfob_element"] = element
    try:
        return test(root)
    finally:
        remove_folder(root)
        sys.modules.pop("keyfob_element", None)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_key_is_written_and_the_request_is_for_it():
    def check(root):
        request, digest = key_maker.start("a", "sensor-01", root=root)
        content = read(root + "/a/key.der")
        assert hashlib.sha256(content).digest() == digest
        assert os.listdir(root + "/a") == ["key.der"]
        point = private_key.load(content).public_key()
        assert point in request and b"sensor-01" in request
        assert content[7:39] not in request
        again, same = key_maker.waiting("a", "sensor-01", root)
        assert point in again and same == digest
        assert content[7:39] not in again

    with_root(check)


def test_what_an_interrupted_run_left_goes_first():
    def check(root):
        os.mkdir(root + "/b")
        for name in ("key.der", "key.der.new", "cert.der", "ca.der", "manifest.json"):
            write(root + "/b/" + name, "old")
        write(root + "/active", "a")
        write(root + "/trial", "b3")
        key_maker.start("b", "sensor-01", root=root)
        assert os.listdir(root + "/b") == ["key.der"]
        assert sorted(os.listdir(root)) == ["active", "b"]

    with_root(check)


def test_active_slot_keeps_its_key():
    def check(root):
        os.mkdir(root + "/a")
        write(root + "/a/key.der", "old")
        write(root + "/active", "a")
        assert code_of(key_maker.start, "a", "sensor-01", -1, False, root) == "store.active-slot"
        assert read(root + "/a/key.der") == b"old"

    with_root(check)


def test_without_randomness_the_slot_stays_as_it_was():
    def check(root):
        from test_crypto_entropy import with_generator

        os.mkdir(root + "/b")
        write(root + "/b/manifest.json", "old")
        start = (key_maker.start, "b", "sensor-01", -1, False, root)
        code, _ = with_generator(lambda n, size: bytes(size), code_of, *start)
        assert code == "tls.no-randomness"
        assert os.listdir(root + "/b") == ["manifest.json"]

    with_root(check)


def test_key_in_use_is_kept_for_another_certificate():
    def check(root):
        _, digest = key_maker.start("a", "sensor-01", root=root)
        refused = (key_maker.keep, "b", "sensor-01", root)
        assert code_of(*refused) == "tls.bad-key"
        write(root + "/active", "a")
        request, same = key_maker.keep("b", "sensor-01", root)
        assert same == digest and os.listdir(root + "/b") == ["key.der"]
        assert read(root + "/b/key.der") == read(root + "/a/key.der")
        assert private_key.load(read(root + "/a/key.der")).public_key() in request
        assert code_of(key_maker.keep, "a", "sensor-01", root) == "tls.bad-key"

    with_root(check)


def test_every_start_makes_another_key():
    def check(root):
        found = [key_maker.start("a", "sensor-01", root=root)[1] for _ in range(3)]
        assert len(set(found)) == 3

    with_root(check)


def test_no_key_waits_in_a_slot_that_is_empty_or_complete():
    def check(root):
        assert key_maker.waiting("a", "sensor-01", root) is None
        key_maker.start("a", "sensor-01", root=root)
        write(root + "/a/manifest.json", "{}")
        assert key_maker.waiting("a", "sensor-01", root) is None

    with_root(check)


def test_key_that_was_made_elsewhere_does_not_wait():
    def check(root):
        os.mkdir(root + "/a")
        write(root + "/a/key.der", b"\x30\x03\x02\x01\x00")
        assert key_maker.waiting("a", "sensor-01", root) is None

    with_root(check)


def test_element_makes_a_key_where_it_has_none_and_keeps_it_otherwise():
    element = Element()

    def check(root):
        request, digest = key_maker.start("a", "sensor-01", 3, False, root)
        # DER of the number 3, and no key.
        assert read(root + "/a/key.der") == b"\x02\x01\x03"
        point = element.keys[3].public_key()
        assert point in request
        again, same = key_maker.waiting("a", "sensor-01", root)
        assert point in again and same == digest
        again, _ = key_maker.start("a", "sensor-01", 3, False, root)
        assert point in again
        other, _ = key_maker.start("a", "sensor-01", 3, True, root)
        assert point not in other and element.keys[3].public_key() in other

    with_root(check, element)


def test_key_of_an_element_is_found_by_its_slot():
    def check(root):
        key = private_key.load(b"\x02\x01\x07")
        assert (key.slot, key.kind) == (7, "p256")

    with_root(check, Element())


def test_element_that_is_not_locked_is_refused():
    def check(root):
        error = refusal(key_maker.start, "a", "sensor-01", 0, False, root)
        assert (error.code, error.detail) == ("store.element-unlocked", "slot 0")
        assert os.listdir(root) == []

    with_root(check, Element(False))


def test_key_in_use_is_not_made_anew_in_its_element():
    element = Element()

    def check(root):
        key_maker.start("a", "sensor-01", 0, False, root)
        write(root + "/active", "a")
        old = element.keys[0]
        refused = code_of(key_maker.start, "b", "sensor-01", 0, True, root)
        assert refused == "store.element-in-use" and element.keys[0] is old
        # Another certificate for the same key, and another key in another slot, are fine.
        key_maker.start("b", "sensor-01", 0, False, root)
        key_maker.start("b", "sensor-01", 1, True, root)

    with_root(check, element)


def test_board_without_an_element_says_so():
    def check(root):
        assert code_of(key_maker.start, "a", "sensor-01", 0, False, root) == "store.no-element"
        assert os.listdir(root) == []

    with_root(check)


def test_slots_that_are_none_are_refused():
    for der in (b"\x02\x01\x80", b"\x02\x02\x01\x00", b"\x02\x01\x01\x00", b"\x02\x00", b"\x02"):
        assert code_of(private_key.load, der) == "tls.bad-key"
