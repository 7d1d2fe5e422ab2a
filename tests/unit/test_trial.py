"""keyfob.trial: a slot is tried a few times, counted before; one rename makes it active."""

import json
import os

from device_support import Console, code_of, new_folder, refusal, remove_folder, write

from keyfob import trial
from keyfob.errors import KeyfobError

NETWORK = KeyfobError("tls.refused", "broker:8883")
AUTHORIZATION = KeyfobError("mqtt.not-authorized", "CONNACK 5")


def with_trial(test, active="a", content=None):
    """``test(root)`` with slot ``active`` active and b on trial."""
    root = new_folder()
    try:
        if active is not None:
            write(root + "/active", active)
        if content is None:
            trial.begin("b", root)
        else:
            write(root + "/trial", content)
        with Console() as console:
            return test(root, console)
    finally:
        remove_folder(root)


def read(path):
    with open(path) as file:
        return file.read()


def names(root):
    return sorted(os.listdir(root))


def test_a_trial_has_three_attempts_each_counted_before_it_is_tried():
    def check(root, console):
        seen = []
        for _ in range(3):
            seen.append((trial.attempt(root), read(root + "/trial")))
        assert seen == [("b", "b2"), ("b", "b1"), ("b", "b0")]
        assert console.events == []

    with_trial(check)


def test_without_a_trial_nothing_is_tried_confirmed_or_given_up():
    def check(root, console):
        trial.failed(AUTHORIZATION, root)
        assert trial.attempt(root) == ""
        trial.confirm(root)
        assert not trial.failed(AUTHORIZATION, root)
        assert trial.report(root) is None and trial.take_report(root) is None
        assert console.events == [] and names(root) == ["active"]
        assert read(root + "/active") == "a"

    def clean(root, console):
        os.remove(root + "/trial")
        check(root, console)

    with_trial(clean)


def test_a_slot_that_the_broker_took_becomes_the_active_one():
    def check(root, console):
        trial.attempt(root)
        trial.confirm(root)
        assert read(root + "/active") == "b"
        assert names(root) == ["active"]
        assert [(event["ev"], event["slot"]) for event in console.events] == [
            ("store.committed", "b")
        ]
        assert trial.attempt(root) == ""

    with_trial(check)


def test_power_lost_behind_the_rename_leaves_the_new_slot_and_ends_the_trial():
    def check(root, console):
        write(root + "/active", "b")  # what `confirm` does first
        assert trial.attempt(root) == ""
        assert names(root) == ["active"] and read(root + "/active") == "b"
        assert console.events[0]["ev"] == "store.committed"

    with_trial(check, content="b2")


def test_a_failure_that_somebody_must_mend_ends_the_trial_at_once():
    for error in (
        AUTHORIZATION,
        KeyfobError("tls.alert-unknown-ca", "48"),
        KeyfobError("x509.untrusted", "chain"),
        KeyfobError("store.expired", "valid from"),
    ):

        def check(root, console, error=error):
            trial.attempt(root)
            assert trial.failed(error, root)
            assert names(root) == ["active", "trial.report"]
            assert read(root + "/active") == "a"
            event = console.named("store.rolled-back")[0]
            want = {"slot": "b", "code": error.code, "detail": error.detail}
            assert {key: event[key] for key in want} == want
            assert trial.report(root) == want
            assert trial.take_report(root) == want
            assert trial.take_report(root) is None
            assert trial.attempt(root) == ""

        with_trial(check)


def test_a_failure_of_the_network_ends_the_trial_with_the_last_attempt():
    def check(root, console):
        ended = []
        for _ in range(3):
            assert trial.attempt(root) == "b"
            ended.append(trial.failed(NETWORK, root))
        assert ended == [False, False, True]
        assert trial.report(root)["code"] == "tls.refused"
        assert read(root + "/active") == "a"

    with_trial(check)


def test_a_board_that_is_reset_in_every_attempt_comes_back_by_itself():
    def check(root, console):
        for _ in range(3):
            assert trial.attempt(root) == "b"
        assert trial.attempt(root) == ""
        assert trial.report(root)["code"] == "store.trial-cut-short"
        assert console.named("store.rolled-back")[0]["code"] == "store.trial-cut-short"
        assert names(root) == ["active", "trial.report"]

    with_trial(check)


def test_a_record_that_makes_no_sense_is_no_trial():
    for content in ("x3", "b", "b9", "b-", "c2"):

        def check(root, console):
            assert trial.attempt(root) == ""
            assert trial.take_report(root)["code"] == "store.bad-trial"
            assert names(root) == ["active"]

        with_trial(check, content=content)


def test_the_active_slot_or_none_cannot_be_tried():
    def check(root, console):
        for slot in ("a", "c", ""):
            error = refusal(trial.begin, slot, root)
            assert error.code == "store.bad-trial"
            assert repr(slot) in error.detail and "active 'a'" in error.detail
        assert read(root + "/trial") == "b3"
        os.remove(root + "/active")
        assert code_of(trial.begin, "b", root) == "store.bad-trial"

    with_trial(check)


def test_a_new_trial_drops_the_report_of_the_last():
    def check(root, console):
        trial.failed(AUTHORIZATION, root)
        trial.begin("b", root)
        assert trial.report(root) is None
        assert read(root + "/trial") == "b3"

    with_trial(check)


def test_settings_that_wait_in_the_slot_do_not_come_with_a_trial():
    def check(root, console):
        os.mkdir(root + "/b")
        write(root + "/b/keyfob.json", "{}")
        trial.begin("b", root)
        assert names(root + "/b") == []

    with_trial(check)


def test_a_count_that_cannot_be_kept_lets_nothing_be_tried():
    def check(root, console):
        os.mkdir(root + "/trial.new")  # no file can be written there
        assert trial.attempt(root) == ""
        assert console.named("error")[0]["code"] == "store.trial-not-kept"
        assert code_of(trial.begin, "b", root) == "store.trial-not-kept"
        assert read(root + "/trial") == "b3"

    with_trial(check)


def test_a_flash_that_cannot_confirm_leaves_the_old_slot_active():
    def check(root, console):
        os.mkdir(root + "/active.new")
        trial.attempt(root)
        trial.confirm(root)
        assert console.named("error")[0]["code"] == "store.trial-not-kept"
        assert read(root + "/active") == "a" and read(root + "/trial") == "b2"

    with_trial(check)


def test_a_report_is_small_whatever_the_detail():
    for detail in ("x" * 1000, '"' * 1000, "\x01" * 1000):

        def check(root, console, detail=detail):
            trial.failed(KeyfobError("x509.untrusted", detail), root)
            text = read(root + "/trial.report")
            assert len(text) <= 256
            assert json.loads(text)["code"] == "x509.untrusted"

        with_trial(check)


def test_a_report_that_is_damaged_is_none():
    def check(root, console):
        for text in ("", "{", "[]", "5"):
            write(root + "/trial.report", text)
            assert trial.report(root) is None
            assert trial.take_report(root) is None

    with_trial(check)
