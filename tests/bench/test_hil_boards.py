"""``keyfob hil run`` on several boards, and on one that is somebody's: what each is left with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.boards import open_board
from keyfob_host.errors import ExitStatus
from keyfob_host.hil.lock import board_lock
from keyfob_host.home import Home
from keyfob_host.transport import open_transport

pytestmark = pytest.mark.mosquitto

KEYFOB = [sys.executable, "-m", "keyfob_host"]
CASES = """
import os
from pathlib import Path
import pytest

SEEN = Path(__file__).parent

@pytest.mark.rung("mqtt")
def test_connects(board, case):
    case.criterion("The board connects.")
    board.connected()
    case.measure("sizes", [3, 1, 2], unit="bytes", note="of no kind")
    assert not board.ref.name.endswith("-2"), "the second board is broken"

def test_flaky(board, case):
    tried = SEEN / board.ref.name
    if not tried.exists():
        tried.touch()
        raise AssertionError("at first")
    case.warn("only at the second attempt")

@pytest.mark.chips("esp8266")
def test_of_another_chip(board):
    raise AssertionError("never run")

@pytest.mark.long
def test_long(board):
    raise AssertionError("never run")

def test_dies(board):
    if board.ref.name.endswith("-3") and not (SEEN / "died").exists():
        (SEEN / "died").touch()
        os._exit(9)

def test_afterwards(board):
    board.connected()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "bench"
    monkeypatch.setenv("KEYFOB_HOME", str(folder))
    yield folder
    run(*KEYFOB, "board", "down", "--all")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "own" / "test_cases.py"
    path.parent.mkdir()
    path.write_text(CASES)
    return path


def run(*arguments: str, timeout_s: float = 170) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(arguments), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def report(home: Path) -> dict[str, Any]:
    newest = max((home / "reports" / "hil").glob("2*/report.json"))
    told: dict[str, Any] = json.loads(newest.read_text())
    return told


def processes_of(folder: Path) -> list[str]:
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path))
    return [line.decode("utf-8", "replace") for line in lines if str(folder).encode() in line]


def readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def wait_gone(folder: Path, timeout_s: float = 15) -> list[str]:
    end = time.monotonic() + timeout_s
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return processes_of(folder)


def test_every_board_runs_every_case_and_a_broken_one_stops_no_other(
    home: Path, cases: Path
) -> None:
    done = run(*KEYFOB, "hil", "run", str(cases), "--boards", "3", "--reruns", "1")
    assert done.returncode == ExitStatus.TESTS, done.stdout + done.stderr
    told = report(home)
    names = [f"virtual-esp32-{number}" for number in (1, 2, 3)]
    assert sorted(one["name"] for one in told["boards"]) == names
    found = {
        (one["board"][-1], one["case"].partition("::test_")[2]): one for one in told["results"]
    }
    verdicts = {key: one["verdict"] for key, one in found.items()}
    expected = {"connects": "pass", "flaky": "warn", "of_another_chip": "skip", "dies": "pass",
                "afterwards": "pass"}  # fmt: skip
    assert verdicts == {
        (board, case): verdict for board in "123" for case, verdict in expected.items()
    } | {("2", "connects"): "fail", ("3", "dies"): "error"}
    # A flaky case has all of its attempts, and is counted wherever results are.
    assert [one["verdict"] for one in found["1", "flaky"]["attempts"]] == ["fail", "warn"]
    assert "3 flaky on 3 boards" in done.stdout
    assert "passed at attempt 2; before: at first" in done.stdout
    assert [one["verdict"] for one in found["2", "connects"]["attempts"]] == ["fail", "fail"]
    assert found["1", "of_another_chip"]["reason"] == (
        "the case is about esp8266, and this is esp32"
    )
    measured = {"name": "sizes", "unit": "bytes", "values": [3, 1, 2], "note": "of no kind"}
    assert found["1", "connects"]["measures"] == [measured]
    (case,) = [one for one in told["cases"] if one["name"] == "connects"]
    assert (case["suite"], case["part"]) == ("own", "cases")
    assert (case["rung"], case["criterion"]) == ("mqtt", "The board connects.")
    assert wait_gone(home) == []


