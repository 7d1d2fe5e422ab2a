"""keyfob.store: a slot is used whole or not at all, and every failure has its own code."""

import hashlib
import json
import os

from device_support import Console, code_of, new_folder, refusal, remove_folder, write

from keyfob import store

FILES = {"ca.der": b"anchor", "cert.der": b"certificate", "key.der": b"key" * 40}


def hash_of(content):
    return "".join("%02x" % byte for byte in hashlib.sha256(content).digest())


def write_slot(root, slot, files, device_id="sensor-01", manifest=None):
    folder = root + "/" + slot
    os.mkdir(folder)
    for name in files:
        write(folder + "/" + name, files[name])
    if manifest is None:
        hashes = {name: hash_of(files[name]) for name in files}
        manifest = json.dumps({"device_id": device_id, "created_s": 1, "files": hashes})
    write(folder + "/manifest.json", manifest)


def with_store(test, files=FILES, active="a", **how):
    """Call ``test(root)`` on a store with slot a."""
    root = new_folder()
    try:
        write_slot(root, "a", files, **how)
        if active is not None:
            write(root + "/active", active)
        return test(root)
    finally:
        remove_folder(root)


def load(root):
    return store.load("sensor-01", root)


def test_the_active_slot_is_loaded():
    def check(root):
        identity = load(root)
        assert (identity.slot, identity.device_id) == ("a", "sensor-01")
        assert identity.read("key.der") == b"key" * 40
        assert identity.names("ca") == ["ca.der"]
        assert identity.cert_sha256() == hash_of(b"certificate")[:16]

    with_store(check)


def test_the_other_slot_is_loaded_once_it_is_active():
    def check(root):
        write_slot(root, "b", _with(FILES, "cert.der", b"new"))
        assert load(root).read("cert.der") == b"certificate"
        write(root + "/active.new", "b")
        os.rename(root + "/active.new", root + "/active")
        assert load(root).read("cert.der") == b"new"

    with_store(check)


def _with(files, name, content):
    made = dict(files)
    made[name] = content
    return made


def test_further_anchors_and_intermediates_come_in_order():
    files = dict(FILES)
    for name in ("ca1.der", "ca2.der", "cert1.der", "cert3.der"):
        files[name] = name.encode()

    def check(root):
        identity = load(root)
        assert identity.names("ca") == ["ca.der", "ca1.der", "ca2.der"]
        assert identity.names("cert") == ["cert.der", "cert1.der"]  # cert2.der is missing

    with_store(check, files)


def test_a_board_without_identity_is_told_so():
    assert code_of(load, "/nowhere") == "store.no-active"
    assert with_store(lambda root: code_of(load, root), active=None) == "store.no-active"


def test_a_torn_active_pointer_is_not_guessed():
    for content in ("", "c", "A", "a\n", "\0", b"\xff"):
        error = with_store(lambda root: refusal(load, root), active=content)
        assert error.code == "store.bad-active", content
        assert "want a or b" in error.detail
    assert with_store(lambda root: code_of(load, root), active="a" * 9) == "store.too-large"


def test_an_active_slot_that_is_empty_is_told_and_the_other_one_used():
    def check(root):
        with Console() as console:
            assert load(root).slot == "a"
        event = console.named("store.fallback")[0]
        assert (event["slot"], event["code"]) == ("a", "store.no-manifest")

    with_store(check, active="b")


def test_two_slots_that_will_not_do_are_both_told():
    def check(root):
        write_slot(root, "b", FILES, device_id="sensor-02")
        write(root + "/a/cert.der", b"")
        return refusal(load, root)

    error = with_store(check)
    assert error.code == "store.no-identity"
    assert "a: store.hash-mismatch: " in error.detail and "b: store.wrong-device: " in error.detail


def test_a_manifest_that_makes_no_sense_is_refused():
    good = dict.fromkeys(FILES, "0" * 64)
    bad = (
        "", "{", "[]", "5", b"\xff", "{}",
        json.dumps({"device_id": "x"}),
        json.dumps({"files": good}),
        json.dumps({"device_id": 5, "files": good}),
        json.dumps({"device_id": "x", "files": []}),
        json.dumps({"device_id": "x", "files": _with(good, "key.der", "12")}),
        json.dumps({"device_id": "x", "files": _with(good, "key.der", 5)}),
        json.dumps({"device_id": "x", "files": _with(good, "../key.der", "0" * 64)}),
    )  # fmt: skip
    for manifest in bad:
        code = with_store(lambda root: code_of(load, root), manifest=manifest)
        assert code == "store.bad-manifest", manifest


def test_a_manifest_without_a_file_that_an_identity_needs_is_refused():
    for name in FILES:
        files = {other: FILES[other] for other in FILES if other != name}
        error = with_store(lambda root: refusal(load, root), files)
        assert error.code == "store.bad-manifest"
        assert name in error.detail


def test_a_file_that_is_gone_is_named():
    for name in FILES:

        def check(root, name=name):
            os.remove(root + "/a/" + name)
            return refusal(load, root)

        error = with_store(check)
        assert error.code == "store.missing"
        assert name in error.detail


def test_a_file_with_one_other_byte_is_refused():
    for name in FILES:

        def check(root, name=name):
            content = bytearray(FILES[name])
            content[-1] ^= 1
            write(root + "/a/" + name, bytes(content))
            return refusal(load, root)

        error = with_store(check)
        assert error.code == "store.hash-mismatch"
        assert name in error.detail


def test_a_file_cut_short_is_refused():
    def check(root):
        write(root + "/a/cert.der", b"")
        return code_of(load, root)

    assert with_store(check) == "store.hash-mismatch"


def test_a_file_larger_than_any_certificate_is_not_read_whole():
    files = _with(FILES, "cert.der", b"x" * 4097)
    assert with_store(lambda root: code_of(load, root), files) == "store.too-large"
    files = _with(FILES, "cert.der", b"x" * 4096)
    assert with_store(load, files).slot == "a"


def test_an_identity_of_another_board_is_refused_with_both_ids():
    error = with_store(lambda root: refusal(load, root), device_id="sensor-02")
    assert error.code == "store.wrong-device"
    assert "sensor-02" in error.detail and "sensor-01" in error.detail
