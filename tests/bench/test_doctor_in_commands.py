"""Commands whose board does not connect end with the doctor's opinion of that very board.

On a bench made with the commands themselves. A suite's failing story is in
tests/host/test_hil_run.py, the demonstration in test_demo.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
WAIT_S = 45.0
BOARD = "virtual-esp32"


class Bench:
    """A provisioned board that connects, its broker and its time server."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.env = {**os.environ, "KEYFOB_HOME": str(root)}
        self.broker_port = ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keyfob_host", *words], env=self.env, cwd=self.home.root.parent,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def done(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make(self) -> None:
        self.done("ca", "init", "--no-passphrase")
        self.done("cert", "broker", "broker.keyfob.test", "--san", "IP:127.0.0.1")
        self.done("cert", "device", "sensor-01")
        self.done("broker", "up", "--port", "0")
        status = json.loads(self.done("--json", "broker", "status"))
        self.broker_port = str(status["port"])
        self.done("ntp", "up", "--port", "0")
        self.done("board", "up", BOARD)
        self.done("flash")
        self.done("sync")
        self.done("provision", "--identity", "sensor-01")
        self.wait_for('"ev":"publish"')

    def end(self) -> None:
        for words in (("board", "down", "--all"), ("ntp", "down"), ("broker", "down")):
            self.run(*words)

    @property
    def board(self) -> VirtualBoard:
        return VirtualBoard(self.home, BOARD)

    def wait_for(self, text: str) -> None:
        """Until the board has printed it since its last boot."""
        path, end = Path(self.board.info()["log"]), time.monotonic() + WAIT_S
        while text not in path.read_text(errors="replace").rpartition('"ev":"boot"')[2]:
            assert time.monotonic() < end, f"waited {WAIT_S} s in vain for {text}"
            time.sleep(0.05)

    def traces(self) -> tuple[Any, ...]:
        """What a look must leave as it is."""
        info = self.board.info()
        broker = json.loads(self.done("--json", "broker", "status"))
        flash = sha256(Path(info["flash"]).read_bytes()).hexdigest()
        return info["boots"], info["chip_pid"], info["state"], flash, broker.get("pid")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("commands") / "home")
    try:
        made.make()
        yield made
    finally:
        made.end()


def test_rotate_that_gets_no_answer_says_what_the_board_is_about(bench: Bench) -> None:
    bench.done("board", "power", "off")
    try:
        done = bench.run("--json", "rotate", "sensor-01", "--anchors", "--limit-s", "1")
    finally:
        bench.done("board", "power", "on")
    found = json.loads(done.stdout)["error"]
    assert (done.returncode, found["code"]) == (7, "rotate.timeout")
    assert found["diagnosis"]["code"] == "serial.no-answer"
    assert found["fix"] == f"keyfob board power on {BOARD}"


def test_monitor_that_runs_out_names_the_cause_and_the_fix(bench: Bench) -> None:
    bench.done("cert", "broker", "other.keyfob.test")
    bench.done("broker", "down")
    bench.done("broker", "up", "--name", "other.keyfob.test", "--port", bench.broker_port)
    try:
        bench.board.reset()
        bench.wait_for("x509.wrong-name")
        before = bench.traces()
        done = bench.run("monitor", "--until", "mqtt.up", "--for", "0.2")
        assert bench.traces() == before, "the look changed something"
    finally:
        bench.done("broker", "down")
        bench.done("broker", "up", "--name", "broker.keyfob.test", "--port", bench.broker_port)
    assert done.returncode == 5, "the command's own status"
    rows = done.stderr[done.stderr.index("error  ") :].splitlines()
    assert rows[0] == "error  monitor.no-event"
    assert any(row.startswith("doctor x509.name-not-in-san, certain: ") for row in rows)
    assert any("seen DNS:other.keyfob.test, wanted broker.keyfob.test" in row for row in rows)
    assert rows[-1].startswith("fix    keyfob cert check other.keyfob.test --host broker.keyfob")


def test_monitor_says_so_where_nothing_is_broken(bench: Bench) -> None:
    bench.board.reset()
    bench.wait_for('"ev":"publish"')
    done = bench.run("monitor", "--until", "never.comes", "--for", "0.2")
    assert done.returncode == 5
    assert "doctor nothing is broken: every rung from settings to traffic holds" in done.stderr
    assert done.stderr.endswith("or watch everything: keyfob monitor\n")


def test_json_of_monitor_is_a_document_a_line_and_the_last_has_the_diagnosis(bench: Bench) -> None:
    bench.done("broker", "down")
    try:
        bench.board.reset()
        bench.wait_for("tls.refused")
        done = bench.run("--json", "monitor", "--until", "mqtt.up", "--for", "0.2")
    finally:
        bench.done("broker", "up", "--name", "broker.keyfob.test", "--port", bench.broker_port)
    found = [json.loads(line) for line in done.stdout.splitlines()][-1]["error"]
    assert found["diagnosis"]["code"] == "tcp.listener-down"
    assert found["diagnosis"]["fix"] == found["fix"] == "keyfob broker log; keyfob broker up"
