"""The ladder's judgement of what was seen: what is never called well, and how logs are read.

Boards and brokers that really fail are in tests/bench/test_doctor_board.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from keyfob_host.boards import load_kind
from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.catalogue import LADDER, load_catalogue
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.ladder import climb
from keyfob_host.doctor.sightings import BoardFiles, BoardSight, Sightings, log_line
from keyfob_host.errors import ExitStatus

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
UP = (
    {"t": 0, "ev": "boot", "cause": "pwron", "version": "0.1.0", "device": "240ac4"},
    {"t": 100, "ev": "wifi.up", "ip": "192.168.4.2"},
    {"t": 200, "ev": "clock.set", "unix_s": int(NOW.timestamp()) - 5, "server": "ntp.test:123"},
    {"t": 300, "ev": "store.loaded", "cert": "00" * 8, "slot": "a", "not_after_s": 1},
    {"t": 400, "ev": "tls.up", "host": "b.test", "version": "TLSv1.2", "cipher": "AES"},
    {"t": 500, "ev": "mqtt.up", "client_id": "s1", "host": "b.test", "port": 8883},
    {"t": 600, "ev": "publish", "topic": "devices/s1/reading", "bytes": 3},
)


def seen(*events: dict, kind: str = "virtual-esp32", **files: object) -> Sightings:
    board = BoardSight(
        load_kind(kind), "board", lines=("kf",) * len(events), events=events,
        booted_at=NOW - timedelta(seconds=5), state="running", files=BoardFiles(**files),
    )  # fmt: skip
    return Sightings(now=NOW, board=board, host="b.test", port=8883)


def without(name: str) -> tuple[dict, ...]:
    return tuple(event for event in UP if event["ev"] != name)


def test_a_board_that_told_everything_is_well() -> None:
    ladder = climb(seen(*UP))
    assert ladder.is_well, ladder.as_text()
    assert ladder.status == 0


def test_a_board_that_told_of_no_verified_tls_is_never_well() -> None:
    for events in (without("tls.up"), tuple({**one, "version": "TLSv1.1"} for one in UP)):
        ladder = climb(seen(*events))
        assert ladder.diagnosis is not None
        assert ladder.diagnosis.code == "tls.not-verified"
        assert ladder.status != 0


def test_an_esp8266_with_its_ports_own_tls_is_not_well_though_connected() -> None:
    settings = {"tls": {"engine": "mbedtls"}}
    ladder = climb(seen(*UP, kind="virtual-esp8266", settings=settings))
    assert ladder.diagnosis is not None
    assert ladder.diagnosis.code == "tls.not-verified"


@pytest.mark.parametrize("name", ["boot", "wifi.up", "clock.set", "store.loaded", "publish"])
def test_what_was_not_seen_is_not_claimed(name: str) -> None:
    ladder = climb(seen(*without(name)))
    assert not ladder.is_well
    assert ladder.status == ExitStatus.NOT_KNOWN
    assert "not everything was seen" in ladder.as_text()


def test_traffic_of_long_ago_is_no_traffic() -> None:
    old = seen(*UP)
    old = replace(old, board=replace(old.board, booted_at=NOW - timedelta(minutes=10)))
    assert not climb(old).is_well


def test_an_identity_that_was_given_up_is_told_though_the_former_one_connects() -> None:
    fallback = {"t": 250, "ev": "store.fallback", "code": "store.key-mismatch", "slot": "a"}
    ladder = climb(seen(*UP[:3], fallback, *UP[3:]))
    assert ladder.diagnosis is not None
    assert ladder.diagnosis.code == "client-certificate.key-mismatch"


def test_where_the_broker_refuses_the_boards_certificate_its_own_was_taken() -> None:
    error = {
        "t": 700, "ev": "error", "code": "tls.alert-certificate-expired",
        "detail": "alert 45 from the broker", "next_ms": 9, "retry": "stop",
    }  # fmt: skip
    ladder = climb(seen(*UP[:4], error))
    states = {rung.name: rung.state for rung in ladder.rungs}
    assert (states["x509"], states["client-certificate"]) == ("holds", "broken")
    ladder = climb(seen(*UP[:4], {**error, "code": "x509.expired", "detail": "x"}))
    states = {rung.name: rung.state for rung in ladder.rungs}
    assert (states["x509"], states["client-certificate"]) == ("broken", "not seen")


def test_every_code_of_the_board_has_a_rung_a_cause_and_a_fix() -> None:
    for code in load_device_errors():
        error = {"t": 700, "ev": "error", "code": code, "detail": "", "next_ms": 9, "retry": "wait"}
        ladder = climb(seen(*UP[:3], error))
        assert ladder.diagnosis is not None, code
        assert ladder.diagnosis.rung in LADDER
        assert ladder.diagnosis.cause.cause
        assert "\nfix    " in ladder.diagnosis.as_text(), code


def test_an_error_that_only_another_firmware_has_is_told_and_no_defect_here() -> None:
    error = {"t": 700, "ev": "error", "code": "quantum.flux", "detail": "", "retry": "wait"}
    ladder = climb(seen(*UP[:3], error))
    assert ladder.diagnosis is not None and ladder.diagnosis.code == "quantum.flux"
    assert ladder.fix.startswith("keyfob sync --board virtual-esp32")
    assert ladder.diagnosis.rung in LADDER


def test_every_cause_of_the_catalogue_can_be_a_diagnosis() -> None:
    for code in load_catalogue():
        told = Diagnosis(code, "likely", (Evidence("host", "x\x1b[2J", NOW, "1", "2"),))
        assert "\x1b" not in told.as_text()
        assert told.as_dict()["rung"] == told.rung
        assert told.status in set(ExitStatus)


@pytest.mark.parametrize(
    ("line", "at", "text"),
    [
        ("1795262400: Client x", datetime.fromtimestamp(1795262400, timezone.utc), "Client x"),
        ("2026-11-21T12:00:00Z: Client x: y", NOW, "Client x: y"),
        ("no time: at all", None, "no time: at all"),
        ("", None, ""),
    ],
)
def test_a_line_of_mosquittos_log_is_read_with_its_time(
    line: str, at: datetime | None, text: str
) -> None:
    assert (log_line(line).at, log_line(line).text) == (at, text)


@pytest.mark.parametrize(
    ("kind", "name", "port", "where"),
    [
        ("virtual-esp32", "virtual-esp32", "", ""),
        ("virtual-esp32", "other", "", " --board virtual-esp32 --name other"),
        ("virtual-esp8266", "virtual-esp8266", "", " --board virtual-esp8266"),
        ("esp32", "ttyUSB0", "/dev/ttyUSB0", " --board esp32 --port /dev/ttyUSB0"),
    ],
)
def test_a_fix_is_for_the_board_that_was_looked_at(
    kind: str, name: str, port: str, where: str
) -> None:
    # A board at its prompt, without a program.
    board = BoardSight(load_kind(kind), name, port=port, lines=(">>> ",))
    found = climb(Sightings(now=NOW, board=board)).diagnosis
    assert found is not None and found.code == "firmware.file-missing"
    assert found.fix == f"keyfob sync{where}; keyfob provision{where}"
