"""The doctor's time line, its page as a file, and which board it looks at.

The page in a browser is in tests/bench/test_doctor_page_browser.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
from doctor_seen import (
    BOOT,
    CONTROL,
    LOG,
    MARKUP,
    NAME,
    NOW,
    QUOTES,
    UP,
    WIRE,
    WRONG_NAME,
    diagnosed,
    failing,
    hostile,
    page,
    seen,
    well,
)

from keyfob_host.cli import main
from keyfob_host.doctor.diagnosis import Evidence
from keyfob_host.doctor.page import Page, check_page_path, write_page
from keyfob_host.doctor.timeline import Entry
from keyfob_host.doctor.timeline_gathering import read_wire
from keyfob_host.errors import KeyfobHostError

# -- the time line


def test_all_that_was_seen_is_in_one_order_of_time() -> None:
    _, timeline = diagnosed(failing())
    moments = [one.at for one in timeline.entries]
    assert moments == sorted(moments)
    assert {one.source for one in timeline.entries} == {"board", "wire", "broker", "host"}
    told = timeline.as_dict()["entries"]
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)


def test_an_event_of_the_board_is_put_on_this_hosts_clock_by_its_boot() -> None:
    _, timeline = diagnosed(failing())
    (error,) = [one for one in timeline.entries if "wrong-name" in one.text]
    assert (error.at, error.clock()) == (BOOT + timedelta(milliseconds=900), "12:00:06.150")
    assert timeline.as_dict()["failed_at"] == "2026-11-21T12:00:06.150Z"


def test_a_line_of_the_broker_has_no_milliseconds_that_nobody_knows() -> None:
    _, timeline = diagnosed(failing())
    lines = [one for one in timeline.as_dict()["entries"] if one["source"] == "broker"]
    assert {(one["at"], one["precision"]) for one in lines[1:]} == {
        ("2026-11-21T12:00:06.000Z", "s")
    }
    assert "\n   12:00:06      broker  New connection" in timeline.as_text()


@pytest.mark.parametrize(
    ("unix_s", "words"),
    [
        (BOOT.timestamp(), "was right within a second"),
        (BOOT.timestamp() + 120.2, "was 2 min 0 s ahead of it"),
        (BOOT.timestamp() - 4 * 86400, "was 4 days behind it"),
    ],
)
def test_how_far_the_boards_own_clock_is_from_this_hosts_is_said(unix_s: float, words: str) -> None:
    clock = {"t": 200, "ev": "clock.set", "unix_s": unix_s, "server": "ntp.test:123"}
    _, timeline = diagnosed(seen(*UP[:2], clock))
    assert words in timeline.as_text().splitlines()[0]
    assert timeline.as_dict()["board_clock_ahead_s"] == pytest.approx(
        unix_s - BOOT.timestamp() - 0.2
    )


def test_the_moment_of_the_failure_is_marked_once_and_its_evidence_too() -> None:
    ladder, timeline = diagnosed(failing())
    assert ladder.diagnosis is not None
    marked = [one for one in timeline.entries if one.mark]
    assert [one.text.split()[0] for one in marked if one.mark == "failure"] == ["error"]
    assert len(marked) == len(ladder.diagnosis.evidence)
    assert "\n>> 12:00:06.150  board   error code=x509.wrong-name" in timeline.as_text()


def test_a_line_that_is_twice_in_a_second_can_be_evidence_twice() -> None:
    twice = "1795262409: Client s1 already connected, closing old connection."
    ladder, timeline = diagnosed(seen(*UP, log=(*LOG, twice, twice, twice)))
    assert ladder.diagnosis is not None and ladder.diagnosis.code == "mqtt.same-client-id"
    marked = [one for one in timeline.entries if one.mark]
    assert len(marked) == len(ladder.diagnosis.evidence) > 1
    assert {one.text for one in marked} == {twice.partition(": ")[2]}


def test_nothing_is_marked_where_all_is_well() -> None:
    _, timeline = diagnosed(well())
    assert timeline.failed_at is None
    assert not any(one.mark for one in timeline.entries)


def test_lines_far_from_boot_failure_and_now_are_counted_and_left_out() -> None:
    hour_ago = int((NOW - timedelta(hours=1)).timestamp())
    log = tuple(f"{hour_ago + index}: line {index}" for index in range(50))
    booted = NOW - timedelta(hours=2)
    late = {**WRONG_NAME, "t": 7_199_000}
    _, timeline = diagnosed(seen(*UP[:4], late, log=(*log, *LOG), booted_at=booted), WIRE)
    assert not any(one.text.startswith("line") for one in timeline.entries)
    assert timeline.left_out == 50
    assert sum(one.left_out for one in timeline.entries) == 50
    assert "50 lines left out" in timeline.as_text()


def test_a_log_of_thousands_of_lines_in_a_second_leaves_the_failure_in_sight() -> None:
    log = tuple(f"1795262406: line {index}" for index in range(4000))
    _, timeline = diagnosed(seen(*UP[:4], WRONG_NAME, log=log))
    assert len(timeline.entries) < 320
    assert any(one.mark == "failure" for one in timeline.entries)
    assert timeline.left_out > 3000


def test_a_board_whose_boot_nothing_dates_is_shown_without_times() -> None:
    _, timeline = diagnosed(seen(*UP[:4], WRONG_NAME, booted_at=None))
    board = [one for one in timeline.entries if one.source == "board"]
    assert len(board) == 5 and all(one.at is None for one in board)
    assert timeline.entries[-1] in board
    assert board[-1].mark == "failure"


def test_of_a_console_only_what_rom_and_micropython_say_is_shown() -> None:
    lines = (
        "rst:0x1 (POWERON_RESET),boot:0x13",
        "eyJ3aWZpIjp7InBhc3N3b3JkIjoiaHVudGVyMiJ9fQ==",
        '{"wifi": {"password": "hunter2"}}',
        "Traceback (most recent call last):",
        '  File "main.py", line 3, in <module>',
        "OSError: [Errno 5] EIO",
    )
    found = seen(*UP, lines=lines)
    _, timeline = diagnosed(found)
    shown = "\n".join(one.text for one in timeline.entries)
    assert "POWERON_RESET" in shown and "Traceback" in shown and "EIO" in shown
    for text in (shown, page(found), json.dumps(timeline.as_dict())):
        assert "hunter2" not in text and "eyJ3" not in text


def test_a_board_without_an_event_is_dated_by_its_last_word() -> None:
    lines = ("rst:0x10 (RTCWDT_RTC_RESET),boot:0x13", "invalid header: 0xffffffff")
    ladder, timeline = diagnosed(seen(lines=lines, said_at=BOOT, booted_at=None))
    assert ladder.diagnosis is not None and ladder.diagnosis.code == "firmware.erased"
    said = [one for one in timeline.entries if one.source == "board"]
    assert [one.text for one in said] == list(lines) and all(one.at == BOOT for one in said)
    assert "failure" in [one.mark for one in said]


@pytest.mark.parametrize(
    ("values", "words"),
    [(("1", "2"), "; seen 1, wanted 2"), (("", "2"), "; wanted 2"), (("", ""), "")],
)
def test_of_two_values_the_one_that_is_missing_is_left_out(
    values: tuple[str, str], words: str
) -> None:
    assert Evidence("host", "x", None, *values).line().endswith(f"x{words}")


def test_what_the_tap_saw_after_the_look_is_not_in_it() -> None:
    later = {**WIRE[0], "at": "2026-11-21T12:00:11.000Z", "text": "too late"}
    _, timeline = diagnosed(failing(), (*WIRE, later))
    assert not any(one.text == "too late" for one in timeline.entries)


@pytest.mark.parametrize(
    "event",
    [{}, {"at": "now"}, {"at": 1}, {**WIRE[0], "connection": "x"}, {**WIRE[0], "at": "2026-11-21"}],
)
def test_a_line_of_the_tap_that_is_no_event_is_passed_over(event: dict) -> None:
    _, timeline = diagnosed(failing(), (event, *WIRE))
    assert sum(one.source == "wire" for one in timeline.entries) == len(WIRE)


def test_a_tap_log_cut_at_both_ends_is_read_in_between(tmp_path: Path) -> None:
    assert read_wire(tmp_path) == ()
    record = {"pid": 1, "extra": {"host": "127.0.0.1", "port": 8883, "target": "x:1"}}
    (tmp_path / "tap.json").write_text(json.dumps(record))
    assert read_wire(tmp_path) == ()
    lines = ['"text":"half"}', json.dumps(WIRE[0]), "[]", '{"at":"2026']
    (tmp_path / "tap.jsonl").write_text("\n".join(lines))
    assert read_wire(tmp_path) == (WIRE[0],)


def test_a_time_is_in_utc_whatever_zone_it_came_in() -> None:
    east = timezone(timedelta(hours=9))
    at = datetime(2026, 11, 22, 1, 2, 3, 4000, tzinfo=east)
    one = Entry("board", at, "x")
    assert one.clock() == "16:02:03.004"
    assert one.as_dict()["at"] == "2026-11-21T16:02:03.004Z"


# -- the page


class Reader(HTMLParser):
    """Another reading of the page: its elements, and the text that people see."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {"style": "", "script": ""}
        self.text = ""
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.raw:
            self.raw[self._open] += data
        else:
            self.text += data


