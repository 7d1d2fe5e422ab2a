"""``keyfob board``: what a person types, and what a script gets with ``--json``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from virtual_rig import wait_until

from keyfob_host.home import Home
from keyfob_host.virtual import running


@pytest.fixture(autouse=True)
def home(bench_home: Home) -> Home:
    return bench_home


def keyfob(*arguments: str, status: int = 0, **environment: str) -> Any:
    """The JSON answer of ``keyfob --json board …``."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("keyfob")), "--json", "board", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_up_info_list_and_down(home: Home) -> None:
    up = keyfob("up", "virtual-esp32", "--name", "a")
    assert up["started"]
    assert up["state"] == "bad-image"  # a new board is erased
    again = keyfob("up", "virtual-esp32", "--name", "a")
    assert not again["started"]
    assert again["pid"] == up["pid"]
    assert keyfob("info", "a")["socket_url"] == up["socket_url"]
    keyfob("up", "virtual-esp32", "--name", "b", "--off")
    states = {board["name"]: board["state"] for board in keyfob("list")["boards"]}
    assert states == {"a": "bad-image", "b": "off"}
    assert keyfob("down", "a")["down"] == ["a"]
    states = {board["name"]: board["state"] for board in keyfob("list")["boards"]}
    assert states == {"a": "down", "b": "off"}
    assert keyfob("down", "--all")["down"] == ["b"]
    assert running(home) == []
    assert not list(home.runtime_dir.glob("*.sock"))


def test_two_commands_at_once_start_one_board(home: Home) -> None:
    program = [str(Path(sys.executable).with_name("keyfob")), "--json", "board", "up"]
    runs = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0] * 4
    assert len({answer["pid"] for answer in answers}) == 1
    assert sum(answer["started"] for answer in answers) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("info", "nobody"), "board.not-up", 5),
        (("down", "nobody"), "board.unknown", 5),
        (("up", "esp32"), "board.not-virtual", 2),
        (("up", "virtual-esp23"), "board.unknown-kind", 2),
        (("up", "virtual-esp32", "--name", "../x"), "board.bad-name", 2),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], code: str, status: int) -> None:
    error = keyfob(*arguments, status=status)["error"]
    assert error["code"] == code
    assert error["fix"]


def test_missing_micropython_is_named() -> None:
    error = keyfob("up", status=4, KEYFOB_MICROPYTHON="/no/such/micropython")["error"]
    assert error["code"] == "host.no-micropython"
    assert "KEYFOB_MICROPYTHON=/no/such/micropython" in error["evidence"]


def test_fresh_erases_but_not_under_a_running_board(home: Home) -> None:
    up = keyfob("up")
    Path(up["flash"]).write_bytes(b"\x00" * Path(up["flash"]).stat().st_size)
    assert keyfob("up", "--fresh", status=5)["error"]["code"] == "board.already-up"
    keyfob("down")
    keyfob("up", "--fresh")
    assert set(Path(up["flash"]).read_bytes()) == {0xFF}


def test_flash_image_of_a_wrong_size_is_refused() -> None:
    flash = Path(keyfob("up")["flash"])
    keyfob("down")
    flash.write_bytes(b"\xff" * 1000)
    error = keyfob("up", status=3)["error"]
    assert error["code"] == "board.bad-flash"
    assert "1000 bytes, wanted 4194304" in error["evidence"]


def test_faults_and_parts_are_commands() -> None:
    keyfob("up")
    assert not keyfob("fault", "wifi-down")["wifi"]["access_point"]
    assert keyfob("fault", "wifi-up")["wifi"]["access_point"]
    assert "cut" in keyfob("fault", "link-cut", "--at-byte", "7")["fault"]
    assert "stall" in keyfob("fault", "link-stall")["fault"]
    assert "delay_s=0.05" in keyfob("fault", "link-delay", "50")["fault"]
    assert "bytes_per_s=100" in keyfob("fault", "link-throttle", "100")["fault"]
    assert "half-close" in keyfob("fault", "link-half-close")["fault"]
    assert keyfob("fault", "link-clear")["fault"] is None
    keyfob("fault", "link-cut")
    keyfob("fault", "clock", "1800000000")
    keyfob("fault", "power-cut", "3")
    keyfob("fault", "serial-slow", "115200")
    assert keyfob("sensor", "--temperature-c", "-4.5")["dht"] == [-4.5, 50.0]
    assert keyfob("sensor", "--unplugged")["dht"] is None
    assert keyfob("sensor")["dht"] is None
    assert keyfob("pixel")["colors"] == []
    assert keyfob("pin", "7", "--level", "1")["level"] == 1
    assert keyfob("download")["state"] == "download"
    assert keyfob("reset")["state"] == "bad-image"
    assert keyfob("power", "off")["state"] == "off"
    assert keyfob("power", "on")["state"] == "bad-image"


def test_board_ends_on_sigterm_and_leaves_nothing(home: Home) -> None:
    up = keyfob("up")
    os.kill(up["pid"], 15)
    wait_until(lambda: not running(home) and not list(home.runtime_dir.glob("*.sock")))
    wait_until(lambda: not Path(up["pty"]).is_symlink())
    assert keyfob("info", "virtual-esp32", status=5)["error"]["code"] == "board.not-up"


def test_control_socket_is_private(home: Home) -> None:
    keyfob("up")
    (path,) = home.runtime_dir.glob("board-*.sock")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
