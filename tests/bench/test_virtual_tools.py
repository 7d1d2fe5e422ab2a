"""Stock mpremote and stock ampy, run as programs, on a virtual board's terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from virtual_rig import WAIT_S, log, mpremote, tool, wait_for_log, wait_until

from keyfob_host.virtual import VirtualBoard


@pytest.fixture
def board(virtual_board: VirtualBoard) -> VirtualBoard:
    return virtual_board


def ampy(board: VirtualBoard, *arguments: str | Path) -> str:
    """What stock ampy printed; it must succeed."""
    done = tool("ampy", "--port", board.info()["pty"], *arguments)
    assert done.returncode == 0, f"ampy {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def test_mpremote_exec_and_eval(board: VirtualBoard) -> None:
    assert mpremote(board, "exec", "print('hello'); print(6 * 7)") == "hello\n42\n"
    assert mpremote(board, "eval", "__import__('sys').platform") == "esp32\n"


def test_mpremote_exec_shows_an_exception_and_fails(board: VirtualBoard) -> None:
    done = tool("mpremote", "connect", board.info()["pty"], "exec", "1/0")
    assert done.returncode == 1
    assert "ZeroDivisionError: divide by zero" in done.stdout + done.stderr


def test_mpremote_run(board: VirtualBoard, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("for i in range(3):\n    print('line', i)\n")
    assert mpremote(board, "run", script) == "line 0\nline 1\nline 2\n"


def test_mpremote_file_commands(board: VirtualBoard, tmp_path: Path) -> None:
    data = bytes(range(256)) * 100
    here, back = tmp_path / "here.bin", tmp_path / "back.bin"
    here.write_bytes(data)
    mpremote(board, "fs", "mkdir", ":sub")
    mpremote(board, "fs", "cp", here, ":sub/there.bin")
    assert "25600 there.bin" in mpremote(board, "fs", "ls", ":sub")
    mpremote(board, "fs", "cp", ":sub/there.bin", back)
    assert back.read_bytes() == data
    assert mpremote(board, "fs", "cat", ":boot.py").startswith("# This file is executed")
    mpremote(board, "fs", "rm", ":sub/there.bin")
    mpremote(board, "fs", "rmdir", ":sub")
    assert "sub" not in mpremote(board, "fs", "ls")


def test_mpremote_soft_reset_and_reset(board: VirtualBoard) -> None:
    mpremote(board, "exec", "open('boot.py', 'w').write('print(1234)')", "soft-reset")
    wait_for_log(board, "MPY: soft reboot\r\n1234\r\n")
    mpremote(board, "reset")
    wait_for_log(board, "rst:0xc (SW_CPU_RESET)")
    assert mpremote(board, "exec", "import machine; print(machine.reset_cause())") == "5\n"


def test_mpremote_repl(board: VirtualBoard) -> None:
    master, slave = pty.openpty()
    program = [Path(sys.executable).with_name("mpremote"), "connect", board.info()["pty"], "repl"]
    run = subprocess.Popen(program, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        _expect(master, b"to exit this shell")
        os.write(master, b"\r\n")
        _expect(master, b">>> ")
        os.write(master, b"print(6 * 7)\r")
        _expect(master, b"42")
        os.write(master, b"\x02")
        _expect(master, b"Virtual ESP32 with ESP32")
        os.write(master, b"while True: pass\r\r\r")
        os.write(master, b"\x03")
        _expect(master, b"KeyboardInterrupt")
        os.write(master, b"\x04")
        _expect(master, b"MPY: soft reboot")
        os.write(master, b"\x1d")
        assert run.wait(WAIT_S) == 0
    finally:
        run.kill()
        run.wait()
        os.close(master)


def test_mpremote_mip_from_a_local_folder(board: VirtualBoard, tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "thing").mkdir(parents=True)
    (package / "thing" / "__init__.py").write_text("ANSWER = 42\n")
    urls = [["thing/__init__.py", "thing/__init__.py"]]
    (package / "package.json").write_text(json.dumps({"urls": urls, "version": "1.0"}))
    mpremote(board, "mip", "install", "--no-mpy", package / "package.json")
    assert mpremote(board, "exec", "import thing; print(thing.ANSWER)") == "42\n"


def test_mpremote_over_the_other_ports(board: VirtualBoard) -> None:
    for port in ("socket_url", "rfc2217_url"):
        done = tool("mpremote", "connect", board.info()[port], "exec", "print(6 * 7)")
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_ampy_file_commands(board: VirtualBoard, tmp_path: Path) -> None:
    here, back = tmp_path / "here.txt", tmp_path / "back.txt"
    here.write_bytes(b"some text\nof two lines\n" * 200)
    ampy(board, "put", here, "there.txt")
    assert "/there.txt" in ampy(board, "ls")
    ampy(board, "get", "there.txt", back)
    assert back.read_bytes() == here.read_bytes()


def test_ampy_run_and_reset(board: VirtualBoard, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('from ampy', 6 * 7)\n")
    assert ampy(board, "run", script).strip() == "from ampy 42"
    ampy(board, "reset")
    wait_until(lambda: "MPY: soft reboot" in log(board))
    assert ampy(board, "ls").split() == ["/boot.py"]


def test_heap_is_the_boards(board: VirtualBoard) -> None:
    """MicroPython's objects are twice as large here, and so is the heap."""
    free = int(mpremote(board, "exec", "import gc; gc.collect(); print(gc.mem_free())"))
    heap = 2 * 111_168
    assert 0.9 * heap < free < 1.15 * heap


def _expect(terminal: int, words: bytes) -> None:
    seen = b""
    end = time.monotonic() + WAIT_S
    while words not in seen:
        left = end - time.monotonic()
        assert left > 0, f"waited in vain for {words!r}, got {seen!r}"
        if select.select([terminal], [], [], left)[0]:
            seen += os.read(terminal, 4096)
