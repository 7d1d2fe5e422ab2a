"""Ctrl-C on a virtual board: taken where a chip's interpreter takes it, at any moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest
from virtual_rig import SerialConsole, log, wait_for_log, wait_until

from keyfob_host.transport import connect
from keyfob_host.virtual import VirtualBoard


@pytest.fixture
def board(virtual_board: VirtualBoard) -> VirtualBoard:
    return virtual_board


def _put(board: VirtualBoard, name: str, program: str) -> None:
    """Write ``program`` into the file ``name``; the board runs on."""
    with connect(board.info()["socket_url"], soft_reset=False) as transport:
        transport.write(name, program.encode())
    wait_until(lambda: board.info()["client"] is None)


def _interrupt(console: SerialConsole, code: str) -> bytes:
    """Run ``code`` in the raw REPL until it has printed ``begun``, end it; what it said."""
    console.send(b"\x03\x01")
    console.read_until(b"exit\r\n>")
    console.send(code.encode() + b"\x04")
    console.read_until(b"OKbegun\r\n")
    console.send(b"\x03")
    return console.read_until(b"\x04>")


def test_what_the_interpreter_calls_is_not_torn_apart(board: VirtualBoard) -> None:
    """Between two lines without a branch no KeyboardInterrupt is raised, and never in a line."""
    code = (
        "import hashlib\n"
        "h, b = hashlib.sha256(), bytes(60000)\n"
        "try:\n"
        " print('begun')\n" + " h.update(b)\n" * 600 + " print('whole')\n"
        " while True: pass\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    with SerialConsole(board) as console:
        assert _interrupt(console, code) == b"whole\r\ninterrupted\r\n\x04\x04>"


def test_an_interrupt_in_garbage_collection_leaves_the_heap_whole(board: VirtualBoard) -> None:
    code = "import gc\nprint('begun')\nwhile True: gc.collect()"
    with SerialConsole(board) as console:
        for number in range(20):
            assert b"KeyboardInterrupt" in _interrupt(console, code)
            assert console.run(f"print(len(bytes(20000)), {number})") == b"20000 %d\n" % number


def test_an_interrupt_while_writing_files_leaves_the_file_system_whole(
    board: VirtualBoard,
) -> None:
    code = (
        "import os\nprint('begun')\n"
        "while True:\n"
        " with open('/new', 'w') as file: file.write('0123456789' * 400)\n"
        " os.rename('/new', '/old')\n"
    )
    with SerialConsole(board) as console:
        for _ in range(20):
            assert b"KeyboardInterrupt" in _interrupt(console, code)
        read = "import os\nprint(len(open('/old').read()), sorted(os.listdir('/'))[0])"
        assert console.run(read) == b"4000 boot.py\n"
    board.reset()
    wait_for_log(board, ">>> ", 2)
    with SerialConsole(board) as console:
        assert console.run(read) == b"4000 boot.py\n"


def test_a_program_that_only_asks_the_bench_is_interrupted(board: VirtualBoard) -> None:
    """It is nearly always inside a request, which must not be torn apart either."""
    code = (
        "import machine\np = machine.Pin(12, machine.Pin.OUT)\nprint('begun')\n"
        "while True:\n p.value(1)\n p.value(0)\n"
    )
    with SerialConsole(board) as console:
        for number in range(20):
            assert b"KeyboardInterrupt" in _interrupt(console, code)
            put = f"import machine\nprint(machine.Pin(13, 3, value={number % 2}).value())"
            assert console.run(put) == b"%d\n" % (number % 2)


def test_an_interrupt_while_a_failure_is_printed_does_not_hide_the_prompt(
    board: VirtualBoard,
) -> None:
    program = (
        "class Slow(Exception):\n"
        " def __repr__(self):\n"
        "  print('printing')\n"
        "  for _ in range(2000000): pass\n"
        "  return 'slow'\n"
        "raise Slow\n"
    )
    _put(board, "/boot.py", program)
    with SerialConsole(board) as console:
        board.reset()
        console.read_until(b"printing\r\n")
        console.send(b"\x03")
        assert b"Virtual ESP32" in console.read_until(b">>> ")
        assert console.run("print('alive')") == b"alive\n"


def test_ctrl_c_typed_in_the_boot_ends_boot_py_and_gives_the_boards_prompt(
    board: VirtualBoard,
) -> None:
    """It waits until boot.py runs, and reaches it with its first line."""
    _put(board, "/boot.py", "while True: pass\n")
    with SerialConsole(board) as console:
        board.reset()
        console.send(b"\x03")
        console.read_until(b"KeyboardInterrupt")
        for _ in range(20):
            console.send(b"\x04")
            console.read_until(b"soft reboot\r\n")
            console.send(b"\x03")
            assert b"KeyboardInterrupt" in console.read_until(b"Virtual ESP32")
            console.read_until(b">>> ")


def test_what_is_typed_over_a_soft_reset_is_read_after_it(board: VirtualBoard) -> None:
    with SerialConsole(board) as console:
        console.send(b"\x04print('after')\r")
        console.read_until(b"soft reboot\r\n")
        assert b">>> print('after')\r\nafter\r\n" in console.read_until(b"after\r\n>>> ")


_PROGRAMS = {
    "asking": "import machine\np = machine.Pin(5, machine.Pin.OUT)\nwhile True: p.value(1)\n",
    "writing": "while True:\n with open('/clock', 'w') as f: f.write('1' * 99)\n print('w')\n",
    "waiting": (
        "import asyncio\nasync def main():\n while True:\n  print('kf')\n"
        "  await asyncio.sleep_ms(7)\nasyncio.run(main())\n"
    ),
    "collecting": "import gc\nwhile True:\n b = bytes(9000)\n gc.collect()\n",
}


def _enter_for(board: VirtualBoard, seconds: float, seed: int) -> int:
    """Enter and leave at random moments, whatever runs; how often. Raises what fails."""
    moments = random.Random(seed)
    end, entries = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        time.sleep(moments.choice((0, 0.003, 0.03)) * moments.random())
        with connect(board.info()["pty"], soft_reset=moments.random() < 0.6) as transport:
            entries += 1
            assert transport.eval("6 * 7") == 42
            if moments.random() < 0.3:
                program = moments.choice(sorted(_PROGRAMS.values()))
                transport.write("/main.py", program.encode())
            if moments.random() < 0.4:
                transport.reset()
    assert "FATAL" not in log(board)
    return entries


def test_the_prompt_is_had_at_any_moment(board: VirtualBoard) -> None:
    assert _enter_for(board, 3, seed=1) > 1


@pytest.mark.slow
def test_the_prompt_is_had_at_any_moment_on_a_busy_machine(
    make_board: Callable[..., VirtualBoard],
) -> None:
    """Each board's program and this very process compete for the processors."""
    boards = [make_board(f"board-{number}") for number in range(4)]
    failures: list[BaseException] = []

    def enter(number: int, board: VirtualBoard) -> None:
        try:
            _enter_for(board, 12, seed=number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=enter, args=pair) for pair in enumerate(boards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
