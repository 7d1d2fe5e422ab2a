"""Which boards a run has, which of them a worker, and what a case needs of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.hil.lineup import Asked, line_up
from keyfob_host.home import Home

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:labgrid", "-q"]
CASES = """
import pytest
def test_anything(board): raise AssertionError("never run")
@pytest.mark.long
@pytest.mark.rung("tls")
def test_of_tls_that_takes_long(board): raise AssertionError("never run")
"""
# Markers of the same names in a project that has keyfob installed and other uses for them.
FOREIGN = """
import pytest
@pytest.mark.long
def test_of_somebody_else(): pass
@pytest.mark.rung("of a ladder in a garden")
@pytest.mark.needs("time")
def test_of_somebody_elses_too(): pass
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("KEYFOB_WIFI_PASSWORD", raising=False)
    return Home(tmp_path / "bench")


def plain(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTEST, *(str(one) for one in arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def refused(asked: Asked) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as error:
        line_up(asked)
    return error.value


def test_numbered_boards_have_names_of_their_own_and_belong_to_the_suites(home: Home) -> None:
    boards = line_up(Asked("virtual-esp8266", boards="3", home=home))
    assert [one.name for one in boards] == [f"virtual-esp8266-{number}" for number in (1, 2, 3)]
    assert all(one.is_own and one.home.root == home.root / "hil" for one in boards)
    assert {one.chip for one in boards} == {"esp8266"}


@pytest.mark.parametrize(
    ("boards", "code"), [("0", "hil.no-boards"), ("101", "hil.too-many-boards")]
)
def test_a_run_has_a_bounded_number_of_boards(home: Home, boards: str, code: str) -> None:
    assert refused(Asked("virtual-esp32", boards=boards, home=home)).code == code


def test_real_boards_are_named_and_not_numbered(home: Home) -> None:
    error = refused(Asked("esp32", boards="3", home=home))
    assert error.code == "hil.boards-not-named" and "bench scan" in error.fix


def test_boards_of_the_bench_file_have_its_network_unless_another_is_given(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_WIFI_PASSWORD", "secret")
    home.ensure()
    (home.root / "bench.toml").write_text(
        '[bench]\naddress = "192.0.2.10"\n[wifi]\nssid = "workshop"\n'
        '[board.desk]\nkind = "esp32"\nurl = "/dev/ttyUSB7"\n'
        '[board.desk.power]\ndriver = "command"\noff = ["true"]\non = ["true"]\n'
        '[board.shelf]\nkind = "virtual-esp32"\nvirtual = true\n'
    )
    desk, shelf = line_up(Asked("virtual-esp32", boards="desk,shelf", home=home))
    assert (desk.kind, desk.address, desk.wifi_ssid) == ("esp32", "192.0.2.10", "workshop")
    assert "power" in desk.capabilities() and "wifi" not in desk.capabilities()
    assert shelf.is_own and shelf.is_virtual and "wifi" in shelf.capabilities()
    assert [one.name for one in line_up(Asked("esp32", boards="all", home=home))] == [
        "desk", "shelf",
    ]  # fmt: skip
    (desk,) = line_up(Asked("esp32", boards="desk", home=home, address="192.0.2.11"))
    assert desk.address == "192.0.2.11"


def test_several_boards_are_not_tested_by_one_process(home: Home, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(CASES)
    done = plain(tmp_path, f"--keyfob-home={home.root}", "--keyfob-boards=2", "-p", "no:xdist")
    assert done.returncode == 2
    assert "hil.one-process" in done.stdout and "virtual-esp32-2" in done.stdout


def test_a_worker_without_a_board_is_told(home: Home, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(CASES)
    done = plain(
        tmp_path, f"--keyfob-home={home.root}", "--keyfob-boards=1", "-n2", "--dist=each",
        "-k", "never or anything", "--keyfob-port=/dev/null",
    )  # fmt: skip
    assert "hil.boards-and-board" in done.stdout
    done = plain(tmp_path, f"--keyfob-home={home.root}", "--keyfob-name=b", "-n2", "--dist=each")
    assert "hil.no-board-left" in done.stdout


def test_cases_are_chosen_by_rung_and_by_how_long_they_take(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(CASES)
    listing = ("--collect-only", tmp_path)
    assert "anything" in plain(*listing).stdout and "takes_long" not in plain(*listing).stdout
    found = plain(*listing, "--keyfob-long", "--keyfob-rungs=tls,mqtt").stdout
    assert "takes_long" in found and "anything" not in found
    done = plain(*listing, "--keyfob-rungs=tsl")
    assert done.returncode == 4
    assert "no rung 'tsl'; did you mean tls?" in done.stderr + done.stdout


def test_markers_of_other_projects_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text(FOREIGN)
    done = plain(tmp_path, "--keyfob-rungs=tls")
    assert done.returncode == 0 and "2 passed" in done.stdout


def test_a_case_that_needs_what_nobody_knows_is_a_mistake(home: Home, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import pytest\n@pytest.mark.needs('pwoer')\ndef test_of(board): pass\n"
    )
    done = plain(tmp_path, f"--keyfob-home={home.root}")
    assert done.returncode == 1
    assert "'pwoer'" in done.stdout and "power-at-write" in done.stdout
