"""``keyfob doctor --files``: logs that no mosquitto of this bench writes.

Those of other versions and other loggers, of the boards themselves, and of the tap.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from doctor_file_faults import CONSOLE, FAILED, UP, YEARS, expired, told
from doctor_rig import DAY, NAME, NOW, Folder, make_leaf

from keyfob_host.doctor.offline.examining import examine
from keyfob_host.doctor.tap import Tap

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
        reason="mosquitto is not installed",
    ),
]


def written(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.log").write_text(text)
    return tmp_path


def codes(folder: Path, **how: object) -> list[str]:
    found = examine([folder], NOW, **how)  # type: ignore[arg-type]
    return [one.code for one in found.diagnoses]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("clock.never-set", "clock.board-never-set"),
        ("x509.wrong-name", "x509.name-not-in-san"),
        ("x509.untrusted", "x509.wrong-anchor"),
        ("tls.refused", "tcp.listener-down"),
        ("tls.name-not-found", "name.not-resolved"),
        ("tls.no-memory", "tls.heap-too-small"),
        ("tls.record-overflow", "tls.chain-over-buffer"),
        ("wifi.wrong-password", "wifi.password"),
        ("config.missing", "settings.missing"),
    ],
)
def test_a_boards_console_alone_is_enough(tmp_path: Path, code: str, cause: str) -> None:
    text = CONSOLE % NOW.timestamp() + FAILED % code
    assert cause in codes(written(tmp_path, console=text))[:1]


def test_what_a_board_came_past_is_over(tmp_path: Path) -> None:
    text = CONSOLE % NOW.timestamp() + FAILED % "tls.refused" + UP
    found = examine([written(tmp_path, console=text)], NOW)
    assert not found.diagnoses and [one.kind for one in found.past] == ["tls.refused"]


@pytest.mark.parametrize(
    ("clock", "cause"),
    [(NOW, "client-certificate.expired"), (NOW + 9 * YEARS, "clock.board-ahead")],
    ids=["now", "years-ahead"],
)
def test_a_board_that_fell_back_says_by_which_clock(
    tmp_path: Path, clock: datetime, cause: str
) -> None:
    """It is connected all the same, with its other identity."""
    detail = "cert.der: valid from 2020-01-01T00:00:00Z to 2020-02-01T00:00:00Z, clock "
    event = {"t": 290, "ev": "store.fallback", "code": "store.expired", "slot": "b"}
    event["detail"] = f"{detail}{clock:%Y-%m-%dT%H:%M:%SZ}"
    text = CONSOLE % NOW.timestamp() + f"kf {json.dumps(event)}\n" + UP
    assert codes(written(tmp_path, console=text)) == [cause]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ValueError: The certificate is not correctly signed by the trusted CA",
         "x509.wrong-anchor"),
        ("OSError: -202", "name.not-resolved"),
        ("ImportError: no module named 'umqtt'", "firmware.file-missing"),
        ("MemoryError: memory allocation failed, allocating 16717 bytes", "firmware.out-of-memory"),
        ("Brownout detector was triggered", "firmware.power"),
    ],
)  # fmt: skip
def test_tracebacks_and_boot_messages_are_read(tmp_path: Path, line: str, cause: str) -> None:
    text = f"MicroPython v1.28 on ESP32\nTraceback (most recent call last):\n{line}\n"
    assert codes(written(tmp_path, board=text))[:1] == [cause]


def test_a_program_that_was_stopped_by_hand_is_told_until_it_runs_again(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "main.py", line 5\nKeyboardInterrupt: \n'
    assert codes(written(tmp_path, board=text)) == ["firmware.program-stopped"]
    again = 'kf {"t":0,"ev":"boot","cause":"soft","device":"240ac4b6d8c6","version":"0.1.0"}\n'
    assert codes(written(tmp_path, board=text + again)) == []


@pytest.mark.parametrize(
    "stamp",
    ["1795200000: ", "2026-11-20T18:40:00Z: ", "2026-11-20 18:40:00: ", "",
     "Nov 20 18:40:00 host mosquitto[4711]: 1795200000: "],
)  # fmt: skip
def test_a_brokers_log_is_read_in_each_form_of_time(tmp_path: Path, stamp: str) -> None:
    lines = (
        "mosquitto version 2.0.18 running",
        "New connection from 192.0.2.7:4711 on port 8883.",
        "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
        "Client <unknown> disconnected: Protocol error.",
    )
    folder = written(tmp_path, mosquitto="".join(f"{stamp}{line}\n" for line in lines))
    found = examine([folder], NOW)
    assert [one.code for one in found.diagnoses] == ["client-certificate.not-sent"]
    assert (found.diagnoses[0].evidence[0].at is not None) == bool(stamp)


def test_clocks_that_differ_are_told_and_lined_up(tmp_path: Path) -> None:
    broker = (
        f"{int(NOW.timestamp())}: New client connected from 192.0.2.7:1 as sensor-01 (p2, c1).\n"
    )
    folder = written(tmp_path, mosquitto=broker, console=CONSOLE % (NOW.timestamp() + 500) + UP)
    found = examine([folder], NOW)
    assert found.board_ahead_s == 500 and any("--board-ahead 500" in one for one in found.notes)
    again = examine([folder], NOW, board_ahead_s=500.0)
    assert again.board_ahead_s is None and not again.diagnoses


def test_a_board_of_years_to_come_is_ahead(tmp_path: Path) -> None:
    text = CONSOLE % (NOW + 30 * YEARS).timestamp() + FAILED % "x509.expired"
    assert codes(written(tmp_path, console=text)) == ["clock.board-ahead"]


def test_what_the_tap_saw_served_is_held_against_the_file(tmp_path: Path) -> None:
    """Renewed on disk, and not reloaded."""
    folder = Folder(tmp_path / "bench")
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), before=-9 * DAY, after=-DAY)
    events: list[str] = []
    with folder.run(), Tap(
        ("127.0.0.1", folder.port), on_event=lambda one: events.append(json.dumps(one.as_dict()))
    ) as tap:  # fmt: skip
        folder.port = tap.port
        folder.connect()
        assert tap.wait(lambda ones: ones and not ones[0].alive, 20)
        folder.wait_for("rror")
    folder.broker = make_leaf(folder.ca, "broker", (NAME,), key=folder.broker.key)
    folder.write("server.crt", folder.broker.chain_pem())
    folder.write("tap.jsonl", "\n".join(events))
    found = folder.examine()
    assert [one.code for one in found.diagnoses] == ["x509.broker-expired"], told(found)
    shown = found.diagnoses[0].evidence
    assert {one.source for one in shown} == {"broker", "wire"}
    assert any("sha256" in one.seen and "sha256" in one.wanted for one in shown)


def test_a_configuration_from_elsewhere_finds_its_files_beside_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "bench")
    expired(folder)
    moved = tmp_path / "copied"
    shutil.move(folder.path, moved)
    conf = (moved / "mosquitto.conf").read_text()
    (moved / "mosquitto.conf").write_text(conf.replace(str(folder.path), "/etc/mosquitto/certs"))
    found = examine([moved], NOW + timedelta(minutes=1))
    assert [one.code for one in found.diagnoses] == ["client-certificate.expired"], told(found)
    (moved / "server.key").unlink()
    found = examine([moved], NOW + timedelta(minutes=1))
    assert any("keyfile /etc/mosquitto/certs/server.key" in one for one in found.notes)
