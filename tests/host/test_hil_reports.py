"""``keyfob hil reports``: which there are, and the older ones removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hil_report_rig import all_passed, report
from keyfob_rig import Keyfob

from keyfob_host.hil.report.writing import write_report

IDS = ["20261120T101010Z", "20261120T101011Z", "20261120T101012Z", "20261120T101012Z-2"]


@pytest.fixture
def folder(keyfob: Keyfob) -> Path:
    place = keyfob.home / "reports" / "hil"
    for name in IDS:
        write_report(place / name, all_passed(report(1, name)))
    return place


def test_runs_are_listed_the_latest_first(keyfob: Keyfob, folder: Path) -> None:
    cut = all_passed(report(1, IDS[0]))
    write_report(folder / IDS[0], replace(cut, run=replace(cut.run, status="interrupted")))
    (folder / IDS[1] / "report.json").write_text("half of")
    told = keyfob.json("hil", "reports")
    assert [one["id"] for one in told["reports"]] == IDS[::-1]
    assert [one["status"] for one in told["reports"]] == ["passed", "passed", None, "interrupted"]
    lines = keyfob.run("hil", "reports")[1].splitlines()
    assert lines[0].startswith(f"{IDS[3]}  keyfob on virtual-esp32: 13 pass")
    assert lines[3].endswith("; interrupted")


def test_all_but_the_last_are_removed(keyfob: Keyfob, folder: Path) -> None:
    told = keyfob.json("hil", "reports", "--keep", "2")
    assert told["removed"] == [IDS[1], IDS[0]]
    assert sorted(one.name for one in folder.iterdir()) == IDS[2:]
    assert keyfob.json("hil", "reports", "--keep", "2")["removed"] == []


def test_what_is_no_report_of_a_run_stays(keyfob: Keyfob, folder: Path) -> None:
    (folder / IDS[0] / "notes.txt").write_text("mine")
    (folder / "other").mkdir()
    told = keyfob.json("hil", "reports", "--keep", "1")
    assert told["removed"] == [IDS[2], IDS[1]]
    assert (folder / IDS[0] / "notes.txt").exists() and (folder / "other").exists()


def test_without_a_report_the_next_command_is_told(keyfob: Keyfob) -> None:
    assert "keyfob hil run smoke" in keyfob.run("hil", "reports", "--keep", "3")[1]
    assert not keyfob.home.exists()
