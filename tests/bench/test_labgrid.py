"""Boards at labgrid's places: a real coordinator and exporter, virtual boards played as real.

One board behind the ser2net that the exporter starts for it, one behind an RFC 2217 port that
the exporter only announces.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from remote_rig import NO_SER2NET, SER2NET, labgrid, labgrid_client, own_url
from virtual_rig import wait_for_log, wait_until

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.labgrid.coordinator import own_name
from keyfob_host.hil.labgrid.place import acquire, look
from keyfob_host.transport import connect
from keyfob_host.virtual import VirtualBoard

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("labgrid") is None,
    reason="labgrid is not installed (pip install 'keyfob[labgrid]')",
)
needs_ser2net = pytest.mark.skipif(SER2NET is None, reason=NO_SER2NET)
KEYFOB = [sys.executable, "-m", "keyfob_host"]
NETWORK = ["--bench-address", "127.0.0.1", "--wifi-ssid", "keyfob-bench"]
# Places that need no board: what is exported is never opened.
NO_BOARDS = """
plain:
  NetworkSerialPort: {host: 127.0.0.1, port: 1, protocol: raw}
pair:
  left: {cls: NetworkSerialPort, host: 127.0.0.1, port: 2}
  right: {cls: NetworkSerialPort, host: 127.0.0.1, port: 3}
unplugged:
  USBSerialPort: {match: {ID_SERIAL_SHORT: no-such-board}}
"""


@dataclass
class Shelf:
    """Boards by place, and the coordinator that has these places."""

    address: str
    boards: dict[str, VirtualBoard]

    def client(self, *words: str, user: str | None = None) -> str:
        return labgrid_client(self.address, *words, user=user)

    def holder(self, place: str) -> str | None:
        return look(place, self.address).holder


@pytest.fixture
def shelf(
    make_board: Callable[..., VirtualBoard],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Shelf]:
    """``board-1`` behind an announced port; with ser2net, ``board-2`` behind one of its own."""
    monkeypatch.setenv("KEYFOB_WIFI_PASSWORD", "keyfob-bench-password")
    boards = {"board-1": make_board("one")}
    host, _, port = own_url(boards["board-1"]).removeprefix("rfc2217://").partition(":")
    exports = f"board-1:\n  NetworkSerialPort: {{host: {host}, port: {port}}}\n"
    if getattr(request, "param", "") == "both":
        boards["board-2"] = make_board("two")
        device = Path(boards["board-2"].info()["pty"]).resolve()
        exports += f"board-2:\n  RawSerialPort: {{port: {device}}}\n"
    for board in boards.values():
        wait_for_log(board, ">>> ")
    with labgrid(exports, tmp_path / "labgrid") as address:
        monkeypatch.setenv("LG_COORDINATOR", address)
        for place in boards:
            make_place(address, place, place)
        yield Shelf(address, boards)


@pytest.fixture(scope="module")
def no_boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A coordinator with places that nobody has to open; its address."""
    with labgrid(NO_BOARDS, tmp_path_factory.mktemp("labgrid") / "shelf") as address:
        for place in ("plain", "pair", "unplugged"):
            make_place(address, place, place)
        labgrid_client(address, "-p", "empty", "create")
        yield address


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "bench"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("LG_COORDINATOR", raising=False)


def make_place(address: str, place: str, group: str) -> None:
    labgrid_client(address, "-p", place, "create")
    labgrid_client(address, "-p", place, "add-match", f"shelf/{group}/NetworkSerialPort")


