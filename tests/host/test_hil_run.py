"""``keyfob hil run`` and the plugin behind it, as programs; some on a virtual board."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus
from keyfob_host.hil.lock import board_lock
from keyfob_host.hil.run import list_cases

KEYFOB = [sys.executable, "-m", "keyfob_host"]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:labgrid"]

FAILING_STORY = """
from keyfob_host.errors import KeyfobHostError

def test_waits_for_what_never_comes(board, ntp):
    board.connected()
    board.wait_event("never.comes", 0.3, color="blue")

def test_broker_is_from_another_ca(board, broker, ca):
    broker.show(ca.foreign.issue_broker(broker.host))
    board.reset()
    board.wait_event("error")
    board.wait_event("mqtt.up", 0.1)

def test_next_story_gets_a_board_in_order(board):
    board.connected()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bench"
    monkeypatch.setenv("KEYFOB_HOME", str(folder))
    monkeypatch.delenv("KEYFOB_WIFI_PASSWORD", raising=False)
    return folder


def run(*arguments: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(arguments), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that have ``folder`` in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def report_of(home: Path) -> Path:
    """The folder of the newest report."""
    return max((home / "reports" / "hil").glob("2*"))


def texts_of(result: dict[str, Any]) -> dict[str, str]:
    return {one["title"]: one["text"] for one in result["evidence"]}


def wait_gone(folder: Path, timeout_s: float = 10) -> list[str]:
    end = time.monotonic() + timeout_s
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return processes_of(folder)


def wait_for_program(name: str, folder: Path, run: subprocess.Popen[str]) -> None:
    """Wait until ``run`` has started the program ``name`` for its bench in ``folder``."""
    end = time.monotonic() + 60
    while not any(name in line for line in processes_of(folder)):
        assert run.poll() is None, "the run ended"
        assert time.monotonic() < end, f"{name} never came up"
        time.sleep(0.02)


# -- without a board


def test_there_are_at_least_24_stories_and_none_asks_what_kind_the_board_is() -> None:
    listed = list_cases([data_path("hil")])
    assert len({(one.part, re.sub(r"\[.*", "", one.name)) for one in listed}) >= 24
    for path in data_path("hil").rglob("*.py"):
        assert "virtual" not in path.read_text().lower(), path.name


def test_plugin_loads_nothing_of_the_bench_into_other_runs(tmp_path: Path) -> None:
    test = tmp_path / "test_other.py"
    test.write_text(
        "import sys\n"
        "def test_other():\n"
        "    assert 'keyfob_host.hil.plugin' in sys.modules\n"
        "    loaded = [name for name in sys.modules if name.startswith('keyfob_host.')]\n"
        "    assert sorted(loaded) == ['keyfob_host.hil', 'keyfob_host.hil.device_fixtures', "
        "'keyfob_host.hil.plugin'], loaded\n"
        "    assert not {'cryptography', 'paho', 'serial', 'filelock'} & set(sys.modules)\n"
    )
    done = run(*PYTEST, "-q", str(test), "--rootdir", str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_list_shows_stories_as_sentences(home: Path) -> None:
    done = run(*KEYFOB, "hil", "run", "--list", "tls")
    assert done.returncode == 0
    assert "keyfob/tls          expired broker is refused" in done.stdout.splitlines()
    found = json.loads(run(*KEYFOB, "--json", "hil", "run", "--list", "-k", "expired").stdout)
    assert ("keyfob", "tls", "expired broker is refused") in {
        (one["suite"], one["part"], one["name"]) for one in found["cases"]
    }
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (["tsl"], "hil.unknown-suite", "keyfob hil run tls"),
        (["--list", "-k", "nosuchstory"], "hil.no-cases", "nosuchstory"),
        (["--list", "--rung", "tsl"], "hil.bad-suite", "did you mean tls"),
        (["--boards", "0"], "hil.no-boards", "--boards 8"),
        (["--boards", "1000"], "hil.too-many-boards", "1 to 100"),
        (["--boards", "3", "--name", "b"], "hil.boards-and-board", "--boards 3"),
        (["--board", "esp32", "--boards", "3"], "hil.boards-not-named", "keyfob bench scan"),
        (["--list", "-k", "(("], "hil.bad-suite", "-k"),
        (["--board", "esp99"], "board.unknown-kind", "esp32"),
        (["--board", "esp32"], "port.not-given", "port"),
        (["--board", "esp32", "--port", "/dev/null"], "hil.no-address", "--bench-address"),
    ],
)
def test_bad_command_lines_are_told_before_anything_starts(
    home: Path, arguments: list[str], code: str, shown: str
) -> None:
    done = run(*KEYFOB, "hil", "run", *arguments)
    assert done.returncode == ExitStatus.USAGE
    assert f"error  {code}" in done.stderr
    assert shown in done.stderr
    assert "Traceback" not in done.stderr
    assert "the bench comes up" not in done.stdout
    assert not home.exists()


def test_real_board_needs_to_be_told_its_network(home: Path) -> None:
    done = run(
        *KEYFOB, "hil", "run", "--board", "esp32", "--port", "/dev/null",
        "--bench-address", "192.0.2.1",
    )  # fmt: skip
    assert "error  hil.no-wifi" in done.stderr
    assert "KEYFOB_WIFI_PASSWORD" in done.stderr


