"""Two runs compared, and the command that does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hil_report_rig import all_passed, report, with_result
from keyfob_rig import Keyfob

from keyfob_host.errors import ExitStatus
from keyfob_host.hil.report.compare import Comparison, compare
from keyfob_host.hil.report.data import Attempt, Report
from keyfob_host.hil.report.reading import read_report
from keyfob_host.hil.report.writing import write_report

FINE = all_passed(report(2, "20261120T101010Z"))
LATER = all_passed(report(2))


def changed(comparison: Comparison) -> list[tuple[str, str, str]]:
    return [(one.change, one.board, one.case.partition("/")[2]) for one in comparison.differences]


def without(made: Report, *ats: int) -> Report:
    kept = tuple(one for at, one in enumerate(made.results) if at not in ats)
    return replace(made, results=kept)


def test_a_run_and_itself_do_not_differ() -> None:
    found = compare(report(), report())
    assert changed(found) == [] and not found.is_worse and found.versions == ()


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ("pass", "fail", "failing"), ("warn", "error", "failing"), ("skip", "fail", "failing"),
        ("fail", "pass", "mended"), ("error", "warn", "mended"), ("warn", "pass", "mended"),
        ("pass", "warn", "warned"), ("pass", "skip", "skipped"), ("fail", "skip", "skipped"),
        ("skip", "pass", "new"), ("fail", "error", None), ("skip", "skip", None),
    ],
)  # fmt: skip
def test_each_change_of_a_verdict_has_its_name(was: str, now: str, change: str | None) -> None:
    before, after = with_result(FINE, 4, verdict=was), with_result(LATER, 4, verdict=now)
    found = compare(before, after)
    expected = [(change, "board-1", "tls::test_expired_certificate_is_refused")] if change else []
    assert changed(found) == expected
    assert found.is_worse == (change == "failing")


def test_what_takes_another_attempt_now_is_flaky_and_not_worse() -> None:
    tries = (Attempt("fail", "no answer", 3.0), Attempt("pass", None, 0.4))
    flaky = with_result(LATER, 4, attempts=tries)
    found = compare(FINE, flaky)
    assert changed(found) == [("flaky", "board-1", "tls::test_expired_certificate_is_refused")]
    assert not found.is_worse
    assert changed(compare(flaky, flaky)) == []
    assert changed(compare(with_result(FINE, 4, verdict="fail"), flaky))[0][0] == "mended"


@pytest.mark.parametrize(
    ("was", "now", "is_slower"),
    [(1.5, 3.1, True), (1.5, 2.9, False), (0.1, 1.9, False), (10, 21, True), (21, 10, False)],
)
def test_slower_is_more_than_twice_as_long_and_more_than_two_seconds(
    was: float, now: float, is_slower: bool
) -> None:
    found = compare(with_result(FINE, 4, seconds=was), with_result(LATER, 4, seconds=now))
    assert bool(found.of("slower")) == is_slower and not found.is_worse


def test_a_case_that_is_new_or_missing_is_told_and_is_not_worse() -> None:
    found = compare(without(FINE, 2), without(LATER, 9))
    assert changed(found) == [
        ("new", "board-1", "boot::test_no_file_is_left_behind"),
        ("missing", "board-1", "mqtt::test_retained_message_arrives"),
    ]
    assert not found.is_worse


def test_a_new_case_that_fails_is_worse() -> None:
    found = compare(without(FINE, 2), with_result(LATER, 2, verdict="fail"))
    assert found.is_worse and found.counts()["failing"] == 1


def test_what_was_not_asked_for_is_not_missing() -> None:
    command = replace(LATER.run, command="keyfob hil run boot")
    boot = tuple(one for one in LATER.cases if one.part == "boot")
    kept = tuple(one for one in LATER.results if "/boot::" in one.case)
    assert changed(compare(FINE, replace(LATER, run=command, cases=boot, results=kept))) == []
    # By the same command it is.
    same = replace(LATER, cases=boot, results=kept)
    assert {one[0] for one in changed(compare(FINE, same))} == {"missing"}


def test_boards_are_matched_by_name_and_then_by_kind() -> None:
    names = {"board-1": "kitchen", "board-2": "board-2"}
    renamed = replace(
        LATER,
        boards=tuple(replace(one, name=names[one.name]) for one in LATER.boards),
        results=tuple(replace(one, board=names[one.board]) for one in LATER.results),
    )
    found = compare(with_result(FINE, 0, verdict="fail"), renamed)
    assert changed(found) == [("mended", "kitchen", "boot::test_board_says_that_it_boots")]
    assert found.pairs == {"kitchen": "board-1", "board-2": "board-2"}


def test_a_new_board_is_told_as_a_board() -> None:
    found = compare(all_passed(report(1, "20261120T101010Z")), LATER)
    assert changed(found) == [] and found.boards == (["board-2"], [])
    assert compare(LATER, all_passed(report(1))).boards == ([], ["board-2"])


def test_cases_that_were_dealt_out_are_matched_whatever_board_had_them() -> None:
    count = len(FINE.cases)
    before = replace(FINE, results=FINE.results[:6] + FINE.results[count + 6 :])
    after = replace(LATER, results=LATER.results[6:count] + LATER.results[count : count + 6])
    assert changed(compare(before, after)) == []
    worse = with_result(after, 0, verdict="fail")
    assert [one[0] for one in changed(compare(before, worse))] == ["failing"]


def test_a_board_that_could_not_be_tested_is_worse() -> None:
    lost = replace(LATER.boards[1], error="the board does not answer")
    half = replace(LATER, boards=(LATER.boards[0], lost), results=LATER.results[: len(FINE.cases)])
    found = compare(FINE, half)
    assert found.is_worse and [one.name for one in found.lost] == ["board-2"]
    assert not compare(half, half).is_worse


def test_versions_that_changed_are_told_the_boards_too() -> None:
    after = replace(
        LATER, versions={**LATER.versions, "mosquitto": "2.0.18", "labgrid": "24.0"},
        boards=tuple(replace(one, micropython="1.29.0") for one in LATER.boards),
    )  # fmt: skip
    told = [(one.name, one.before, one.after) for one in compare(FINE, after).versions]
    assert told == [
        ("mosquitto", "2.0.11", "2.0.18"), ("labgrid", None, "24.0"),
        ("board-1: micropython", "1.28.0", "1.29.0"), ("board-2: micropython", "1.28.0", "1.29.0"),
    ]  # fmt: skip


# -- the command


@pytest.fixture
def keyfob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Keyfob:
    home = tmp_path / "home"
    monkeypatch.setenv("KEYFOB_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return Keyfob(home, capsys)


def keep(keyfob: Keyfob, *reports: Report) -> None:
    for one in reports:
        write_report(keyfob.home / "reports" / "hil" / one.run.id, one)


def test_without_words_the_last_two_runs_are_compared(keyfob: Keyfob) -> None:
    keep(keyfob, FINE, with_result(LATER, 4, verdict="fail", reason="the board took it"))
    status, out, _ = keyfob.run("hil", "compare")
    assert status == ExitStatus.TESTS
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith("from  20261120T101010Z  keyfob on 2 boards: 26 pass")
    at = lines.index("newly failing")
    assert lines[at + 1].startswith("pass -> fail    keyfob/tls: expired certificate is refused")
    assert lines[at + 1].endswith("(board-1)") and lines[at + 2] == "the board took it"
    assert lines[-1] == "worse than before"


def test_attempts_and_an_interrupted_run_are_told(keyfob: Keyfob) -> None:
    failed = (Attempt("fail", "no answer", 3.0), Attempt("fail", "no answer", 3.0))
    after = with_result(LATER, 4, verdict="fail", reason="no answer", attempts=failed)
    flaky = (Attempt("fail", "a late answer", 3.0), Attempt("pass", None, 0.4))
    after = with_result(after, 5, attempts=flaky)
    cut = replace(after, run=replace(after.run, status="interrupted"))
    keep(keyfob, FINE, without(cut, 9))
    out = keyfob.run("hil", "compare")[1]
    assert "expired certificate is refused, 2 attempts  (board-1)" in out
    assert "newly flaky" in out and "a late answer" in out
    assert f"what {LATER.run.id} did not come to is not compared" in out


def test_runs_are_named_by_id_folder_or_file(keyfob: Keyfob, tmp_path: Path) -> None:
    keep(keyfob, FINE)
    write_report(tmp_path / "mine", with_result(LATER, 0, seconds=9.0))
    for name in ("mine", tmp_path / "mine" / "report.json"):
        told = keyfob.json("hil", "compare", FINE.run.id, name)
        assert told["worse"] is False and told["counts"]["slower"] == 1
        assert told["differences"][0]["after"]["seconds"] == 9.0
    assert keyfob.json("hil", "compare", "previous", "mine")["before"] == FINE.run.id
    assert keyfob.run("hil", "compare", "mine", "latest")[1].splitlines()[2] == (
        "the first of them is the later one"
    )


def test_what_changed_alike_on_many_boards_is_one_line(keyfob: Keyfob, tmp_path: Path) -> None:
    before, after = all_passed(report(50, "20261120T101010Z")), all_passed(report(50))
    every = tuple(
        replace(one, verdict="fail") if one.case.endswith("waits_grow") else one
        for one in after.results
    )
    write_report(tmp_path / "a", before)
    write_report(tmp_path / "b", replace(after, results=every))
    status, out, _ = keyfob.run("hil", "compare", "a", "b")
    assert status == ExitStatus.TESTS and len(out.splitlines()) < 10
    assert "waits grow  (board-1, board-2, board-3 and 47 more)" in out


def test_the_page_of_a_comparison_can_be_had_of_any_two(keyfob: Keyfob, tmp_path: Path) -> None:
    keep(keyfob, FINE, LATER)
    status, _, err = keyfob.run("hil", "compare", "--html", "both.html")
    assert status == 0 and "wrote" in err
    assert "2026-11-20T10:10:10Z" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "seen"),
    [
        ((), "hil.no-report", "no report is in "),
        (("nope", "latest"), "hil.no-report", "'nope' is neither a run of this bench"),
        ((".", "latest"), "hil.no-report", "the folder . has no report.json"),
        (("broken", "broken"), "hil.bad-report", "Expecting value"),
        (("previous", "other"), "hil.no-report", "is of keyfob on virtual-esp32"),
    ],
)  # fmt: skip
def test_a_report_that_is_not_there_is_told_with_what_to_do(
    keyfob: Keyfob, tmp_path: Path, words: tuple[str, ...], code: str, seen: str
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("junit?")
    write_report(tmp_path / "other", all_passed(report(1)))
    found: dict[str, Any] = keyfob.error("hil", "compare", *words)
    assert found["code"] == code and seen in found["evidence"]
    assert found["status"] == ExitStatus.INPUT


def test_runs_of_different_suites_are_not_compared(keyfob: Keyfob, tmp_path: Path) -> None:
    keep(keyfob, FINE)
    cases = tuple(replace(one, id=f"smoke/{one.part}::{one.name}") for one in LATER.cases)
    other = replace(LATER, cases=cases, results=())
    write_report(tmp_path / "other", replace(other, run=replace(LATER.run, suites=("smoke",))))
    found = keyfob.error("hil", "compare", FINE.run.id, "other")
    assert found["code"] == "hil.not-comparable"
    assert found["evidence"] == "20261120T101010Z of keyfob and 20261121T231500Z of smoke"


def test_which_reports_there_are_is_told_where_one_is_not(keyfob: Keyfob) -> None:
    keep(keyfob, FINE, LATER)
    found = keyfob.error("hil", "compare", "20261121")
    assert "there are 20261121T231500Z, 20261120T101010Z" in found["evidence"]
    assert found["fix"] == "keyfob hil compare 20261120T101010Z latest"


def test_a_report_is_read_by_the_command_as_it_was_written(keyfob: Keyfob) -> None:
    keep(keyfob, report(3))
    assert read_report(keyfob.home / "reports" / "hil" / "20261121T231500Z") == report(3)
