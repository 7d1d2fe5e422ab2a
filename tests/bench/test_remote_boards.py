"""A board behind an RFC 2217 server, as a real one: nothing in the tool knows that it is virtual.

Three servers: the board's own port, Espressif's ``esp_rfc2217_server`` (control lines) and
ser2net before its pseudo terminal (none, as behind many a bare adapter).
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from remote_rig import NO_SER2NET, SER2NET, own_url, served_by_esptool, served_by_ser2net
from virtual_rig import IMAGE_OFFSET, wait_for_log, wait_until

from keyfob_host.boards import BoardRef, load_kind
from keyfob_host.console import Console
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.flashing import flash_board, identify
from keyfob_host.flash.images import demo_image
from keyfob_host.serial_stream import open_stream
from keyfob_host.transport import connect
from keyfob_host.virtual import VirtualBoard

KEYFOB = [sys.executable, "-m", "keyfob_host"]
needs_ser2net = pytest.mark.skipif(SER2NET is None, reason=NO_SER2NET)
SERVERS = [
    pytest.param("own"),
    pytest.param("esptool", marks=pytest.mark.slow),
    pytest.param("ser2net", marks=needs_ser2net),
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[[str, VirtualBoard], str]]:
    """``served("ser2net", board)``: that server runs before the board; its address."""
    with contextlib.ExitStack() as stack:

        def serve(server: str, board: VirtualBoard) -> str:
            if server == "own":
                return own_url(board)
            start = served_by_esptool if server == "esptool" else served_by_ser2net
            return stack.enter_context(start(board, tmp_path))

        yield serve


def real(url: str) -> BoardRef:
    return BoardRef(load_kind("esp32"), url, "x")


def flash_of(board: VirtualBoard, size: int) -> bytes:
    content = Path(board.info()["flash"]).read_bytes()
    return content[IMAGE_OFFSET : IMAGE_OFFSET + size]


def keyfob(*words: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KEYFOB, *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.mark.parametrize("server", SERVERS)
def test_prompt_files_and_console_are_those_of_a_board_on_the_desk(
    server: str, virtual_board: VirtualBoard, served: Callable[[str, VirtualBoard], str]
) -> None:
    url = served(server, virtual_board)
    data = bytes(range(256)) * 20  # 0xFF is doubled on the way, RFC 854
    with connect(url) as prompt:
        prompt.write("/data.bin", data)
        assert prompt.read("/data.bin") == data
    with Console(url) as console:
        console.write(b"\x03\x02import machine; machine.reset()\r")
        console.wait_line("rst:0x", timeout_s=20)
        console.wait_line("MicroPython", timeout_s=20)


@pytest.mark.parametrize("server", ["own", pytest.param("ser2net", marks=needs_ser2net)])
def test_console_that_is_opened_and_closed_resets_nothing(
    server: str, virtual_board: VirtualBoard, served: Callable[[str, VirtualBoard], str]
) -> None:
    url = served(server, virtual_board)
    boots = virtual_board.info()["boots"]
    for _ in range(2):
        with Console(url) as console:
            console.write(b"\r")
            wait_until(lambda: virtual_board.info()["client"] is not None)
        wait_until(lambda: virtual_board.info()["client"] is None)
    assert (virtual_board.info()["boots"], virtual_board.info()["state"]) == (boots, "running")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["own", "esptool"])
def test_stock_esptool_writes_the_image_and_starts_it(
    server: str,
    make_board: Callable[..., VirtualBoard],
    served: Callable[[str, VirtualBoard], str],
    image: bytes,
) -> None:
    board = make_board(flashed=None)
    flashed = flash_board(real(served(server, board)), demo_image())
    assert flashed.chip.mac.replace(":", "") == board.info()["mac"]
    assert flash_of(board, len(image)) == image
    wait_for_log(board, ">>> ")


@pytest.mark.slow
@needs_ser2net
def test_board_without_control_lines_is_flashed_once_its_buttons_were_pressed(
    make_board: Callable[..., VirtualBoard],
    served: Callable[[str, VirtualBoard], str],
    image: bytes,
) -> None:
    board = make_board(flashed=None)
    board.download_mode()
    flash_board(real(served("ser2net", board)), demo_image())
    assert flash_of(board, len(image)) == image
    board.reset()
    wait_for_log(board, ">>> ")


@pytest.mark.slow
@needs_ser2net
def test_port_without_control_lines_is_told_as_such(
    virtual_board: VirtualBoard, served: Callable[[str, VirtualBoard], str]
) -> None:
    with pytest.raises(KeyfobHostError) as caught:
        identify(real(served("ser2net", virtual_board)), "keyfob flash")
    assert caught.value.code in ("flash.no-answer", "flash.not-in-download-mode")
    assert "confirmed no change of DTR and RTS" in caught.value.evidence
    assert "hold BOOT (IO0)" in caught.value.fix


def test_second_client_is_told_in_the_servers_own_words(virtual_board: VirtualBoard) -> None:
    info = virtual_board.info()
    first = open_stream(str(info["socket_url"]))
    try:
        wait_until(lambda: virtual_board.info()["client"] == "socket")
        for words in (["sync"], ["flash", "--firmware", str(demo_image())]):
            done = keyfob(*words, "--board", "esp32", "--port", own_url(virtual_board))
            assert done.returncode == ExitStatus.HOST
            assert "error  port.turned-away" in done.stderr
            assert "another program has this board's serial port open" in done.stderr
    finally:
        first.close()


@needs_ser2net
def test_server_that_goes_away_is_noticed_at_once(
    virtual_board: VirtualBoard, tmp_path: Path
) -> None:
    with served_by_ser2net(virtual_board, tmp_path) as url:
        console = Console(url, reopen_timeout_s=0.2)
    with console, pytest.raises(KeyfobHostError) as caught:
        console.wait_line("never", timeout_s=20)
    assert caught.value.code == "port.unplugged"
    assert "see that its server runs" in caught.value.fix
    with served_by_ser2net(virtual_board, tmp_path) as url:
        prompt = connect(url)
    with prompt, pytest.raises(KeyfobHostError) as caught:
        began = time.monotonic()
        prompt.exec("print(1)")
    assert caught.value.code == "board.connection-lost"
    assert "the server closed the connection" in caught.value.evidence
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_ctrl_c_while_flashing_leaves_no_program_behind_and_the_port_free(
    virtual_board: VirtualBoard, image: bytes
) -> None:
    url = own_url(virtual_board)
    words = ["flash", "--board", "esp32", "--port", url, "--firmware", str(demo_image())]
    run = subprocess.Popen([*KEYFOB, *words], stderr=subprocess.PIPE, text=True)
    try:
        assert run.stderr is not None
        for line in run.stderr:
            if line.strip() in ("erasing", "writing"):
                break
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
        assert run.wait(30) == ExitStatus.INTERRUPTED
    finally:
        run.kill()
        run.wait()
    assert "error  flash.interrupted" in said
    assert f"keyfob flash --board esp32 --port {url}" in said
    wait_until(lambda: virtual_board.info()["client"] is None)
    assert keyfob(*words).returncode == 0
    assert flash_of(virtual_board, len(image)) == image


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", SERVERS)
def test_suite_runs_on_it_and_skips_what_cannot_be_done_to_it(
    server: str,
    virtual_board: VirtualBoard,
    served: Callable[[str, VirtualBoard], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEYFOB_WIFI_PASSWORD", "keyfob-bench-password")
    done = keyfob(
        "--json", "hil", "run", "smoke", "--board", "esp32",
        "--port", served(server, virtual_board),
        "--bench-address", "127.0.0.1", "--wifi-ssid", "keyfob-bench", timeout_s=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    skipped = [one["reason"] for one in told["results"] if one["verdict"] == "skip"]
    assert told["pass"] >= 5 and told["pass"] + len(skipped) == len(told["results"]), told
    assert all("cannot be switched from here" in reason for reason in skipped), skipped
