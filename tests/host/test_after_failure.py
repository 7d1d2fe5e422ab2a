"""The doctor beside another command's error: it never makes it worse, and says what is known.

What it sees of boards that really fail is in tests/bench/test_doctor_in_commands.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from keyfob_host.boards import BoardRef, load_kind
from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor import after_failure, foreign_words
from keyfob_host.doctor.after_failure import (
    Opinion,
    diagnosed,
    diagnosing,
    opinion,
    sightings_of_device,
)
from keyfob_host.doctor.board_look import look_at_hand
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.foreign_words import with_meaning
from keyfob_host.doctor.ladder import Ladder
from keyfob_host.doctor.sightings import BoardSight, Sightings
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.mqtt_host import HostClient
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.template import Signer, build_end_entity
from keyfob_host.ui import Ui

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
REFUSED = {"t": 900, "ev": "error", "code": "tls.refused", "detail": "b.test: 111", "retry": "wait"}


def error() -> KeyfobHostError:
    return KeyfobHostError(
        "monitor.no-event", "it did not come", evidence="none", fix="wait longer",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def refused(**fields: str) -> Sightings:
    events = ({"t": 0, "ev": "boot", "version": "0.1.0"}, {**REFUSED, **fields})
    board = BoardSight(
        load_kind("virtual-esp32"), "board", lines=("kf", "kf"), events=events,
        booted_at=NOW - timedelta(seconds=1), state="running",
    )  # fmt: skip
    return Sightings(now=NOW, board=board, host="b.test", port=8883)


# -- what is added


def test_cause_evidence_and_fix_of_the_diagnosis_stand_in_the_error() -> None:
    told = diagnosed(error(), refused)
    (remark,) = told.remarks
    assert remark.lines[0].startswith("tcp.listener-down, likely: ")
    assert "code=tls.refused" in remark.lines[1]
    assert "tcp.wrong-port" in remark.lines[2]
    assert told.fix == remark.data["fix"] != "wait longer"


def test_what_a_broker_says_of_each_attempt_is_shown_once_with_the_last() -> None:
    said = [Evidence("broker", "verify failed", NOW + timedelta(seconds=n)) for n in range(2)]
    found = Diagnosis("tcp.listener-down", "certain", (*said, Evidence("host", "nothing there")))
    (_, *evidence) = Opinion(Ladder((), found)).lines()
    assert [line.split()[:2] for line in evidence[:2]] == [
        ["broker", "12:00:01Z"],
        ["host", "nothing"],
    ]


def test_code_cause_evidence_and_exit_status_stay_the_commands_own() -> None:
    told, before = diagnosed(error(), refused), error()
    assert (told.code, told.cause, told.evidence, told.status) == (
        before.code, before.cause, before.evidence, before.status,
    )  # fmt: skip


def test_json_has_the_whole_diagnosis_with_every_rung(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Ui(as_json=True).error(diagnosed(error(), refused))
    found = json.loads(capsys.readouterr().out)["error"]
    assert found["code"] == "monitor.no-event"
    assert found["diagnosis"]["code"] == "tcp.listener-down"
    assert found["diagnosis"]["rung"] == "tcp"
    assert len(found["diagnosis"]["rungs"]) == 14
    assert found["fix"] == found["diagnosis"]["fix"]


def test_text_has_the_diagnosis_between_what_was_seen_and_the_fix(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Ui().error(diagnosed(error(), refused))
    labels = [line[:7].strip() for line in capsys.readouterr().err.splitlines()]
    assert [one for one in labels if one] == ["error", "cause", "seen", "doctor", "fix"]


def test_a_board_that_is_seen_to_do_nothing_wrong_leaves_the_fix_as_it_was() -> None:
    seen = refused()
    told = diagnosed(
        error(), lambda: replace(seen, board=replace(seen.board, events=seen.board.events[:1]))
    )
    assert told.fix == "wait longer"
    assert told.remarks[0].lines[0].startswith("nothing is seen to be broken; not seen: ")
    assert told.remarks[0].data["code"] is None


def test_what_a_board_says_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Ui().error(diagnosed(error(), lambda: refused(detail="\x1b[2J\u202eowned\r")))
    assert all(one == "\n" or one.isprintable() for one in capsys.readouterr().err)


def test_only_errors_that_are_named_are_looked_into() -> None:
    def never() -> NoReturn:
        raise AssertionError("it was looked into")

    with pytest.raises(KeyfobHostError) as caught, diagnosing(("rotate.timeout",), never):
        raise error()
    assert caught.value.remarks == []
    with pytest.raises(KeyfobHostError) as caught, diagnosing(("monitor.no-event",), refused):
        raise error()
    assert caught.value.remarks[0].label == "doctor"


# -- what it must not do


@pytest.mark.parametrize(
    ("defect", "shown"),
    [
        (ZeroDivisionError("of the doctor"), "could not look: ZeroDivisionError: of the doctor"),
        (KeyfobHostError("a.code", "a cause", fix="a fix"), "could not look: a cause; a fix"),
    ],
)
def test_whatever_fails_in_the_doctor_is_one_line_beside_the_error(
    defect: Exception, shown: str
) -> None:
    def look() -> NoReturn:
        raise defect

    told = diagnosed(error(), look)
    assert told.remarks[0].lines == (shown,)
    assert told.remarks[0].data == {"code": None, "rungs": [], "note": shown}
    assert told.fix == "wait longer"


def test_a_look_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_failure, "LIMIT_S", 0.05)
    end = threading.Event()

    def look() -> Sightings:
        end.wait()
        return refused()

    try:
        assert diagnosed(error(), look).remarks[0].lines == ("was not done within 0.05 s",)
    finally:
        end.set()


def ctrl_c(end: threading.Event) -> Callable[[], Sightings]:
    """A look in which Ctrl-C is pressed, and that would go on until ``end``."""

    def look() -> Sightings:
        os.kill(os.getpid(), signal.SIGINT)
        end.wait()
        return refused()

    return look


def test_ctrl_c_ends_the_look_and_the_error_is_told_still() -> None:
    end = threading.Event()
    try:
        told = diagnosed(error(), ctrl_c(end))
    finally:
        end.set()
    assert told.remarks[0].lines == ("was interrupted while it looked",)
    assert (told.code, told.fix) == ("monitor.no-event", "wait longer")


def test_ctrl_c_in_a_look_beside_a_story_ends_the_run() -> None:
    end = threading.Event()
    try:
        with pytest.raises(KeyboardInterrupt):
            opinion(ctrl_c(end))
    finally:
        end.set()


def test_no_board_with_the_identity_is_said_with_what_looks_at_a_real_one(tmp_path: Path) -> None:
    told = diagnosed(error(), lambda: sightings_of_device(Home(tmp_path / "home"), "sensor-09"))
    (line,) = told.remarks[0].lines
    assert "no virtual board that is up has the identity sensor-09" in line
    assert "keyfob doctor --board KIND --port PORT" in line


def test_lines_that_were_heard_of_a_real_board_are_dated_and_not_read_again() -> None:
    ref = BoardRef(load_kind("esp32"), "/dev/no-such-port", "board")
    heard = ['kf {"t":0,"ev":"boot"}', "noise", "ets Jul 29", "kf " + json.dumps(REFUSED)]
    sight = look_at_hand(ref, heard, NOW)
    assert sight.lines == tuple(heard[2:]), "what came before the last reset counts no more"
    assert sight.booted_at == NOW - timedelta(milliseconds=900)
    assert sight.busy is None


# -- other programs' words


@pytest.fixture
def authority() -> Authority:
    return Authority.ephemeral("Bench CA")


@pytest.mark.mosquitto
@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_what_mosquitto_wrote_before_it_ended_is_told_in_words(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem())
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - OpenSSL must refuse it
    good = authority.issue_broker("broker.keyfob.test")
    cert = build_end_entity(
        weak.public_key(), good.cert.subject,
        good.cert.not_valid_before_utc, good.cert.not_valid_after_utc,
        signer=Signer(authority.cert, authority.key), usages=["serverAuth"], sans=[],
    )  # fmt: skip
    identity = Identity(cert=cert, key=weak, anchors=good.anchors).write(tmp_path / "weak")
    broker = MosquittoBroker(
        tmp_path / "run", identity_dir=identity, ca_pem_path=tmp_path / "ca.pem"
    )
    with pytest.raises(KeyfobHostError) as caught:
        broker.start()
    assert caught.value.code == "broker.died"
    told = with_meaning(caught.value)
    shown = "\n".join(told.remarks[0].lines)
    assert "too small" in shown, told.evidence


def test_what_openssl_says_of_a_plain_port_is_told_in_words(
    tmp_path: Path, authority: Authority
) -> None:
    identity = authority.issue_host().write(tmp_path / "host")
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem())
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        client = HostClient(
            "127.0.0.1", server.getsockname()[1], identity, tmp_path / "ca.pem", "b.test"
        )
        with pytest.raises(KeyfobHostError) as caught:
            client.connect()
        thread.join()
    assert caught.value.code == "broker.unreachable"
    (remark,) = with_meaning(caught.value).remarks
    assert remark.label == "means"
    assert "no TLS, as from a plain port" in remark.lines[0]


def test_an_alert_to_this_host_is_told_as_of_this_host_and_no_board() -> None:
    text = "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)"
    told = with_meaning(KeyfobHostError("broker.unreachable", "…", evidence=text, fix="…"))
    assert told.remarks[0].lines == (
        "alert 48, unknown_ca, sent by the broker: the broker does not know the CA of this "
        "host's certificate",
    )
    assert ssl.AlertDescription.ALERT_DESCRIPTION_UNKNOWN_CA == 48


def test_a_likely_cause_is_named_where_the_words_are_a_boards() -> None:
    text = "esptool: Failed to connect to ESP32: Invalid head of packet (0x65)"
    told = with_meaning(KeyfobHostError("flash.esptool-failed", "…", evidence=text, fix="a fix"))
    assert told.remarks[0].lines[-1].startswith("likely serial.not-in-download-mode: ")
    assert told.fix == "a fix"
    assert "causes" in told.as_dict()["explanation"]  # type: ignore[operator]


def test_words_that_nobody_knows_add_nothing_and_neither_does_a_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = KeyfobHostError("broker.unreachable", "…", evidence="timed out, perhaps", fix="…")
    assert with_meaning(made).remarks == []
    monkeypatch.setattr("keyfob_host.doctor.explain._findings", lambda _lines: 1 / 0)
    made = KeyfobHostError("broker.unreachable", "…", evidence="[Errno 111]", fix="…")
    assert with_meaning(made).remarks == []


def test_an_error_that_the_doctor_looked_into_is_not_explained_again() -> None:
    told = diagnosed(
        KeyfobHostError("console.no-event", "…", evidence="OSError: 104", fix="…"), refused
    )
    assert [one.label for one in with_meaning(told).remarks] == ["doctor"]


def test_every_error_said_to_carry_foreign_words_is_raised_somewhere() -> None:
    source = "".join(
        path.read_text()
        for path in Path(foreign_words.__file__).parents[1].rglob("*.py")
        if path.name != "foreign_words.py"
    )
    assert [code for code in foreign_words.CODES if f'"{code}"' not in source] == []
