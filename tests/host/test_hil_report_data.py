"""The data of a run's report: written whole, read strictly, bounded both times."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hil_report_rig import report, with_result
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.report import bounds
from keyfob_host.hil.report.data import Attempt, Measure, Report, Text
from keyfob_host.hil.report.history import previous_report, report_folders
from keyfob_host.hil.report.reading import read_report
from keyfob_host.hil.report.versions import versions
from keyfob_host.hil.report.writing import check_report_folder, write_report


def written(folder: Path, data: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


def refused(path: Path) -> str:
    with pytest.raises(KeyfobHostError) as caught:
        read_report(path)
    assert caught.value.code == "hil.bad-report" and caught.value.status == ExitStatus.INPUT
    assert caught.value.fix and len(caught.value.evidence) <= bounds.LINE_CHARS
    return caught.value.evidence


def test_a_report_is_three_files_and_is_read_again_as_it_was(tmp_path: Path) -> None:
    made = report()
    folder = tmp_path / "runs" / made.run.id
    assert write_report(folder, made) == made
    files = {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}
    assert files == dict.fromkeys(("report.json", "report.html", "junit.xml"), 0o644)
    assert read_report(folder) == read_report(folder / "report.json") == made


def test_the_json_has_the_fields_that_others_read(tmp_path: Path) -> None:
    write_report(tmp_path / "r", report())
    told = json.loads((tmp_path / "r" / "report.json").read_bytes())
    assert list(told) == ["format", "run", "versions", "boards", "cases", "results"]
    assert told["format"] == "keyfob-hil-1"
    assert told["run"]["started"] == "2026-11-21T23:15:00Z"
    assert told["versions"]["labgrid"] is None
    assert told["cases"][0]["id"] == "keyfob/boot::test_board_says_that_it_boots"
    failed = next(one for one in told["results"] if one["verdict"] == "fail")
    assert failed["board"] == "board-1" and failed["attempts"][0]["verdict"] == "fail"
    assert failed["evidence"][0]["title"] == "board console"
    assert failed["events"][0] == {"t": 312, "ev": "boot", "reset": "power-on"}


def test_another_report_in_the_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_report(folder, report(3))
    (folder / "junit.xml").unlink()
    write_report(folder, report(1))
    assert len(read_report(folder).boards) == 1 and len(list(folder.iterdir())) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["thesis.tex", ".git"])
def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for attempt in (check_report_folder, lambda one: write_report(one, report())):
        with pytest.raises(KeyfobHostError) as caught:
            attempt(tmp_path)
        assert caught.value.code == "hil.not-a-report-folder" and name in caught.value.evidence
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_file_is_no_folder_for_a_report(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(KeyfobHostError) as caught:
        check_report_folder(tmp_path / "taken")
    assert caught.value.code == "file.not-a-file"


# -- bounds


def test_what_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    long = Text("console", "first line\n" + "x" * 1_000_000 + "\nlast line")
    values = Measure("heap", "bytes", tuple(range(5_000)), "while connected")
    huge: dict[str, Any] = {"t": 7, "ev": "error", "detail": "y" * 100_000}
    events = tuple({"t": at, "ev": "reading"} for at in range(1_000))
    made = with_result(
        report(1), 0, evidence=(long,), measures=(values,), events=(*events, huge),
        reason="r" * 9_000, warnings=("w",) * 500,
        diagnosis={"code": "tls.x", "cause": "z" * 90_000},
    )  # fmt: skip
    write_report(tmp_path / "r", made)
    result = read_report(tmp_path / "r").results[0]
    text = result.evidence[0].text
    assert len(text) <= 20_000 and text.startswith("first line") and text.endswith("last line")
    assert "characters left out" in text
    assert len(result.measures[0].values) == 1_000
    assert result.measures[0].note == "while connected; 4000 more are left out"
    assert len(result.events) == 200 and result.events[-2]["t"] == 999
    assert result.events[-1] == {"t": 7, "ev": "error", "cut": "it was too long"}
    assert len(result.reason or "") <= 1_000 and len(result.warnings) == 50
    assert result.diagnosis is not None and result.diagnosis["code"] == "tls.x"
    assert len(json.dumps(result.diagnosis)) < 20_000


def test_of_too_much_evidence_that_of_failures_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "TOTAL_CHARS", 60_000)
    long = (Text("console", "c" * 15_000),)
    made = report(1)
    made = replace(made, results=tuple(replace(one, evidence=long) for one in made.results))
    sizes = {one.verdict: len(one.evidence[0].text) for one in bounds.bounded(made).results}
    assert sizes["fail"] == 15_000 and sizes["pass"] <= 4_000


def test_numbers_that_json_does_not_have_are_left_out(tmp_path: Path) -> None:
    odd = Measure("delay", "ms", (1.5, float("inf"), float("nan")))
    made = with_result(report(1), 0, measures=(odd,), seconds=float("nan"),
                       events=({"t": float("inf"), "ev": "boot"},))  # fmt: skip
    write_report(tmp_path / "r", made)
    result = read_report(tmp_path / "r").results[0]
    assert result.measures[0].values == (1.5,) and result.seconds == 0
    assert result.events == ({"t": None, "ev": "boot"},)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=8))  # fmt: skip
def test_whatever_a_board_says_is_printable_in_what_is_written(said: str, value: Any) -> None:
    made = with_result(
        report(1), 0, reason=said, evidence=(Text(said, said),), events=({"ev": said, "x": value},),
        attempts=(Attempt("pass", said, 0.1),), diagnosis={"cause": said, said: value},
    )  # fmt: skip
    fit = bounds.bounded(made)
    text = json.dumps(fit.as_dict(), ensure_ascii=False)
    assert text.isprintable() and text.encode()
    assert bounds.bounded(fit) == fit


def test_a_control_sequence_is_spelled_out(tmp_path: Path) -> None:
    made = with_result(report(1), 0, evidence=(Text("log", "a\x1b[2J\u202eb\r\nc\td\x00"),))
    assert bounds.bounded(made).results[0].evidence[0].text == "a\\x1b[2J\\u202eb\nc\td\\x00"


# -- reading


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("versions"), "versions is missing"),
        (lambda d: d.pop("format"), "format is missing"),
        (lambda d: d.update(format="keyfob-hil-2"), "format is 'keyfob-hil-2'"),
        (lambda d: d.update(more=1), "more is no field"),
        (lambda d: d["results"][3].update(verdict="ok"), "results[3].verdict is 'ok', wanted one"),
        (lambda d: d["results"][3].update(verdict=["pass"]), "results[3].verdict"),
        (lambda d: d["results"][1].update(seconds="1"), "results[1].seconds is '1', wanted a num"),
        (lambda d: d["results"][1].update(seconds=True), "results[1].seconds"),
        (lambda d: d["results"][1].update(seconds=10**40), "results[1].seconds"),
        (lambda d: d["results"][0].update(board="x"), "results[0].board: there is no board 'x'"),
        (lambda d: d["results"][0].update(case="x"), "results[0].case: there is no case 'x'"),
        (lambda d: d["results"].append(d["results"][0]), "results: ('board-1', "),
        (lambda d: d["boards"].append(d["boards"][0]), "boards: 'board-1' is there twice"),
        (lambda d: d["results"][0].update(events=[7]), "results[0].events[0] is 7"),
        (lambda d: d["results"][0].update(measures=[{"name": "x"}]), "measures[0].unit is missing"),
        (lambda d: d.update(boards={}), "boards is {}, wanted a list"),
        (lambda d: d.update(versions={"keyfob": 1}), "versions.keyfob is 1"),
        (lambda d: d.update(cases=[{}] * 20_001), "a list of at most 20000"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_with_the_place(
    tmp_path: Path, change: Any, words: str
) -> None:
    data = json.loads(json.dumps(report().as_dict()))
    change(data)
    assert words in refused(written(tmp_path, data))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"a": 1' + "0" * 5_000 + "}", '{"a": NaN}',
     '{"format": 1, "format": 2}', "\ufffe", '{"format": 1e999}'],
)  # fmt: skip
def test_what_is_no_json_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    refused(written(tmp_path, text))


def test_a_value_that_was_made_infinite_is_refused(tmp_path: Path) -> None:
    text = json.dumps(report().as_dict()).replace('"seconds": 61.5', '"seconds": 1e999')
    assert "run.seconds is inf" in refused(written(tmp_path, text))


def test_a_report_of_another_maker_is_shown_without_what_cannot_be_printed(tmp_path: Path) -> None:
    data = json.loads(json.dumps(report(1).as_dict()))
    data["boards"][0]["title"] = "\x1b]0;owned\x07 \ud800"
    data["results"][0]["evidence"] = [{"title": "log", "text": "x" * 50_000}]
    found = read_report(written(tmp_path, data))
    assert found.boards[0].title == "\\x1b]0;owned\\x07 \\ud800"
    assert len(found.results[0].evidence[0].text) <= 20_000


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(KeyfobHostError) as caught:
        read_report(Path("/dev/zero"))
    assert caught.value.code == "file.too-large"


# -- the run before


def test_the_run_before_is_the_newest_of_the_same_suite_and_kind_of_board(tmp_path: Path) -> None:
    now = report(1)

    def earlier(run: str, **changes: Any) -> Report:
        made = report(1, run)
        made = replace(made, **{key: value for key, value in changes.items() if key != "suites"})
        run_ = replace(made.run, suites=changes.get("suites", made.run.suites))
        return replace(made, run=run_)

    assert previous_report(tmp_path, now) is None
    other = tuple(replace(one, kind="esp8266") for one in now.boards)
    for made in (
        earlier("20261119T080000Z"),
        earlier("20261120T080000Z"),
        earlier("20261121T080000Z", suites=("smoke",)),
        earlier("20261121T090000Z", boards=other),
        earlier("20261122T080000Z"),
        now,
    ):
        write_report(tmp_path / made.run.id, made)
    written(tmp_path / "20261121T100000Z", "no report")
    (tmp_path / ".20261121T110000Z.1-x").mkdir()
    found = previous_report(tmp_path, now)
    assert found is not None and found.run.id == "20261120T080000Z"
    assert [one.name for one in report_folders(tmp_path)][:2] == [
        "20261122T080000Z", "20261121T231500Z",
    ]  # fmt: skip


# -- versions


def test_versions_are_those_of_the_programs_themselves() -> None:
    found = versions()
    assert found["python"] and found["pytest"] == pytest.__version__
    assert found["keyfob"] and found["system"]


def test_a_program_that_is_missing_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("KEYFOB_MOSQUITTO", "/nonexistent/mosquitto")
    found = versions()
    assert found["openssl"] is None and found["mosquitto"] is None and found["cryptography"]
