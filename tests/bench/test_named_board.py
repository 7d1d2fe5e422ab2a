"""A board of ``bench.toml`` in place of kind and port: a virtual one behind a port as a real one.

Its power is cut by the driver ``command``. For Keyfob it is a board on another machine's
port: nothing but that URL leads to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

KEYFOB = [sys.executable, "-m", "keyfob_host"]


def keyfob(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [*KEYFOB, "--json", *arguments], capture_output=True, text=True, check=False, timeout=100
    )
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def behind(make_board: Callable[..., VirtualBoard], bench_home: Home) -> VirtualBoard:
    """The board behind the port of ``kitchen``."""
    board = make_board("behind")
    power = [*KEYFOB, "board", "power"]
    (bench_home.root / "bench.toml").write_text(
        f'[board.kitchen]\nkind = "esp32"\nurl = "{board.info()["rfc2217_url"]}"\n'
        'firmware = "images/none.bin"\n'
        '[board.kitchen.power]\ndriver = "command"\n'
        f"off = {json.dumps([*power, 'off', 'behind'])}\n"
        f"on = {json.dumps([*power, 'on', 'behind'])}\n"
    )
    return board


def test_files_and_power_of_a_board_that_is_only_named(behind: VirtualBoard):
    report = keyfob("sync", "--board", "kitchen", "--no-reset")
    assert "error" not in report, report
    assert Path(behind.info()["flash"]).read_bytes().count(b"keyfob.json") > 0
    keyfob("bench", "power", "off", "kitchen")
    assert behind.info()["state"] == "off"
    keyfob("bench", "power", "on", "kitchen")
    assert behind.info()["state"] == "running"
    (listed, seen) = keyfob("bench", "list")["boards"]
    assert (listed["name"], listed["port"]) == ("kitchen", behind.info()["rfc2217_url"])
    assert (seen["name"], seen["is_named"]) == ("behind", False)


def test_the_image_to_flash_is_the_one_of_the_bench_file(behind: VirtualBoard, bench_home: Home):
    error = keyfob("flash", "--board", "kitchen")["error"]
    assert error["code"] == "file.missing"
    assert str(bench_home.root / "images" / "none.bin") in error["evidence"]
