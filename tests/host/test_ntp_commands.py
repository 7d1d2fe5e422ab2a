"""``keyfob ntp``: a detached time server, run by commands that each end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ntplib
import pytest

from keyfob_host import daemon, ntp_daemon
from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.ntp import Mode
from keyfob_host.ntp_daemon import ntp_down, ntp_status, ntp_up


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    ntp_down(made)


def keyfob(home: Home, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", "ntp", *arguments],
        capture_output=True, text=True, timeout=30,
        env={**os.environ, "KEYFOB_HOME": str(home.root)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, dict(json.loads(done.stdout))


def test_up_status_down_by_commands(home: Home) -> None:
    status, up = keyfob(home, "up", "--port", "0", "--offset-s", "3600")
    assert status == 0 and up["started"] and up["answer"]["stratum"] == 1
    got = ntplib.NTPClient().request("127.0.0.1", port=up["port"], version=4)
    assert got.offset == pytest.approx(3600, abs=0.1)
    assert keyfob(home, "up", "--port", "0", "--offset-s", "3600")[1]["started"] is False
    status, error = keyfob(home, "up", "--port", "0", "--mode", "silent")
    assert error["error"]["code"] == "ntp.already-up" and status == error["error"]["status"]
    assert keyfob(home, "status")[1]["pid"] == up["pid"]
    assert keyfob(home, "down") == (0, {"pid": up["pid"]})
    assert daemon.birth(up["pid"]) == ""
    assert keyfob(home, "down") == (0, {"pid": None})
    assert keyfob(home, "status")[1]["error"]["fix"] == "keyfob ntp up"


@pytest.mark.parametrize("mode", [Mode.SILENT, Mode.KISS_OF_DEATH, Mode.TRUNCATED])
def test_a_lying_server_comes_up_too(home: Home, mode: Mode) -> None:
    state, started = ntp_up(home, host="127.0.0.1", port=0, mode=mode)
    assert started and state["mode"] == mode.value
    assert (state["answer"] is None) == (mode is not Mode.KISS_OF_DEATH)


def test_a_taken_port_is_told_with_its_holder_and_leaves_nothing(home: Home) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(KeyfobHostError) as refused:
            ntp_up(home, host="127.0.0.1", port=holder.getsockname()[1])
    assert refused.value.code == "ntp.port-taken"
    assert f"pid {os.getpid()}" in refused.value.evidence
    assert not (home.ntp_dir / "ntp.json").exists()
    assert ntp_down(home) is None


def test_a_killed_server_is_not_up_and_is_started_anew(home: Home) -> None:
    first, _ = ntp_up(home, host="127.0.0.1", port=0)
    os.kill(first["pid"], signal.SIGKILL)
    while daemon.birth(first["pid"]):
        pass
    with pytest.raises(KeyfobHostError) as refused:
        ntp_status(home)
    assert refused.value.code == "ntp.down"
    second, started = ntp_up(home, host="127.0.0.1", port=0)
    assert started and second["pid"] != first["pid"]


def test_a_server_that_cannot_run_is_told_with_its_words(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ntp_daemon.sys, "executable", "/bin/false")
    with pytest.raises(KeyfobHostError) as refused:
        ntp_up(home, host="127.0.0.1", port=0)
    assert refused.value.code == "ntp.died"


def test_ctrl_c_during_a_start_leaves_nothing_running(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def interrupted(started: daemon.Detached, *_: object) -> int:
        pids.append(started.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(daemon, "wait_listening", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ntp_up(home, host="127.0.0.1", port=0)
    assert daemon.birth(pids[0]) == ""
    assert ntp_down(home) is None


def test_two_commands_at_once_wait_for_each_other(home: Home) -> None:
    folder = home.ensure().ntp_dir
    with (
        daemon.locked(folder),
        pytest.raises(KeyfobHostError) as refused,
        daemon.locked(folder, timeout_s=0.1),
    ):
        pass
    assert refused.value.code == "host.busy"
