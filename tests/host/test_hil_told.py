"""That ``keyfob hil run`` tells of every test: none fails, or is left out, without a word.

The tests here ask for nothing of the bench, so that none comes up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from keyfob_host.errors import ExitStatus

FAILS = "def test_two_is_one():\n    assert 2 == 1, 'it is not so'\n"
PASSES = "def test_one_is_one():\n    pass\n"
SKIPS = "import pytest\ndef test_later():\n    pytest.skip('not today')\n"
BROKEN = "import no_such_module_here\ndef test_never():\n    pass\n"
LEFT_OUT = "import pytest\npytest.skip('no antenna', allow_module_level=True)\n"
MARKED = """
import pytest

def test_fails_as_expected():
    pytest.xfail("the chip's erratum 3")

@pytest.mark.xfail(strict=True, reason="erratum 4")
def test_passes_unexpectedly():
    pass
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files of a user's own."""
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "bench"))
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def hil(suite: Path, *options: str, **files: str) -> tuple[int, dict[str, Any], str]:
    """Run ``files``; exit status, what ``--json`` says, and what a person sees."""
    for name, text in files.items():
        (suite / f"test_{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", "--json", "hil", "run", str(suite), *options],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), done.stderr


def verdicts(told: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {
        (one["board"], one["case"].partition("::")[2]): (one["verdict"], one["reason"])
        for one in told["results"]
    }


@pytest.mark.parametrize("options", [(), ("--boards", "2")], ids=["one board", "two boards"])
def test_test_that_asks_for_no_board_fails_the_run(suite: Path, options: tuple[str, ...]) -> None:
    status, told, shown = hil(suite, *options, a=FAILS, b=PASSES)
    assert status == ExitStatus.TESTS
    boards = ["virtual-esp32-1", "virtual-esp32-2"] if options else ["virtual-esp32"]
    assert verdicts(told) == {
        **{(board, "test_two_is_one"): ("fail", "it is not so") for board in boards},
        **{(board, "test_one_is_one"): ("pass", None) for board in boards},
    }
    assert "assert 2 == 1" in shown
    root = ET.parse(Path(told["report"]) / "junit.xml").getroot()  # noqa: S314 (our own)
    assert root.get("failures") == str(len(boards))
    assert root.get("tests") == str(2 * len(boards))


@pytest.mark.parametrize("options", [(), ("--boards", "2"), ("--list",)])
def test_file_that_cannot_be_loaded_is_an_error_and_not_ctrl_c(
    suite: Path, options: tuple[str, ...]
) -> None:
    status, told, shown = hil(suite, *options, a=PASSES, b=BROKEN)
    assert status == ExitStatus.USAGE
    assert told["error"]["code"] == "hil.bad-suite"
    assert "shelf/test_b.py: ModuleNotFoundError: No module" in told["error"]["evidence"]
    assert told["error"]["fix"] == f"keyfob hil run --list {suite}"
    assert "interrupted" not in shown
    assert not list(suite.parent.glob("bench/reports/hil/2*"))


def test_first_failure_ends_a_run_of_several_boards_as_a_failure(suite: Path) -> None:
    status, told, shown = hil(suite, "-x", "--boards", "2", a=FAILS, b=PASSES * 20)
    assert status == ExitStatus.TESTS
    assert told["fail"] >= 1
    assert "interrupted" not in shown
    report = json.loads((Path(told["report"]) / "report.json").read_text())
    assert report["run"]["status"] == "failed"


def test_run_of_which_all_is_skipped_is_no_success(suite: Path) -> None:
    status, told, shown = hil(suite, a=SKIPS)
    assert status == ExitStatus.TESTS
    assert told["skip"] == 1
    assert "nothing was tested: every case was skipped" in shown
    status, told, _ = hil(suite, b=PASSES)
    assert (status, told["skip"], told["pass"]) == (0, 1, 1)


def test_file_that_leaves_itself_out_is_named(suite: Path) -> None:
    status, told, shown = hil(suite, a=LEFT_OUT, b=PASSES)
    assert status == 0
    assert told["pass"] == 1
    assert "left out  shelf/test_a.py: no antenna" in shown


def test_case_that_is_expected_to_fail_says_why(suite: Path) -> None:
    status, told, _ = hil(suite, a=MARKED)
    assert status == ExitStatus.TESTS
    assert verdicts(told) == {
        ("virtual-esp32", "test_fails_as_expected"): (
            "skip",
            "expected to fail: the chip's erratum 3",
        ),
        ("virtual-esp32", "test_passes_unexpectedly"): ("fail", "[XPASS(strict)] erratum 4"),
    }


def test_case_of_which_nothing_came_is_an_error(suite: Path) -> None:
    # A plugin of the user's that runs a test itself, and reports nothing.
    (suite / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_protocol(item):\n"
        "    return True if 'one' in item.name else None\n"
    )
    status, told, _ = hil(suite, a=PASSES, b=PASSES.replace("one_is", "two_is"))
    assert status == ExitStatus.TESTS
    assert verdicts(told) == {
        ("virtual-esp32", "test_one_is_one"): ("error", "it was not run"),
        ("virtual-esp32", "test_two_is_one"): ("error", "it was not run"),
    }


def test_run_whose_reader_goes_away_is_run_to_its_end(suite: Path) -> None:
    (suite / "test_a.py").write_text(FAILS + PASSES)
    command = (
        f"{sys.executable} -m keyfob_host hil run {suite} | head -n 1; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "2 cases on virtual-esp32; the bench comes up first\n"
    assert (done.returncode, done.stderr) == (ExitStatus.TESTS, "")
    (report,) = suite.parent.glob("bench/reports/hil/2*/report.json")
    assert json.loads(report.read_text())["run"]["status"] == "failed"
