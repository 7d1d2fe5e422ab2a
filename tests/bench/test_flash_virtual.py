"""Flash and monitor on a virtual board: stock esptool, the real image, the real commands."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob_host.boards import BoardRef, load_kind, open_board
from keyfob_host.console import Console
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.flashing import flash_board, identify
from keyfob_host.flash.images import demo_image
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

OFFSET = 0x1000
KEYFOB = [sys.executable, "-m", "keyfob_host"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "bench"))
    return Home(tmp_path / "bench")


@pytest.fixture
def board(bench: Home) -> Iterator[BoardRef]:
    """A virtual board with erased flash, powered."""
    virtual = VirtualBoard.up(bench, "virtual-esp32", "virtual-esp32")
    try:
        yield open_board("virtual-esp32", home=bench)
    finally:
        virtual.down()


@pytest.fixture
def flashed(bench: Home) -> Iterator[BoardRef]:
    """A running virtual board whose flash has the image, as esptool leaves it (proven below)."""
    content = demo_image().read_bytes()
    flash = bytearray(b"\xff" * load_kind("virtual-esp32").flash.size)
    flash[OFFSET : OFFSET + len(content)] = content
    folder = bench.ensure().boards_dir / "virtual-esp32"
    folder.mkdir(parents=True)
    (folder / "flash.bin").write_bytes(flash)
    virtual = VirtualBoard.up(bench, "virtual-esp32", "virtual-esp32")
    try:
        ref = open_board("virtual-esp32", home=bench)
        wait_running(ref)
        yield ref
    finally:
        virtual.down()


def flash_file(board: BoardRef) -> bytes:
    assert board.virtual
    return Path(board.virtual.info()["flash"]).read_bytes()


def wait_state(board: BoardRef, state: str) -> None:
    assert board.virtual
    deadline = time.monotonic() + 5
    while board.virtual.info()["state"] != state:
        assert time.monotonic() < deadline, board.virtual.info()
        time.sleep(0.02)


def wait_running(board: BoardRef) -> None:
    """Until the first start has made the file system, and so has done writing to the flash."""
    wait_state(board, "running")
    assert board.virtual
    deadline = time.monotonic() + 5
    while board.virtual.info()["boot_ms"] is None:
        assert time.monotonic() < deadline, board.virtual.info()
        time.sleep(0.02)


def wait_client(board: BoardRef) -> None:
    """Until the board has noticed that somebody has opened its serial port."""
    assert board.virtual
    deadline = time.monotonic() + 10
    while board.virtual.info()["client"] is None:
        assert time.monotonic() < deadline, board.virtual.info()
        time.sleep(0.02)


def keyfob(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KEYFOB, *words], capture_output=True, text=True, check=False)


def test_the_real_image_reaches_an_erased_board_which_then_runs(board: BoardRef):
    wait_state(board, "bad-image")
    done = keyfob("--json", "flash", "--board", "virtual-esp32")
    assert done.returncode == 0, done.stderr
    content = demo_image().read_bytes()
    assert flash_file(board)[OFFSET : OFFSET + len(content)] == content
    result = json.loads(done.stdout)
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert (result["chip"], result["erased"], result["verified"]) == ("esp32", True, True)
    wait_state(board, "running")


def test_a_board_on_a_serial_device_is_flashed_as_a_real_one_is(board: BoardRef):
    # A device without control lines, as many a bare adapter: the button is the control.
    assert board.virtual
    board.virtual.download_mode()
    flash_board(BoardRef(load_kind("esp32"), board.port, "x"), demo_image())
    content = demo_image().read_bytes()
    assert flash_file(board)[OFFSET : OFFSET + len(content)] == content
    board.virtual.reset()
    wait_state(board, "running")


def test_a_running_board_is_asked_what_it_is_through_its_control_lines(flashed: BoardRef):
    assert flashed.virtual
    before = flash_file(flashed)
    url = str(flashed.virtual.info()["rfc2217_url"])
    chip = identify(BoardRef(load_kind("esp32"), url, "x"), "keyfob flash")
    assert (chip.name, chip.flash_size) == ("esp32", 4 << 20)
    assert chip.mac.replace(":", "") == flashed.virtual.info()["mac"]
    wait_running(flashed)  # reset out of download mode again
    assert flash_file(flashed) == before


@pytest.mark.slow
def test_a_board_with_control_lines_is_put_into_download_mode_and_reset(board: BoardRef):
    # RFC 2217 carries DTR and RTS.
    assert board.virtual
    url = str(board.virtual.info()["rfc2217_url"])
    flash_board(BoardRef(load_kind("esp32"), url, "x"), demo_image())
    wait_state(board, "running")


def test_a_wrong_chip_s_image_leaves_flash_and_board_as_they_were(
    flashed: BoardRef, tmp_path: Path
):
    before = flash_file(flashed)
    assert flashed.virtual
    boots = flashed.virtual.info()["boots"]
    image = bytearray(demo_image().read_bytes())
    struct.pack_into("<H", image, 12, 5)
    (tmp_path / "c3.bin").write_bytes(image)
    done = keyfob("flash", "--firmware", str(tmp_path / "c3.bin"))
    assert done.returncode == ExitStatus.INPUT
    assert "flash.wrong-chip" in done.stderr and "image for esp32c3" in done.stderr
    assert flash_file(flashed) == before
    assert flashed.virtual.info()["boots"] == boots


def test_a_power_cut_while_writing_is_told_and_flashing_again_mends_it(board: BoardRef):
    assert board.virtual
    board.virtual.flash_fault(100)
    with pytest.raises(KeyfobHostError) as caught:
        flash_board(board, demo_image())
    assert caught.value.status == ExitStatus.BOARD
    assert "erased or half written" in caught.value.evidence
    assert "keyfob flash --board virtual-esp32" in caught.value.fix
    board.virtual.power(True)
    flash_board(board, demo_image())
    wait_state(board, "running")


def test_ctrl_c_while_writing_leaves_a_board_that_says_so_and_can_be_flashed(board: BoardRef):
    assert board.virtual
    board.virtual.serial_throttle(1_000_000)  # long enough to be interrupted: 10 s
    process = subprocess.Popen([*KEYFOB, "flash"], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    for line in process.stderr:
        if line.strip() == "writing":
            break
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=20)
    assert process.returncode == ExitStatus.INTERRUPTED
    assert "flash.interrupted" in printed and "half written" in printed
    wait_state(board, "bad-image")  # reset out of download mode, as a real board would be
    board.virtual.serial_throttle(None)
    flash_board(board, demo_image())
    wait_state(board, "running")


def test_a_board_whose_console_is_open_elsewhere_is_refused_with_the_holder(flashed: BoardRef):
    before = flash_file(flashed)
    for port in (flashed.stream_url, flashed.port):
        with Console(port) as console:
            console.write("\r\n")
            wait_client(flashed)
            with pytest.raises(KeyfobHostError) as caught:
                flash_board(flashed, demo_image())
            assert caught.value.code == "port.busy"
            assert f"(pid {os.getpid()})" in caught.value.evidence
        assert flash_file(flashed) == before
    flash_board(flashed, demo_image())


def test_a_board_in_its_prompt_is_told_to_be_in_the_wrong_mode(flashed: BoardRef):
    # As a real board whose USB adapter has no reset lines: nothing puts it into its ROM.
    before = flash_file(flashed)
    with pytest.raises(KeyfobHostError) as caught:
        flash_board(BoardRef(load_kind("esp32"), flashed.port, "x"), demo_image())
    assert caught.value.code in ("flash.not-in-download-mode", "flash.no-answer")
    assert "hold BOOT (IO0)" in caught.value.fix
    assert flash_file(flashed) == before


def test_a_board_that_is_down_is_told_how_to_start(bench: Home):
    done = keyfob("flash")
    assert done.returncode == ExitStatus.BOARD
    assert "board.not-up" in done.stderr and "keyfob board up virtual-esp32" in done.stderr


def emit(console: Console, event: dict[str, object]) -> None:
    """Have the board print an event, by its own MicroPython."""
    line = json.dumps(event, separators=(",", ":"))
    console.write(f"print('kf '+{line!r})\r")


def test_events_and_lines_of_a_running_board_are_read_and_waited_for(flashed: BoardRef):
    with Console(flashed.stream_url) as console:
        emit(console, {"t": 5, "ev": "mqtt.up", "host": "a"})
        emit(console, {"t": 6, "ev": "mqtt.up", "host": "b"})
        event = console.wait_event("mqtt.up", lambda one: one["host"] == "b")
        assert event == {"t": 6, "ev": "mqtt.up", "host": "b"}
        mark = console.mark()
        with pytest.raises(KeyfobHostError) as caught:
            console.wait_event("mqtt.*", timeout_s=0.2, since=mark)
        assert caught.value.code == "console.no-event"
        assert '"host":"b"' in caught.value.evidence
        console.write("print('plain', 6*7)\r")
        assert console.wait_line(r"^plain \d+").endswith("42")
        with pytest.raises(KeyfobHostError, match=r"console\.no-line"):
            console.wait_line("never printed", timeout_s=0.2)
        assert [one["host"] for one in console.events] == ["a", "b"]


def test_opening_a_console_does_not_reset_the_board(flashed: BoardRef):
    assert flashed.virtual
    with Console(flashed.stream_url) as console:
        console.write("marker = 4711\r")
        console.wait_line("marker")
    boots = flashed.virtual.info()["boots"]
    rfc2217 = str(flashed.virtual.info()["rfc2217_url"])
    for port in (flashed.port, rfc2217, flashed.stream_url):
        flashed.check_free()
        with Console(port) as console:
            console.write("\rprint('still', marker)\r")
            console.wait_line("^still 4711")
    assert flashed.virtual.info()["boots"] == boots


def test_a_console_lends_its_port_and_keeps_its_events(flashed: BoardRef):
    with Console(flashed.stream_url) as console:
        emit(console, {"t": 1, "ev": "one"})
        console.wait_event("one")
        with console.released():
            flash_board(flashed, demo_image())
            wait_running(flashed)
        console.write("\r")
        emit(console, {"t": 2, "ev": "two"})
        console.wait_event("two")
        assert [event["ev"] for event in console.events] == ["one", "two"]


def test_a_board_that_goes_away_is_told(flashed: BoardRef):
    with Console(flashed.stream_url, reopen_timeout_s=1.0) as console:
        assert flashed.virtual
        threading.Timer(0.3, flashed.virtual.down).start()
        with pytest.raises(KeyfobHostError) as caught:
            console.wait_event("never", timeout_s=60)
    assert caught.value.code == "port.unplugged"
    VirtualBoard.up(flashed.virtual.home, "virtual-esp32", "virtual-esp32")


def boot_events(board: BoardRef, *events: dict[str, object]) -> None:
    """Make the board print ``events`` at each start, from its own main.py."""
    lines = [f"print('kf '+{json.dumps(event)!r})" for event in events]
    program = "import time\ntime.sleep(0.3)\n" + "\n".join(lines) + "\nprint('done \\x07 here')\n"
    with Console(board.stream_url) as console:
        console.write(f"f=open('main.py','w');f.write({program!r});f.close();print('wro'+'te')\r")
        console.wait_line("^wrote")
    board.check_free()


def monitor(*words: str) -> subprocess.Popen[str]:
    """``keyfob monitor``, returned when it has the console open."""
    process = subprocess.Popen(
        [*KEYFOB, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    if "--json" not in words:
        assert "Ctrl-C ends it" in process.stderr.readline()
    return process


ERROR = {"t": 12345, "ev": "error", "code": "clock.never-set", "detail": "d", "retry": "wait"}


def test_monitor_makes_events_readable_and_explains_errors(flashed: BoardRef):
    boot_events(flashed, {"t": 1500, "ev": "boot", "cause": "power"}, ERROR)
    process = monitor("monitor", "--until", "error", "--for", "20")
    assert flashed.virtual
    flashed.virtual.reset()
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert re.search(r"^ +1\.500 s  boot +cause=power$", printed, re.M)
    assert re.search(r"^ +12\.345 s  error +code=clock\.never-set", printed, re.M)
    assert re.search(r"^ +cause  .*clock", printed, re.M) and re.search(r"^ +fix  ", printed, re.M)
    assert "ets Jul 29 2019" in printed  # what is no event is shown as well


def test_monitor_leaves_with_ctrl_c_and_cannot_be_made_to_ring(flashed: BoardRef):
    boot_events(flashed)
    process = monitor("monitor")
    assert flashed.virtual and process.stdout
    flashed.virtual.reset()
    for line in process.stdout:
        if "done" in line:
            assert line == "done \\x07 here\n"
            break
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=10)
    assert (process.returncode, printed) == (0, "")
    flashed.check_free()


def test_monitor_gives_events_as_json_lines(flashed: BoardRef):
    boot_events(flashed, {"t": 1, "ev": "boot"}, ERROR)
    process = monitor("--json", "monitor", "--until", "error.*", "--for", "3")
    assert flashed.virtual
    wait_client(flashed)  # with --json it says nothing itself
    flashed.virtual.reset()
    printed, _ = process.communicate(timeout=30)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert lines[:2] == [{"t": 1, "ev": "boot"}, ERROR]
    # No event is called error.something, so the time ran out; that too is one JSON line.
    assert lines[2]["error"]["code"] == "monitor.no-event"
    assert process.returncode == ExitStatus.BOARD


def test_monitor_events_only_leaves_the_rest_out_and_ends_in_time(flashed: BoardRef):
    boot_events(flashed, {"t": 1, "ev": "boot"})
    process = monitor("monitor", "--events-only", "--for", "2")
    assert flashed.virtual
    flashed.virtual.reset()
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed) == (0, "   0.001 s  boot\n")


def test_monitor_on_a_port_in_use_names_its_user(flashed: BoardRef):
    with Console(flashed.port) as console:
        console.write("\r")
        wait_client(flashed)
        done = keyfob("monitor", "--for", "1")
    assert done.returncode == ExitStatus.HOST
    assert "port.busy" in done.stderr and f"pid {os.getpid()}" in done.stderr
