"""keyfob.rotation: offers that `cryptography` signed, chunks in and out of order, cuts.

The offers are in ``tests/vectors/rotation.txt``, which `rotation_cases` writes.
"""

import json
import os

from device_support import remove_folder, write
from rotation_board import MADE, SLOT_A, Board, chunk, exists, sha256

from keyfob import rotation, trial
from keyfob.errors import KeyfobError

DUE_S = 2_187_993_600  # 2039-05-03: of 2026 to 2046, in UTC, a third is left


def test_the_state_tells_what_the_board_has():
    with Board() as board:
        told = board.state()
        assert told["slot"] == "a" and told["created_s"] == 1_794_000_000
        assert told["cert"] == sha256(MADE.content("cert"))[:16]
        assert told["not_after_s"] == 2_398_377_600  # 2046-01-01
        assert told["chunk"] == told["message"] == 1024
        assert "offer" not in told and "outcome" not in told


def test_the_state_is_looked_up_again_for_a_host_that_asks():
    with Board() as board:
        before = board.state()
        assert board.send(b"state") == before
        del board.notes["state"], board.notes["message"], board.notes["chunk"]
        assert rotation.state(board.notes) == b""
        assert board.send(b"state") == before


def test_a_small_buffer_takes_smaller_chunks():
    with Board(config={"device_id": "sensor-01", "limits": {"rx_bytes": 1024}}) as board:
        told = board.state()
        assert told["chunk"] == 512 and 900 < told["message"] < 1000


def test_each_key_that_may_sign_is_taken():
    for signer in ("ca", "rsa", "p384"):
        files = dict(SLOT_A)
        files["ca.der"] = signer
        with Board(files) as board:
            board.deliver(signer)
            assert board.code() == ""
            assert trial.attempt(board.root) == "b"
    files = {"ca.der": "ca", "cert.der": "of-below", "cert1.der": "below", "key.der": "key"}
    with Board(files) as board:
        assert board.send(MADE.offer("below")[0])["offer"]["had"] == {"cert.der": 0}
    files = dict(SLOT_A)
    files["update.der"] = "update"
    with Board(files) as board:
        board.deliver("update")
        assert trial.attempt(board.root) == "b"
        assert board.tree("b")["update.der"] == MADE.content("update")


def test_a_key_that_may_not_sign_is_refused():
    for signer in ("rsa", "p384", "below", "update", "stranger"):
        with Board() as board:
            board.send(MADE.offer(signer)[0])
            assert board.code() == "rotate.bad-signature", signer
            assert not exists(board.root + "/b")


def test_the_key_of_the_boards_own_certificate_may_not_sign():
    # Who steals it could give the board trust anchors of his own.
    with Board({"ca.der": "ca", "cert.der": "below", "key.der": "key"}) as board:
        board.send(MADE.offer("below")[0])
        assert board.code() == "rotate.bad-signature"
        assert not exists(board.root + "/b")


def test_any_other_byte_of_an_offer_is_refused_and_nothing_is_written():
    payload = MADE.offer("ca")[0]
    with Board() as board:
        for at in range(0, len(payload), 7):
            spoiled = bytearray(payload)
            spoiled[at] ^= 1
            board.notes.pop("outcome", None)
            board.send(bytes(spoiled))
            assert board.code()[:7] == "rotate.", at
            assert not exists(board.root + "/b")


def test_each_wrong_offer_is_refused_with_its_code():
    codes = set()
    for name, _, _, code in MADE.rows:
        if code:
            with Board() as board:
                told = board.deliver(name)
                assert board.code() == code, name
                assert told["outcome"]["result"] == "refused"
                assert told["outcome"]["created_s"] > 0 or name in ("true", "huge")
                assert not exists(board.root + "/trial")
                assert not exists(board.root + "/b/manifest.json")
                assert told["cert"] == sha256(MADE.content("cert"))[:16]
                codes.add(code)
    assert {
        "rotate.wrong-device", "rotate.replayed", "rotate.from-the-future", "rotate.key-sent",
        "rotate.unknown-file", "rotate.too-large", "rotate.malformed", "rotate.bad-signature",
    } <= codes  # fmt: skip


def test_files_that_were_not_sent_are_copied():
    with Board() as board:
        board.deliver("anchors")
        found = board.tree("b")
        assert found["ca.der"] == MADE.content("ca") and found["ca1.der"] == MADE.content("rsa")
        assert found["cert.der"] == MADE.content("cert")
        assert found["key.der"] == MADE.content("key")
        assert sorted(found) == ["ca.der", "ca1.der", "cert.der", "key.der", "manifest.json"]
        manifest = json.loads(found.pop("manifest.json").decode())
        assert manifest["created_s"] == 1_795_000_000
        assert manifest["files"] == {name: sha256(found[name]) for name in found}