def test_the_page_loads_nothing_and_forbids_it() -> None:
    for text in (page(failing()), page(well()), page(hostile())):
        read = Reader(text)
        loading = {"src", "srcset", "action", "data", "poster", "style", "onclick", "onload"}
        assert not any(loading & attributes.keys() for _, attributes in read.elements)
        links = [attributes["href"] for _, attributes in read.elements if "href" in attributes]
        assert all(link and link.startswith("#") for link in links)
        policy = next(
            attributes["content"]
            for _, attributes in read.elements
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None and policy.startswith("default-src 'none'; ")
        for name in ("style", "script"):
            digest = base64.b64encode(hashlib.sha256(read.raw[name].encode()).digest()).decode()
            assert f"{name}-src 'sha256-{digest}'" in policy
        assert "url(" not in read.raw["style"] and "@import" not in read.raw["style"]
        assert [name for name, _ in read.elements].count("script") == 1


def test_the_page_shows_verdict_values_and_one_fix() -> None:
    ladder, _ = diagnosed(failing())
    assert ladder.diagnosis is not None
    read = Reader(page(failing()))
    for wanted in (
        "Broken: broker's certificate", "x509.name-not-in-san", "certain",
        ladder.diagnosis.cause.cause, ladder.fix, NAME, "MQTT CONNECT",
    ):  # fmt: skip
        assert wanted in read.text
    assert [attributes.get("id") for _, attributes in read.elements].count("fix") == 1
    assert [attributes.get("id") for _, attributes in read.elements].count("failure") == 1


def test_a_page_of_what_was_not_all_seen_has_the_command_that_sees_more() -> None:
    found = seen(*UP[:-1])
    ladder, _ = diagnosed(found, ())
    assert ladder.fix == "keyfob doctor kitchen --reset"
    text = Reader(page(found, ())).text
    assert "Nothing is seen to be broken" in text and ladder.fix in text
    assert "no tap: keyfob broker up --tap" in text


def test_what_others_wrote_is_text_in_the_page_and_nothing_else() -> None:
    text = page(hostile())
    read = Reader(text)
    assert {name for name, _ in read.elements} <= {
        "html", "head", "meta", "title", "style", "body", "a", "header", "p", "strong", "time",
        "main", "section", "h1", "h2", "span", "dl", "div", "dt", "dd", "code", "ul", "li", "b",
        "ol", "table", "caption", "thead", "tbody", "tr", "th", "td", "small", "pre", "button",
        "footer", "script",
    }  # fmt: skip
    assert MARKUP in read.text and QUOTES in read.text
    assert "\\x1b[2J" in read.text and "\\u202e" in read.text
    assert all(one.isprintable() or one == "\n" for one in text)
    assert not any(one in text for one in CONTROL if not one.isprintable())


def test_a_text_of_any_length_and_kind_becomes_a_page_of_bounded_size() -> None:
    many = [{**WRONG_NAME, "t": index, "detail": "<" * 5000} for index in range(3000)]
    text = page(seen(*UP[:4], *many, log=("1795262406: " + "\ud800&" * 9000,) * 4000))
    assert len(text.encode()) < 2_000_000


@pytest.mark.parametrize(
    "event",
    [
        {"t": 1, "ev": "error"},
        {"t": 1, "ev": "error", "code": ["a"], "detail": {"b": 1}, "next_ms": "soon"},
        {"t": 1, "ev": "error", "code": "tls.alert-unknown-ca"},
        {"t": "late", "ev": "error", "code": "."},
        {"ev": "clock.set", "unix_s": 1e308, "t": None},
        {"ev": "mqtt.up", "client_id": "[(", "host": {}, "port": "x"},
    ],
)
def test_an_event_of_any_shape_becomes_a_page(event: dict) -> None:
    for before in ((), UP[:6]):
        assert "</html>" in page(seen(*before, event))


def test_a_page_is_written_whole_and_over_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "doctor.html"
    for found in (failing(), well()):
        ladder, timeline = diagnosed(found)
        assert write_page(target, Page(found, ladder, timeline)) == target
    assert "All rungs hold" in target.read_text()
    assert [one.name for one in target.parent.iterdir()] == ["doctor.html"]


def test_a_link_to_a_file_is_followed_and_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "link.html", tmp_path / "target.html"
    target.write_text("before")
    link.symlink_to(target)
    ladder, timeline = diagnosed(well())
    assert write_page(link, Page(well(), ladder, timeline)) == target
    assert link.is_symlink() and "All rungs hold" in target.read_text()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (".", "doctor.page-not-a-file"),
        ("-", "doctor.page-not-a-file"),
        ("/dev/null", "doctor.page-not-a-file"),
        ("link-to-folder", "doctor.page-not-a-file"),
        ("file/doctor.html", "file.not-a-file"),
    ],
)
def test_what_is_no_file_is_refused_before_anything_is_looked_at(
    path: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link-to-folder").symlink_to("folder")
    with pytest.raises(KeyfobHostError) as refused:
        check_page_path(Path(path))
    assert refused.value.code == code
    assert refused.value.fix
    assert Path("/dev/null").is_char_device()


def test_settings_of_the_board_are_not_in_the_page() -> None:
    found = failing()
    settings = {"device_id": "s1", "wifi": {"ssid": "home-net", "password": "hunter2"}}
    files = replace(found.board.files, how="its flash image", settings=settings)
    text = page(replace(found, board=replace(found.board, files=files)))
    assert "hunter2" not in text and "home-net" not in text


# -- the command


class Command:
    """``keyfob`` in this process, in a home of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """(exit status, standard output, standard error)."""
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "home"))
    return Command(capsys)


@pytest.mark.parametrize(
    ("words", "status", "code", "fix"),
    [
        ((), 2, "doctor.no-board", "keyfob board up virtual-esp32"),
        (("virtual-esp32",), 5, "board.not-up", "keyfob board up virtual-esp32"),
        (("virtual-esp23",), 2, "doctor.unknown-board", "keyfob doctor virtual-esp32"),
        (("kitchen",), 2, "doctor.unknown-board", "keyfob board up virtual-esp32"),
        (("--name", "kitchen"), 2, "doctor.unknown-board", "keyfob board up virtual-esp32"),
        (("/dev/ttyUSB0",), 2, "doctor.which-kind", "keyfob doctor esp32 --port /dev/ttyUSB0"),
        (("--port", "/dev/x y"), 2, "doctor.which-kind", "keyfob doctor esp32 --port '/dev/x y'"),
        (("esp32",), 2, "port.not-given", ""),
        (("--html", "/"), 3, "doctor.page-not-a-file", "run it again with --html /doctor.html"),
    ],
)
def test_a_board_that_cannot_be_meant_is_told_with_what_can(
    words: tuple[str, ...], status: int, code: str, fix: str, command: Command
) -> None:
    ended, out, _ = command("--json", "doctor", *words)
    told = json.loads(out)["error"]
    assert (ended, told["code"]) == (status, code)
    assert told["fix"].startswith(fix) and told["cause"]
    assert told["evidence"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--timelin",), "--timeline"),
        (("a", "b"), "One board at a time"),
        (("virtual-esp32", "--board", "esp32"), "Give the board once"),
        (("--explain", "-30592", "--html", "x.html"), "go with a board"),
        (("--files", "certs", "--timeline"), "go with a board"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    words: tuple[str, ...], said: str, command: Command
) -> None:
    ended, _, told = command("doctor", *words)
    assert ended == 2
    assert said in re.sub(r"\s+", " ", told)


def test_help_says_what_the_exit_status_means(command: Command) -> None:
    _, said, _ = command("doctor", "--help")
    assert all(f"\n {number:>2}  " in said for number in (0, 2, 3, 4, 5, 6, 7, 10))