def test_pytest_deals_cases_out_over_its_workers_boards(home: Path, cases: Path) -> None:
    done = run(
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "-v",
        f"--keyfob-home={home}", str(cases), "-k", "chip or afterwards",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = re.findall(r"\[(gw\d)\].* (PASSED|SKIPPED)", done.stdout)
    assert sorted(results) in (
        [("gw0", "PASSED"), ("gw1", "SKIPPED")],
        [("gw0", "SKIPPED"), ("gw1", "PASSED")],
    ), done.stdout
    assert wait_gone(home) == []


@pytest.mark.parametrize(
    ("number", "to_all"),
    [
        (signal.SIGINT, True),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),
    ],
    ids=["ctrl-c", "kill", "timeout"],
)
def test_interrupt_ends_every_board_and_leaves_a_report(
    home: Path, cases: Path, number: signal.Signals, to_all: bool
) -> None:
    with subprocess.Popen(
        [*KEYFOB, "hil", "run", str(cases), "mqtt", "--boards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        for line in running.stdout:
            if "own/cases: afterwards" in line:
                break
        # Ctrl-C reaches every process of the terminal, kill the one that is named.
        os.killpg(running.pid, number) if to_all else running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == ExitStatus.INTERRUPTED, errors
    assert "Traceback" not in errors
    assert report(home)["run"]["status"] == "interrupted"
    assert wait_gone(home) == []


def test_a_board_that_does_not_come_up_is_told_and_stops_no_other(home: Path, cases: Path) -> None:
    with board_lock(home / "hil" / "boards" / "virtual-esp32-2.lock", "virtual-esp32-2"):
        done = run(*KEYFOB, "hil", "run", str(cases), "--boards", "2", "-k", "afterwards")
    assert done.returncode == ExitStatus.TESTS
    told = report(home)
    verdicts = {one["board"]: (one["verdict"], one["reason"]) for one in told["results"]}
    assert verdicts["virtual-esp32-1"] == ("pass", None)
    verdict, reason = verdicts["virtual-esp32-2"]
    assert verdict == "error" and reason is not None and "board.in-use" in reason
    (error,) = [one["error"] for one in told["boards"] if one["error"]]
    assert "board.in-use" in error and f"pid {os.getpid()}" in done.stdout


def test_a_board_that_goes_away_is_an_error_of_every_case_behind(home: Path, cases: Path) -> None:
    cases.with_name("test_gone.py").write_text(
        "import os, signal\n"
        "def test_pulled(board):\n"
        "    board.connected()\n"
        "    os.kill(board.ref.virtual.info()['pid'], signal.SIGKILL)\n"
        "    assert False, 'nothing came of it'\n"
        "def test_next(board):\n"
        "    raise AssertionError('never run')\n"
        "def test_last(board):\n"
        "    raise AssertionError('never run')\n"
    )
    done = run(*KEYFOB, "hil", "run", str(cases.with_name("test_gone.py")))
    assert done.returncode == ExitStatus.TESTS, done.stdout + done.stderr
    reason = "hil.board-lost: the board virtual-esp32 went away while it was tested"
    told = [(one["verdict"], one["reason"]) for one in report(home)["results"]]
    assert told == [("error", reason)] * 3
    assert "[3/3] ERROR" in done.stdout and "[4/3]" not in done.stdout
    assert "fix   keyfob hil run --board virtual-esp32" in done.stdout
    assert wait_gone(home) == []


@pytest.mark.slow  # the console looks for its port for eight seconds
def test_nobody_waits_for_what_a_board_that_went_away_would_say(home: Path, cases: Path) -> None:
    cases.with_name("test_gone.py").write_text(
        "import os, signal\n"
        "def test_pulled(board):\n"
        "    board.connected()\n"
        "    os.kill(board.ref.virtual.info()['pid'], signal.SIGKILL)\n"
        "    board.wait_event('never.comes', timeout_s=3600)\n"
    )
    done = run(*KEYFOB, "hil", "run", str(cases.with_name("test_gone.py")))
    assert done.returncode == ExitStatus.TESTS, done.stdout + done.stderr
    (told,) = report(home)["results"]
    assert (told["verdict"], "hil.board-lost" in told["reason"]) == ("error", True)


def test_a_users_board_has_its_own_identity_and_settings_back(home: Path, cases: Path) -> None:
    for command in (
        ("ca", "init", "--no-passphrase"),
        ("cert", "device", "mine"),
        ("board", "up", "virtual-esp32", "--name", "mine"),
        ("flash", "--name", "mine"),
        ("sync", "--name", "mine"),
        ("provision", "--name", "mine", "--identity", "mine", "--broker", "b.test:8883"),
    ):
        done = run(*KEYFOB, *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    ref = open_board("virtual-esp32", name="mine", home=Home(home))

    def files() -> dict[str, bytes | None]:
        names = ("keyfob.json", "id/active", "id/a/manifest.json", "id/a/key.der", "clock")
        with open_transport(ref) as prompt:
            listed = prompt.eval("sorted(__import__('os').listdir('/'))")
            found = {name: prompt.hash(f"/{name}") for name in names}
        return {**found, "/": str(listed).encode()}

    before = files()
    assert before["id/a/key.der"] is not None
    # The board is at the bench already when its broker cannot come up.
    failed = run(*KEYFOB, "hil", "run", "boot", "--name", "mine", "--bench-address", "192.0.2.1")
    assert "hil.bad-address" in failed.stderr, failed.stdout + failed.stderr
    assert {**files(), "clock": None} == {**before, "clock": None}
    done = run(*KEYFOB, "hil", "run", str(cases), "boot", "--name", "mine", "-k", "after or erased")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the board's own identity, put aside on it, would be erased too" in str(report(home))
    after = files()
    # The clock's floor moves on by itself, as a day's work does.
    assert {**after, "clock": None} == {**before, "clock": None}
