"""The parts of the bench that need no board: lock, evidence, event log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path

import pytest

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.event_log import EventLog
from keyfob_host.hil.evidence import BenchFailure, Evidence, tail
from keyfob_host.hil.interrupts import interrupts_deferred, interrupts_unwrapped
from keyfob_host.hil.lock import board_lock, lock_path
from keyfob_host.home import Home

HOLDER = """
import sys
from pathlib import Path
from keyfob_host.hil.interrupts import interrupts_deferred, interrupts_unwrapped
from keyfob_host.hil.lock import board_lock
with board_lock(Path(sys.argv[1]), "board-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def log() -> EventLog:
    evidence = Evidence()
    evidence.add("board console", lambda: "what the board said last")
    return EventLog(evidence)


# -- the lock


def test_second_user_is_told_who_holds_the_board(tmp_path: Path) -> None:
    path = tmp_path / "board-1.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(KeyfobHostError) as refused, board_lock(path, "board-1"):
            pass
    finally:
        holder.communicate()
    assert refused.value.code == "board.in-use"
    assert f"pid {holder.pid}: " in refused.value.evidence
    assert str(path) in refused.value.evidence  # its command line
    assert str(holder.pid) in refused.value.fix


def test_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    path = tmp_path / "board-1.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    with board_lock(path, "board-1"):
        assert path.read_text().count(str(os.getpid())) == 1
    assert not path.exists()


def test_a_port_has_one_lock_under_all_its_names(tmp_path: Path) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    link = tmp_path / "by-id-of-the-adapter"
    link.symlink_to(device)
    one, other = Home(tmp_path / "one"), Home(tmp_path / "other")
    assert lock_path(one, "a", str(device)).name == lock_path(other, "b", str(link)).name
    assert lock_path(one, "a", None) == tmp_path / "one" / "boards" / "a.lock"


# -- evidence


def test_failure_shows_every_source_and_survives_a_broken_one() -> None:
    evidence = Evidence()
    evidence.add("board console", lambda: "kf boot")
    evidence.add("broker log", lambda: {}["gone"])
    failure = evidence.failure("event mqtt.up did not come")
    assert isinstance(failure, AssertionError)
    assert str(failure).startswith("event mqtt.up did not come")
    assert "kf boot" in str(failure)
    assert "not to be had: KeyError" in str(failure)


def test_tail_says_how_much_it_leaves_out() -> None:
    assert tail("\n".join(str(number) for number in range(30)), 5).splitlines() == [
        "... 25 lines before", "25", "26", "27", "28", "29",
    ]  # fmt: skip
    assert tail("") == "(nothing)"


# -- interrupts


def test_interrupt_takes_effect_when_the_deferred_part_is_over() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_explained_interrupt_is_an_interrupt_again_and_other_errors_stay() -> None:
    for status, wanted in (
        (ExitStatus.INTERRUPTED, KeyboardInterrupt),
        (ExitStatus.BOARD, KeyfobHostError),
    ):
        with pytest.raises(wanted), interrupts_unwrapped():
            raise KeyfobHostError("flash.interrupted", "interrupted", fix="", status=status)


# -- the event log


def test_waits_consume_events_in_their_order(log: EventLog) -> None:
    for name in ("boot", "wifi.up", "mqtt.up"):
        log.add(f'kf {{"t":1,"ev":"{name}"}}')
    assert log.wait("wifi.up", None, 0, "event wifi.up")["ev"] == "wifi.up"
    assert log.find("boot", None, 0) is None, "boot came before wifi.up"
    assert log.wait("mqtt.*", None, 0, "event mqtt.*")["ev"] == "mqtt.up"
    assert log.find("", None, 0) is None
    log.add('kf {"t":9,"ev":"publish"}')
    assert log.wait("", None, 0, "event of any name")["ev"] == "publish"


def test_wait_returns_as_soon_as_the_event_comes(log: EventLog) -> None:
    timer = threading.Timer(0.1, log.add, ['kf {"t":5,"ev":"error","code":"tls.reset"}'])
    timer.start()
    event = log.wait("error", lambda one: one["code"] == "tls.reset", 5, "error tls.reset")
    timer.join()
    assert event["t"] == 5


def test_time_out_shows_what_was_waited_for_and_what_came(log: EventLog) -> None:
    log.add('kf {"t":7,"ev":"wifi.up","ip":"192.0.2.7"}')
    log.add("Traceback (most recent call last):")
    with pytest.raises(BenchFailure) as failed:
        log.wait("mqtt.up", None, 0.05, "event mqtt.up")
    text = str(failed.value)
    assert "event mqtt.up did not come within 0.05 s" in text
    assert "wifi.up  ip=192.0.2.7" in text
    assert "what the board said last" in text


def test_nothing_counts_after_a_reset_until_the_board_boots(log: EventLog) -> None:
    log.add('kf {"t":9,"ev":"mqtt.up"}')
    assert log.is_connected()
    log.begin(boot=True)
    assert log.is_starting()
    log.add('kf {"t":10,"ev":"error","code":"tls.reset"}')  # printed before, arriving late
    assert log.find("error", None, 0) is None
    assert not log.is_connected()
    log.add('kf {"t":1,"ev":"boot"}')
    log.add('kf {"t":2,"ev":"mqtt.up"}')
    assert [event["ev"] for event in log.events()] == ["boot", "mqtt.up"]
    assert log.is_connected()


def test_board_that_met_an_error_is_not_starting_any_more(log: EventLog) -> None:
    log.begin(boot=True)
    log.add('kf {"t":1,"ev":"boot"}')
    assert log.is_starting()
    log.add('kf {"t":2,"ev":"error","code":"wifi.no-ap"}')
    assert not log.is_starting()


def test_lines_are_those_since_the_story_began(log: EventLog) -> None:
    log.add("before")
    log.begin()
    assert log.lines() == []
    log.add("invalid header: 0xffffffff")
    assert log.wait_line("0xffffffff", 0) == "invalid header: 0xffffffff"
    with pytest.raises(BenchFailure, match="'before' did not come"):
        log.wait_line("before", 0)
    assert log.tail().splitlines() == ["before", "invalid header: 0xffffffff"]


def test_the_time_of_the_last_event_is_kept_for_the_doctor(log: EventLog) -> None:
    log.add("no event")
    assert log.last_at is None
    before = datetime.now(timezone.utc)
    log.add('kf {"t":1,"ev":"boot"}')
    at = log.last_at
    assert at is not None and before <= at <= datetime.now(timezone.utc)
    log.add("no event either")
    assert log.last_at == at