def keyfob(*words: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KEYFOB, *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def on_place(*words: str, place: str = "board-1") -> list[str]:
    return [*words, "--board", "esp32", "--port", f"labgrid://{place}"]


def monitoring() -> subprocess.Popen[str]:
    """``keyfob monitor`` at board-1, which goes on."""
    return subprocess.Popen(
        [*KEYFOB, *on_place("monitor")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refusal(place: str, address: str) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught, acquire(place, address):
        pass
    return caught.value


# -- places without boards


def test_place_is_ours_for_the_body_and_free_after_it(no_boards: str, own_home: None) -> None:
    with acquire("plain", no_boards) as url:
        assert url == "socket://127.0.0.1:1"
        assert look("plain", no_boards).holder == own_name()
        with acquire("plain", no_boards) as again:
            assert again == url
        assert look("plain", no_boards).holder == own_name()
        assert f"acquired: {own_name()}" in labgrid_client(no_boards, "-p", "plain", "show")
    assert look("plain", no_boards).holder is None


def test_run_that_has_a_place_keeps_others_from_it_by_any_of_its_names(
    no_boards: str, own_home: None
) -> None:
    labgrid_client(no_boards, "-p", "plain", "add-alias", "desk")
    code = (
        "from keyfob_host.hil.labgrid.place import acquire\n"
        f"with acquire('desk', {no_boards!r}): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == b"in\n"
        error = refusal("plain", no_boards)
        assert error.code == "board.in-use" and f"pid {other.pid}" in error.evidence
    finally:
        other.communicate(b"\n")
    assert look("plain", no_boards).holder is None


def test_place_is_released_when_the_body_fails(no_boards: str, own_home: None) -> None:
    with pytest.raises(KeyboardInterrupt), acquire("plain", no_boards):
        raise KeyboardInterrupt
    assert look("plain", no_boards).holder is None


def test_place_that_was_acquired_by_hand_is_used_and_left_so(
    no_boards: str, own_home: None
) -> None:
    labgrid_client(no_boards, "-p", "plain", "acquire")
    try:
        with acquire("plain", no_boards) as url:
            assert url == "socket://127.0.0.1:1"
        assert look("plain", no_boards).holder == own_name()
    finally:
        labgrid_client(no_boards, "-p", "plain", "release")


def test_place_of_another_user_is_refused_with_its_holder(no_boards: str, own_home: None) -> None:
    labgrid_client(no_boards, "-p", "plain", "acquire", user="alice")
    try:
        error = refusal("plain", no_boards)
        holder = look("plain", no_boards).holder
        assert holder is not None and holder.endswith("/alice")
        assert error.code == "labgrid.held"
        assert holder in error.cause and holder in error.evidence
        assert f"labgrid-client -x {no_boards} -p plain release --kick" in error.fix
        # Unless that user lets us in, as labgrid has it.
        labgrid_client(no_boards, "-p", "plain", "allow", own_name(), user="alice")
        with acquire("plain", no_boards):
            pass
        assert look("plain", no_boards).holder == holder
    finally:
        labgrid_client(no_boards, "-p", "plain", "release", "--kick")


def test_place_that_is_not_there_is_refused_with_those_that_are(
    no_boards: str, own_home: None
) -> None:
    error = refusal("plian", no_boards)
    assert error.code == "labgrid.unknown-place"
    assert "empty, pair, plain, unplugged" in error.evidence
    assert error.fix.startswith("take --port labgrid://plain; or make it: labgrid-client -x")
    assert error.status is ExitStatus.USAGE


def test_place_without_a_serial_port_is_told_with_what_is_exported(
    no_boards: str, own_home: None
) -> None:
    error = refusal("empty", no_boards)
    assert error.code == "labgrid.no-resource"
    assert "the place matches: nothing" in error.evidence
    assert "shelf/plain/NetworkSerialPort/NetworkSerialPort" in error.evidence
    assert look("plain", no_boards).holder is None


def test_one_of_several_ports_is_named_behind_the_place(no_boards: str, own_home: None) -> None:
    error = refusal("pair", no_boards)
    assert error.code == "labgrid.which-port"
    assert "left, right" in error.evidence and "labgrid://pair/left" in error.fix
    with acquire("labgrid://pair/right", no_boards) as url:
        assert url == "rfc2217://127.0.0.1:3"
    assert refusal("pair/middle", no_boards).code == "labgrid.which-port"
    assert look("pair/left", no_boards).holder is None


def test_board_that_is_not_plugged_in_over_there_is_told(no_boards: str, own_home: None) -> None:
    error = refusal("unplugged", no_boards)
    assert error.code == "labgrid.not-available"
    assert "shelf/unplugged/NetworkSerialPort" in error.evidence
    assert look("unplugged", no_boards).holder is None


def test_coordinator_that_went_away_is_told_with_what_stays_acquired(
    tmp_path: Path, own_home: None
) -> None:
    with labgrid(NO_BOARDS, tmp_path / "labgrid") as address:
        make_place(address, "plain", "plain")
        have = acquire("plain", address)
        have.__enter__()
    with pytest.raises(KeyfobHostError) as caught:
        have.__exit__(None, None, None)
    assert caught.value.code == "labgrid.not-released"
    assert f"labgrid-client -x {address} -p plain release" in caught.value.fix


def test_resource_that_another_place_has_is_told_in_the_coordinators_words(
    no_boards: str, own_home: None
) -> None:
    make_place(no_boards, "twin", "plain")
    with acquire("plain", no_boards):
        error = refusal("twin", no_boards)
    assert error.code == "labgrid.not-acquired"
    assert "Failed to acquire resources for place twin" in error.evidence


def test_coordinator_of_the_environment_goes_before_the_one_that_is_named(
    no_boards: str, own_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_COORDINATOR", no_boards)
    assert look("plain", "127.0.0.1:1").holder is None


# -- boards


def test_commands_have_the_place_for_as_long_as_they_run(shelf: Shelf) -> None:
    run = monitoring()
    try:
        assert run.stderr is not None
        assert "console of board-1 on rfc2217://127.0.0.1:" in run.stderr.readline()
        assert shelf.holder("board-1") == own_name()
        # Another run of the same user, whom labgrid would take for the first.
        second = keyfob(*on_place("monitor", "--for", "1"))
        assert second.returncode == ExitStatus.HOST
        assert "error  board.in-use" in second.stderr and f"pid {run.pid}" in second.stderr
        run.send_signal(signal.SIGINT)
        run.wait(30)
    finally:
        run.kill()
        run.wait()
    assert shelf.holder("board-1") is None


def test_place_that_a_killed_run_left_acquired_is_taken_over_and_released(shelf: Shelf) -> None:
    run = monitoring()
    assert run.stderr is not None
    run.stderr.readline()
    run.kill()
    run.wait()
    assert shelf.holder("board-1") == own_name()
    wait_until(lambda: shelf.boards["board-1"].info()["client"] is None)
    done = keyfob(*on_place("monitor", "--for", "0.1"))
    assert done.returncode == 0, done.stderr
    assert shelf.holder("board-1") is None


@needs_ser2net
@pytest.mark.parametrize("shelf", ["both"], indirect=True)
def test_board_is_reached_through_the_ser2net_that_its_exporter_starts(shelf: Shelf) -> None:
    with acquire("board-2") as url, connect(url) as prompt:
        assert prompt.eval("1 + 1") == 2
    assert shelf.holder("board-2") is None
    wait_until(lambda: shelf.boards["board-2"].info()["client"] is None)


def test_suite_runs_on_a_place_and_gives_it_back(shelf: Shelf) -> None:
    done = keyfob("--json", *on_place("hil", "run", "smoke"), *NETWORK)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert {one["board"] for one in told["results"]} == {"board-1"}
    assert told["pass"] >= 5
    assert shelf.holder("board-1") is None


@pytest.mark.slow
@needs_ser2net
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shelf", ["both"], indirect=True)
def test_two_boards_of_a_bench_file_run_the_suite_at_two_places(
    shelf: Shelf, bench_home: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LG_COORDINATOR")
    (tmp_path / "bench").mkdir(exist_ok=True)
    (tmp_path / "bench" / "bench.toml").write_text(
        f'[bench]\naddress = "127.0.0.1"\ncoordinator = "{shelf.address}"\n'
        '[wifi]\nssid = "keyfob-bench"\n'
        '[board.a]\nkind = "esp32"\nplace = "board-1"\n'
        '[board.b]\nkind = "esp32"\nplace = "board-2"\n'
    )
    done = keyfob("--json", "hil", "run", "smoke", "--boards", "a,b", timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert {one["board"] for one in told["results"]} == {"a", "b"}
    assert told["pass"] >= 10
    assert (shelf.holder("board-1"), shelf.holder("board-2")) == (None, None)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_ctrl_c_in_a_suite_gives_the_place_back(shelf: Shelf) -> None:
    run = subprocess.Popen(
        [*KEYFOB, *on_place("hil", "run", "smoke"), *NETWORK],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert run.stdout is not None
        for line in run.stdout:
            if "1/" in line:  # of its cases
                break
        assert shelf.holder("board-1") == own_name()
        run.send_signal(signal.SIGINT)
        run.stdout.read()
        assert run.wait(60) == ExitStatus.INTERRUPTED
    finally:
        run.kill()
        run.wait()
    assert shelf.holder("board-1") is None