def test_anchors_and_chain_come_in_one_offer():
    with Board() as board:
        board.deliver("all", 1000)
        found = board.tree("b")
        assert found["ca.der"] == MADE.content("rsa")
        assert found["cert1.der"] == MADE.content("below")
        assert board.state()["slot"] == "b"


def test_a_certificate_for_the_key_of_a_renewal_takes_that_key():
    with Board() as board:
        write(board.root + "/key.new", MADE.content("key-new"))
        write(board.root + "/request.der", b"asked")
        board.deliver("of-new-key")
        assert board.tree("b")["key.der"] == MADE.content("key-new")
        assert trial.attempt(board.root) == "b"
        trial.confirm(board.root)
        board.reset()
        assert not exists(board.root + "/key.new") and not exists(board.root + "/request.der")


def test_a_second_copy_and_a_gap_change_nothing():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        content = MADE.content("next")
        board.send(payload)
        first = chunk(payload, "cert.der", 0, content)
        for _ in range(3):
            assert board.send(first)["offer"]["had"] == {"cert.der": 200}
        board.send(chunk(payload, "cert.der", 100, content))
        assert board.send(chunk(payload, "cert.der", 300, content, 50))["offer"]["had"] == {
            "cert.der": 200
        }
        assert board.code() == ""
        assert board.tree("b")["cert.der"] == content[:200]
        board.deliver("ca")
        last = chunk(payload, "cert.der", 400, content)
        assert board.send(last)["slot"] == "b"  # the broker sends it again
        assert board.code() == ""


def test_chunks_of_no_offer_are_told():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        board.send(chunk(payload, "cert.der", 0, b"x"))
        assert board.code() == "rotate.no-offer"
        assert not exists(board.root + "/b")


def test_chunks_that_do_not_fit_are_refused_and_the_offer_goes_on():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        size = len(MADE.content("next"))
        board.send(payload)
        for message, code in (
            (chunk(payload, "cert.der", 0, b"x" * 2000, 2000), "rotate.too-large"),
            (chunk(payload, "cert.der", 0, b"x" * 900, size + 1), "rotate.too-large"),
            (chunk(payload, "cert.der", 0, b""), "rotate.too-large"),
            (chunk(payload, "ca.der", 0, b"x"), "rotate.unknown-file"),
            (chunk(payload, "../active", 0, b"x"), "rotate.unknown-file"),
            (b"chunk 1795000000 cert.der -1\nx", "rotate.malformed"),
            (b"chunk 1795000000 cert.der\nx", "rotate.malformed"),
            (b"chunk 1795000000 cert.der 0 0\nx", "rotate.malformed"),
            (b"chunk 1 cert.der 0\nx", "rotate.no-offer"),
            (b"chunk ", "rotate.malformed"),
            (b"", "rotate.malformed"),
            (b"hello", "rotate.malformed"),
        ):
            told = board.send(message)
            assert board.code() == code, message
            assert told["offer"]["had"] == {"cert.der": 0}
        board.deliver("ca")
        assert board.state()["slot"] == "b"


def test_a_file_with_another_content_ends_the_offer():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        board.send(payload)
        told = board.send(chunk(payload, "cert.der", 0, b"x" * len(MADE.content("next")), 999))
        assert board.code() == "rotate.hash-mismatch"
        assert "offer" not in told and told["slot"] == "a"


def test_an_offer_goes_on_behind_a_reset():
    with Board() as board:
        payload = MADE.offer("anchors")[0]
        board.send(payload)
        board.send(chunk(payload, "ca.der", 0, MADE.content("ca")))
        board.reset()
        assert board.state()["offer"]["had"] == {"ca.der": 200, "ca1.der": 0}
        board.send(payload)  # the same offer again is judged by its bytes
        assert board.state()["offer"]["had"]["ca.der"] == 200
        board.deliver("anchors")
        assert board.state()["slot"] == "b" and board.code() == ""


def test_an_offer_that_is_complete_is_finished_behind_a_reset():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        board.send(payload)
        rotation.take(board.notes, chunk(payload, "cert.der", 0, MADE.content("next"), 999))
        assert board.notes["todo"] == "finish"
        board.reset()
        assert board.state()["slot"] == "b" and trial.attempt(board.root) == "b"


def test_a_newer_offer_takes_the_place_of_one_under_way():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        board.send(payload)
        board.send(chunk(payload, "cert.der", 0, MADE.content("next")))
        assert board.send(MADE.offer("anchors")[0])["offer"]["had"] == {"ca.der": 0, "ca1.der": 0}
        assert sorted(board.tree("b")) == ["offer"]


def test_nothing_is_written_to_a_slot_on_trial():
    with Board() as board:
        board.deliver("ca")
        before = board.tree("b")
        board.send(MADE.offer("anchors")[0])
        assert board.code() == "rotate.busy"
        assert board.tree("b") == before