def test_report_that_cannot_be_written_is_told_before_anything_starts(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = run(*KEYFOB, "hil", "run", "--junit", str(tmp_path / "file" / "report.xml"))
    assert done.returncode == ExitStatus.INPUT
    assert "error  file.not-a-file" in done.stderr
    assert "the bench comes up" not in done.stdout


def test_board_in_use_is_told_with_its_holder(home: Path) -> None:
    with board_lock(home / "hil" / "boards" / "virtual-esp32.lock", "virtual-esp32"):
        done = run(*KEYFOB, "hil", "run", "boot")
        plain = run(
            *PYTEST, str(data_path("hil") / "keyfob" / "test_boot.py"), f"--keyfob-home={home}"
        )
    assert done.returncode == plain.returncode == ExitStatus.HOST
    assert "error  board.in-use" in done.stderr
    assert f"pid {os.getpid()}: " in done.stderr
    assert f"pid {os.getpid()}: " in plain.stdout
    assert "passed" not in plain.stdout


# -- on a virtual board


@pytest.mark.mosquitto
def test_stories_run_and_a_failing_one_shows_its_evidence(home: Path, tmp_path: Path) -> None:
    story = tmp_path / "test_own.py"
    story.write_text(FAILING_STORY)
    junit = tmp_path / "report.xml"
    done = run(
        *KEYFOB, "hil", "run", "app", str(story), "--junit", str(junit),
        "-k", "readings_arrive or never_comes or another_ca or next_story or reaches_the_pixel",
    )  # fmt: skip
    assert done.returncode == ExitStatus.TESTS, done.stdout + done.stderr
    assert re.search(r"passed +[\d.]+ s  keyfob/app: readings arrive in order", done.stdout)
    assert re.search(r"FAILED +[\d.]+ s  .*/own: waits for what never comes: event", done.stdout)
    assert "3 passed, 2 failed in" in done.stdout
    wanted = "event never.comes color='blue' did not come within 0.3 s"
    for shown in (wanted, "board console", "broker log", "time servers", "mqtt.up", "1 requests"):
        assert shown in done.stdout, shown

    (suite,) = ET.parse(junit).getroot().iter("testsuite")  # noqa: S314 (our own file)
    counts = [suite.get(name) for name in ("name", "tests", "failures")]
    assert counts == ["virtual-esp32", "5", "2"]
    (failed, _) = [one for one in suite.iter("testcase") if one.find("failure") is not None]
    assert failed.find("failure").get("message") == wanted

    told = json.loads((report_of(home) / "report.json").read_text())
    results = {one["case"].partition("::test_")[2]: one for one in told["results"]}
    failed, diagnosed = results["waits_for_what_never_comes"], results["broker_is_from_another_ca"]
    texts = texts_of(failed)
    assert failed["reason"] == wanted
    assert '"ev":"mqtt.up"' in texts["board console"]
    assert "mqtt.up" in [event["ev"] for event in failed["events"]]
    # Only its end is shown, and how far back that reaches depends on how long things took.
    assert re.search(r"New client connected|CONNACK|PUBLISH", texts["broker log"])
    assert "mode ok" in texts["time servers"]
    assert "every rung from settings to traffic holds" in texts["doctor"]
    assert "BROKEN  x509                x509.wrong-anchor" in texts_of(diagnosed)["doctor"]
    assert "wanted CN=Keyfob HIL CA" in texts_of(diagnosed)["doctor"]
    assert "keyfob cert" not in texts_of(diagnosed)["doctor"], "a fix that is for another bench"
    assert diagnosed["diagnosis"]["code"] == "x509.wrong-anchor"
    (board,) = told["boards"]
    assert (board["kind"], board["chip"]) == ("virtual-esp32", "esp32")
    assert board["firmware"] and board["micropython"] and told["versions"]["mosquitto"]
    assert wait_gone(home) == []


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("number", "once_runs", "later_s"),
    [
        pytest.param(signal.SIGINT, "supervisor", 0.0, marks=pytest.mark.slow),
        (signal.SIGINT, "supervisor", 1.0),  # esptool is at work
        pytest.param(signal.SIGINT, "mosquitto", 1.0, marks=pytest.mark.slow),
        (signal.SIGTERM, "mosquitto", 1.0),
    ],
)
def test_interrupt_leaves_no_process(
    home: Path, number: signal.Signals, once_runs: str, later_s: float
) -> None:
    running = subprocess.Popen(
        [*KEYFOB, "hil", "run", "mqtt", "-k", "keep_alive"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for_program(once_runs, home, running)
    time.sleep(later_s)
    running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == ExitStatus.INTERRUPTED
    assert "Traceback" not in errors
    assert wait_gone(home) == []


@pytest.mark.mosquitto
def test_what_a_killed_run_left_is_ended_by_the_next(home: Path) -> None:
    first = subprocess.Popen(
        [*KEYFOB, "hil", "run", "mqtt", "-k", "keep_alive"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for_program("mosquitto", home, first)
    first.kill()
    first.wait()
    assert processes_of(home) != []
    done = run(*KEYFOB, "hil", "run", "boot", "-k", "says_which")
    assert done.returncode == 0, done.stdout + done.stderr
    assert wait_gone(home) == []
