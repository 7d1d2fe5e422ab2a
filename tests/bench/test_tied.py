"""What a test starts does not outlive it, even if the test is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tied import tied

from keyfob_host.daemon import birth
from keyfob_host.home import Home
from keyfob_host.ntp_daemon import ntp_status

HERE = Path(__file__).resolve().parent
TWO = ["sh", "-c", "sleep 600 & echo $$ $!; wait"]
HOLDER = f"""
import subprocess, sys, time
sys.path.insert(0, {str(HERE)!r})
from tied import tied
with tied({TWO!r}):
    time.sleep(600)
"""


def wait_for_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(birth(pid) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)


def test_what_was_started_ends_with_the_one_that_was_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        pids = [int(word) for word in holder.stdout.readline().split()]
        assert len(pids) == 2 and all(birth(pid) for pid in pids)
        holder.kill()
    wait_for_end(pids)


def test_command_that_ends_tells_its_status_and_leaves_nothing() -> None:
    with tied(["sh", "-c", "sleep 600 & echo $!; exit 5"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        left = int(process.stdout.readline())
        assert process.wait(10) == 5
        wait_for_end([left])


def test_time_server_of_a_bench_is_ended_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    up = f'"{sys.executable}" -m keyfob_host ntp up --port 0 > /dev/null; echo up; sleep 600'
    with tied(
        ["--bench", str(tmp_path / "h*"), "sh", "-c", up],
        stdout=subprocess.PIPE, env={**os.environ, "KEYFOB_HOME": str(home.root)},
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == "up\n"
        server = ntp_status(home)["pid"]
    assert not birth(server)
    assert not (home.ntp_dir / "ntp.json").exists()
