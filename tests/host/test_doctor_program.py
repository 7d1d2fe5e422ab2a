"""The doctor's judgement of users' programs, of a broker's clock and files, and of silence.

What boards and brokers really say is in tests/bench/test_doctor_board.py; here is what must
not be read into it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from keyfob_host.boards import load_kind
from keyfob_host.doctor.broker_look import log_bytes, with_clock
from keyfob_host.doctor.judge import judge
from keyfob_host.doctor.sightings import BoardFiles, BoardSight, BrokerSight, Sightings, log_line
from keyfob_host.pki.authority import Authority

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
# What an ESP32 prints at each start from power-on, well or not.
BANNER = ("ets Jul 29 2019 12:21:46", "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)")
PROMPT = ("MicroPython 1.28.0 on 2026-07-05; Virtual ESP32 with ESP32", ">>> ")
EVENTS = (
    {"t": 0, "ev": "boot", "cause": "pwron", "version": "0.1.0", "device": "240ac4"},
    {"t": 100, "ev": "wifi.up", "ip": "192.168.4.2"},
    {"t": 300, "ev": "store.loaded", "cert": "00" * 8, "slot": "a", "not_after_s": 1},
)
TLS_UP = {"t": 400, "ev": "tls.up", "host": "b.test", "version": "TLSv1.2", "cipher": "AES"}
CLOSED = {"t": 500, "ev": "error", "code": "tls.closed", "detail": "", "next_ms": 9}


def traceback(*ending: str) -> tuple[str, ...]:
    return ("Traceback (most recent call last):", '  File "main.py", line 9, in <module>', *ending)


def seen(*lines: str, kind: str = "virtual-esp32", **more: object) -> Sightings:
    board = BoardSight(load_kind(kind), "board", lines=lines, state="running", said_at=NOW)
    return Sightings(now=NOW, board=board, **more)


def told(sightings: Sightings) -> tuple[str, str]:
    found = judge(sightings)
    return (found.code, found.confidence) if found else ("", "")


def events(*these: dict, **more: object) -> Sightings:
    board = BoardSight(
        load_kind("virtual-esp32"), "board", lines=("kf",), events=these, state="running",
        booted_at=NOW - timedelta(seconds=30), said_at=NOW,
    )  # fmt: skip
    return Sightings(now=NOW, board=board, host="b.test", port=8883, **more)


def test_a_start_from_power_on_is_no_weak_supply() -> None:
    error = "ValueError: CERT_REQUIRED requires server_hostname"
    assert told(seen(*BANNER, *traceback(error), *PROMPT)) == ("tls.no-server-name", "certain")


def test_a_program_that_was_ended_by_hand_has_no_error_and_does_not_run() -> None:
    stopped = seen(*BANNER, *traceback("KeyboardInterrupt: "), *PROMPT)
    assert told(stopped) == ("firmware.program-stopped", "certain")
    code, _ = told(seen(*BANNER, *traceback("SystemExit: "), *PROMPT))
    assert code != "firmware.program-error"


def test_a_board_at_its_prompt_is_not_well_however_it_was_connected() -> None:
    up = {"t": 500, "ev": "mqtt.up", "client_id": "s1", "host": "b.test", "port": 8883}
    stopped = events(*EVENTS, TLS_UP, up, {"t": 600, "ev": "publish", "topic": "t", "bytes": 3})
    lines = (*traceback("KeyboardInterrupt: "), *PROMPT)
    stopped = replace(stopped, board=replace(stopped.board, lines=lines))
    assert told(stopped) == ("firmware.program-stopped", "certain")


def test_an_exception_of_the_programs_own_is_told_as_such() -> None:
    lines = traceback("NameError: name 'temperature' isn't defined")
    assert told(seen(*BANNER, *lines, *PROMPT)) == ("firmware.program-error", "certain")


def test_an_exception_of_keyfobs_application_counts_only_as_its_last_word() -> None:
    lines = (*traceback("ValueError: of the sensor"), *PROMPT)
    ended = events(*EVENTS[:2])
    ended = replace(ended, board=replace(ended.board, lines=lines))
    assert told(ended)[0] == "firmware.program-error"
    again = replace(ended, board=replace(ended.board, lines=(*lines, 'kf {"t":1,"ev":"x"}')))
    assert told(again)[0] == ""


def test_a_verdict_on_the_wire_of_long_ago_decides_nothing() -> None:
    lines = (*BANNER, *traceback("OSError: [Errno 104] ECONNRESET"), *PROMPT)
    tap = {
        "at": "2026-11-21T11:50:00Z", "causes": ["tls.no-server-name"], "meaning": "reset",
        "is_well": False, "alert": None, "ended_by": "broker",
    }  # fmt: skip
    recent = {**tap, "at": "2026-11-21T11:59:58Z"}
    assert told(seen(*lines, broker=BrokerSight(taps=(recent,))))[0] == "tls.no-server-name"
    assert told(seen(*lines, broker=BrokerSight(taps=(tap,))))[0] != "tls.no-server-name"


@pytest.mark.parametrize(
    ("form", "kind", "code"),
    [
        ("SEC 1", "virtual-esp8266", "store.key-type"),
        ("PKCS#8", "virtual-esp8266", "store.key-type"),
        ("PEM, PKCS#1", "virtual-esp8266", "store.wrong-form"),
        ("PEM, SEC 1", "virtual-esp32", "store.wrong-form"),
    ],
)
def test_a_key_that_is_not_taken_is_told_by_its_form(form: str, kind: str, code: str) -> None:
    there = seen(*traceback("ValueError: invalid key"), *PROMPT, kind=kind)
    files = BoardFiles("its flash image", keys=(("/key.der", form),))
    there = replace(there, board=replace(there.board, files=files))
    assert told(there) == (code, "certain")


def test_who_closes_after_connect_is_a_cloud_only_where_no_log_says_more() -> None:
    cloud = "a1b2.iot.eu-west-1.amazonaws.com"
    closed = events(*EVENTS, TLS_UP, CLOSED)
    assert told(closed) == ("authorization.cloud-policy", "likely")
    assert told(replace(closed, host=cloud)) == ("authorization.cloud-policy", "certain")
    logged = BrokerSight(log_path="/var/log/mosquitto/mosquitto.log")
    assert told(replace(closed, broker=logged))[0] != "authorization.cloud-policy"
    before_tls = events(*EVENTS, CLOSED)
    assert told(before_tls)[0] != "authorization.cloud-policy"


def test_a_board_that_waits_for_long_waits_for_a_silent_peer() -> None:
    waiting = events(*EVENTS)
    assert told(waiting)[0] == ""
    later = replace(waiting, now=NOW + timedelta(seconds=25))
    assert told(later) == ("tcp.silent", "likely")
    up = events(*EVENTS, TLS_UP)
    assert told(replace(up, now=NOW + timedelta(seconds=25)))[0] == ""


# -- the broker's clock and files


def refused(own: x509.Certificate, code: str, **broker: object) -> Sightings:
    error = {**CLOSED, "code": code}
    sight = BrokerSight(is_ours=True, is_up=True, **broker)
    return replace(events(*EVENTS, error, broker=sight), own=own)


def test_a_brokers_clock_is_at_fault_only_where_a_limit_lies_between_the_two() -> None:
    own = Authority.ephemeral().issue_device("s1", not_before=NOW - DAY, not_after=NOW + 30 * DAY)
    late, early = 40 * DAY.total_seconds(), -9 * DAY.total_seconds()
    bad, past = "tls.alert-bad-certificate", "tls.alert-certificate-expired"
    assert told(refused(own.cert, bad, clock_ahead_s=early)) == ("clock.broker-behind", "certain")
    assert told(refused(own.cert, past, clock_ahead_s=late)) == ("clock.broker-ahead", "certain")
    for ahead_s in (None, 0.0, 20 * DAY.total_seconds()):
        assert told(refused(own.cert, past, clock_ahead_s=ahead_s))[0] != "clock.broker-ahead"


def test_some_hours_of_difference_may_be_a_time_zone() -> None:
    own = Authority.ephemeral().issue_device(
        "s1", not_before=NOW - timedelta(hours=1), not_after=NOW + DAY
    )
    found = told(refused(own.cert, "tls.alert-bad-certificate", clock_ahead_s=-7200.0))
    assert found == ("clock.broker-behind", "likely")


def test_a_ca_file_that_was_changed_after_the_start_was_not_read() -> None:
    authority = Authority.ephemeral()
    own = authority.issue_device("s1", not_before=NOW - DAY, not_after=NOW + DAY).cert
    files = {"clients_ca": (authority.cert,), "started_at": NOW - timedelta(minutes=5)}
    found = judge(refused(own, "tls.alert-unknown-ca", clients_ca_at=NOW, **files))
    assert found is not None and found.code == "client-certificate.unknown-ca"
    assert "changed after the broker's start" in found.evidence[-1].text
    assert found.fix == "keyfob broker down && keyfob broker up"
    unchanged = judge(refused(own, "tls.alert-unknown-ca", clients_ca_at=NOW - DAY, **files))
    assert unchanged is not None and "changed after" not in unchanged.evidence[-1].text


def of_log(path: Path) -> BrokerSight:
    lines = tuple(map(log_line, path.read_text().splitlines()))
    return BrokerSight(log=lines, log_path=str(path))


def test_a_log_that_grows_while_it_is_looked_at_tells_the_brokers_clock(tmp_path: Path) -> None:
    path = tmp_path / "mosquitto.log"
    path.write_text(f"{int(NOW.timestamp())}: mosquitto version 2.0.11 running\n")
    sight = of_log(path)
    size = log_bytes(sight)
    with path.open("a") as log:
        log.write(f"{int(NOW.timestamp()) + 60}: New connection from 127.0.0.1:9 on port 8883.\n")
    true = NOW.timestamp() + 60 + 3 * DAY.total_seconds()  # the broker is three days behind
    os.utime(path, (true, true))
    found = with_clock(sight, size)
    assert found.clock_ahead_s == pytest.approx(-3 * DAY.total_seconds())
    assert [line.at for line in found.log] == [NOW + 3 * DAY]  # by this host's clock


def test_a_log_that_does_not_grow_tells_nothing_of_any_clock(tmp_path: Path) -> None:
    path = tmp_path / "copied.log"
    path.write_text("1000000000: mosquitto version 2.0.11 running\n")
    sight = of_log(path)
    assert with_clock(sight, log_bytes(sight)) == sight
    assert with_clock(BrokerSight(), 0) == BrokerSight()
