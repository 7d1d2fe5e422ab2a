"""``keyfob broker``: a detached broker, run by commands that each end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from judges import needs_mosquitto
from keyfob_rig import KeyfobProcesses

from keyfob_host import daemon
from keyfob_host.errors import ExitStatus
from keyfob_host.mqtt_host import HostClient
from keyfob_host.pki.authority import Authority

pytestmark = needs_mosquitto


@pytest.fixture
def keyfob(tmp_path: Path) -> Iterator[KeyfobProcesses]:
    made = KeyfobProcesses(tmp_path / "home")
    yield made
    if (made.home / "broker").is_dir():
        made.run("broker", "down")


@pytest.fixture
def with_broker(keyfob: KeyfobProcesses) -> KeyfobProcesses:
    keyfob.json("ca", "init", "--no-passphrase")
    keyfob.json("cert", "broker", "broker.keyfob.test", "--san", "127.0.0.1")
    return keyfob


def test_up_status_log_down(with_broker: KeyfobProcesses) -> None:
    up = with_broker.json("broker", "up", "--port", "0")
    assert up["started"] and up["accepting"] and up["name"] == "broker.keyfob.test"
    again = with_broker.json("broker", "up", "--port", "0")
    assert (again["started"], again["pid"]) == (False, up["pid"])
    text = with_broker.run("broker", "up", "--port", "0").stdout
    assert text.startswith("broker already up: broker.keyfob.test on 127.0.0.1:")
    status = with_broker.json("broker", "status")
    assert status["port"] == up["port"] and status["days_left"] > 390
    client = HostClient(
        "127.0.0.1", up["port"], with_broker.home / "certs" / "device" / "keyfob-host",
        with_broker.home / "ca" / "ca.cert.pem", "broker.keyfob.test",
    )  # fmt: skip
    with client:
        client.subscribe("a")
        client.publish("a", "b")
        assert client.wait_message("a").payload == b"b"
    lines = with_broker.json("broker", "log", "--lines", "5")["lines"]
    assert len(lines) == 5
    assert with_broker.json("broker", "down") == {"pid": up["pid"]}
    assert daemon.birth(up["pid"]) == ""
    assert with_broker.run("broker", "down").stdout == "broker was not running\n"
    assert with_broker.json("broker", "log")["lines"]
    error = with_broker.error("broker", "status")
    assert (error["code"], error["fix"]) == ("broker.down", "keyfob broker up")


def test_two_ups_at_once_start_one_broker(with_broker: KeyfobProcesses) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "keyfob_host", "--json", "broker", "up", "--port", "0"],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "KEYFOB_HOME": str(with_broker.home)},
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [json.loads(racer.communicate(timeout=30)[0]) for racer in racers]
    assert sorted(one["started"] for one in said) == [False, True]
    assert said[0]["pid"] == said[1]["pid"]


def test_other_settings_than_the_running_ones_are_refused(with_broker: KeyfobProcesses) -> None:
    up = with_broker.json("broker", "up", "--port", "0")
    other = str(up["port"] - 1)
    error = with_broker.error("broker", "up", "--port", other)
    assert error["code"] == "broker.already-up"
    assert f":{up['port']}" in error["evidence"] and f":{other}" in error["evidence"]


def test_what_is_missing_is_told_with_the_command_that_makes_it(keyfob: KeyfobProcesses) -> None:
    assert keyfob.error("broker", "up")["fix"] == "keyfob ca init"
    keyfob.json("ca", "init", "--no-passphrase")
    error = keyfob.error("broker", "up")
    assert error["code"] == "cert.missing" and "keyfob cert broker" in error["fix"]
    error = keyfob.error("broker", "up", "--name", "b.test")
    assert (error["code"], error["fix"]) == ("cert.missing", "keyfob cert broker b.test")
    assert keyfob.error("broker", "log")["code"] == "broker.down"
    keyfob.json("cert", "broker", "a.test")
    keyfob.json("cert", "broker", "b.test")
    error = keyfob.error("broker", "up")
    assert (error["code"], error["evidence"]) == ("broker.which", "a.test, b.test")


def test_san_issues_a_missing_certificate_and_is_held_against_an_existing_one(
    keyfob: KeyfobProcesses,
) -> None:
    keyfob.json("ca", "init", "--no-passphrase")
    up = keyfob.json("broker", "up", "--name", "b.test", "--san", "127.0.0.1", "--port", "0")
    assert up["sans"] == ["DNS:b.test", "IP:127.0.0.1"]
    keyfob.run("broker", "down")
    error = keyfob.error("broker", "up", "--san", "c.test", "--port", "0")
    assert error["code"] == "cert.san-missing"
    assert error["fix"] == (
        "keyfob cert broker b.test --san DNS:b.test --san IP:127.0.0.1 --san DNS:c.test --force"
    )
    assert keyfob.run(*error["fix"].split()[1:]).returncode == 0
    assert keyfob.json("broker", "up", "--san", "c.test", "--port", "0")["started"]


def test_after_a_new_ca_the_old_certificate_is_told_and_the_host_identity_follows(
    with_broker: KeyfobProcesses,
) -> None:
    with_broker.json("ca", "init", "--no-passphrase", "--force")
    error = with_broker.error("broker", "up", "--port", "0")
    assert error["code"] == "cert.other-ca"
    assert with_broker.run(*error["fix"].split()[1:]).returncode == 0
    assert with_broker.json("broker", "up", "--port", "0")["accepting"]


def test_a_lost_host_identity_is_made_again(with_broker: KeyfobProcesses) -> None:
    shutil.rmtree(with_broker.home / "certs" / "device" / "keyfob-host")
    assert with_broker.json("broker", "up", "--port", "0")["accepting"]


def test_a_taken_port_is_told_with_its_holder(with_broker: KeyfobProcesses) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        error = with_broker.error("broker", "up", "--port", str(port))
    assert error["code"] == "broker.port-taken"
    assert error["status"] == ExitStatus.HOST
    assert f"pid {os.getpid()}" in error["evidence"]
    assert with_broker.error("broker", "status")["code"] == "broker.down"


def test_a_missing_mosquitto_is_told(with_broker: KeyfobProcesses) -> None:
    error = with_broker.error("broker", "up", KEYFOB_MOSQUITTO="no-such-program")
    assert error["code"] == "broker.mosquitto-missing"
    assert "mosquitto" in error["fix"]


def test_an_expired_certificate_is_told_before_a_start(keyfob: KeyfobProcesses) -> None:
    authority = Authority.create(keyfob.home / "ca")
    now = datetime.now(timezone.utc)
    for name, start, end, eku, code in (
        ("old.test", -9, -1, None, "cert.expired"),
        ("new.test", 1, 9, None, "cert.not-yet-valid"),
        ("client.test", -1, 9, ["clientAuth"], "cert.wrong-usage"),
    ):
        authority.issue_broker(
            name, eku=eku,
            not_before=now + timedelta(days=start), not_after=now + timedelta(days=end),
        ).write(keyfob.home / "certs" / "broker" / name)  # fmt: skip
        error = keyfob.error("broker", "up", "--name", name, "--port", "0")
        assert error["code"] == code
        assert error["fix"] == f"keyfob cert broker {name} --san DNS:{name} --force"