def test_a_committed_offer_is_refused_when_it_comes_again():
    with Board() as board:
        board.deliver("ca")
        trial.attempt(board.root)
        trial.confirm(board.root)
        board.reset()
        assert board.state()["slot"] == "b" and "offer" not in board.state()
        board.send(MADE.offer("ca")[0])
        assert board.code() == "rotate.replayed"


def test_a_trial_that_was_given_up_is_told():
    with Board() as board:
        board.deliver("ca")
        trial.attempt(board.root)
        trial.failed(KeyfobError("tls.alert-unknown-ca", "alert 48"), board.root)
        board.reset()
        told = board.state()
        assert told["slot"] == "a"
        assert told["outcome"] == {
            "result": "rolled-back", "created_s": 1_795_000_000,
            "code": "tls.alert-unknown-ca", "detail": "alert 48",
        }  # fmt: skip


def test_a_damaged_identity_is_told_and_its_other_slot_left_alone():
    with Board() as board:
        board.deliver("ca")
        trial.attempt(board.root)
        trial.confirm(board.root)
        write(board.root + "/b/cert.der", b"worn")
        board.reset()
        assert board.state()["damaged"][:19] == "store.hash-mismatch"
        before = board.tree("a")
        files = {name: board.tree("b")[name] for name in ("manifest.json",)}
        board.send(MADE.offer("anchors")[0])
        assert board.tree("a") == before and files
        remove_folder(board.root + "/b")
        board.reset()
        assert board.state()["damaged"][:17] == "store.no-manifest"


class FullFlash:
    """Stands for ``open``: what is written does not fit."""

    def __init__(self, module):
        self._module = module

    def __enter__(self):
        def refuse(path, mode="r"):
            if "w" in mode or "a" in mode:
                raise OSError(28)
            return open(path, mode)

        self._module.open = refuse

    def __exit__(self, *_):
        del self._module.open


def test_a_full_flash_is_told_and_frees_what_was_taken():
    with Board() as board:
        payload = MADE.offer("ca")[0]
        board.send(payload)
        with FullFlash(rotation):
            told = board.send(chunk(payload, "cert.der", 0, MADE.content("next")))
        assert board.code() == "rotate.not-kept" and "28" in told["outcome"]["detail"]
        assert "offer" not in told and board.tree("b") == {}


def test_a_request_is_made_when_a_third_of_the_life_is_left():
    with Board() as board:
        assert board.notes["renew_s"] == DUE_S
        assert rotation.due_request(board.notes, DUE_S - 1) is None
        assert rotation.due_request(board.notes, DUE_S) is None
        assert board.notes["todo"] == "renew"  # it is to be made first
        board.work(DUE_S)
        first = rotation.due_request(board.notes, DUE_S)
        assert b"sensor-01" in first and first[:2] == b"\x30\x81"
        assert board.notes["renew_s"] == DUE_S + 86_400
        assert rotation.due_request(board.notes, DUE_S + 86_399) is None
        assert exists(board.root + "/key.new")
        board.reset()
        assert rotation.due_request(board.notes, DUE_S) == first  # one key, one request


def test_a_request_that_cannot_be_made_is_told():
    with Board() as board:
        os.remove(board.root + "/a/key.der")
        board.notes["todo"] = "renew"
        board.work(DUE_S)
        assert board.code() == "rotate.no-request"
        assert rotation.due_request(board.notes, DUE_S) is None
        assert board.notes["renew_s"] == DUE_S + 86_400  # not before tomorrow


def test_the_broker_is_told_why_the_connection_ends():
    # Raised by the shells; what a client makes of it is in tests/bench/test_rotation_boards.py.
    from keyfob.backoff import is_stop

    assert not is_stop("rotate.reconnecting") and not is_stop("rotate.no-memory")


def test_nothing_but_codes_comes_of_nonsense():
    payload = MADE.offer("ca")[0]
    seeds = (payload, chunk(payload, "cert.der", 0, MADE.content("next")), b"offer \n{}")
    number = 1
    with Board() as board:
        for turn in range(400):
            number = (number * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
            message = bytearray(seeds[turn % 3])
            for _ in range(1 + number % 5):
                number = (number * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
                at = (number >> 8) % len(message)
                if number & 0x80:
                    message[at] = number >> 24
                elif number & 0x40:
                    message = message[:at] + message[at + 1 :]
                else:
                    message = message[:at] + message[at // 2 :]
                message = message or bytearray(1)
            rotation.take(board.notes, bytes(message))
            if board.notes.get("todo") and b"{" not in bytes(message[:300]):
                board.work()  # those with a manifest are for the test above
            board.notes.pop("todo", None)
            json.loads(rotation.state(board.notes).decode())
        for text in (b"[" * 900, b"{" * 900, b'{"a":' * 150, b"\xff" * 40, b"null", b"1e999"):
            board.send(b"offer AAAAAAAAAAAAAAAA\n" + text + b"}")
            assert board.code() == "rotate.malformed", text[:8]
        assert not exists(board.root + "/trial")
