"""The transport on a virtual board: every way in, programs that run, resets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from provision_bench import powered_board

from keyfob_host.boards import BoardRef
from keyfob_host.errors import KeyfobHostError
from keyfob_host.transport import connect, files, open_transport, prompt

VIAS = ("mpremote", "ampy")

_PROGRAMS = {
    "asyncio": "import asyncio\nasync def main():\n while True:\n  await asyncio.sleep(1)\n"
    "asyncio.run(main())",
    "asyncio-printing": "import asyncio\nasync def main():\n while True:\n  print('tick')\n"
    "  await asyncio.sleep_ms(1)\nasyncio.run(main())",
    "flood": 'while True: print(\'kf {"t":1,"ev":"flood"}\')',
    "busy": "while True: pass",
    "catches-three-interrupts": "n=0\nwhile n<3:\n try:\n  while True: pass\n"
    " except KeyboardInterrupt: n+=1",
}


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardRef]:
    with powered_board(tmp_path_factory.mktemp("board")) as board:
        yield board


def _info(ref: BoardRef) -> dict[str, Any]:
    assert ref.virtual is not None
    return ref.virtual.info()


@pytest.mark.parametrize("port", ["pty", "socket_url", "rfc2217_url"])
def test_mpremote_works_on_every_port(ref: BoardRef, port: str) -> None:
    with connect(_info(ref)[port]) as board:
        board.write("/file", b"over " * 200)
        assert board.read("/file") == b"over " * 200
        assert board.eval("1 + 1") == 2


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("program", _PROGRAMS)
def test_a_running_program_is_interrupted(ref: BoardRef, via: str, program: str) -> None:
    with open_transport(ref, via) as board:
        board.write("/main.py", _PROGRAMS[program].encode())
        board.reset()
    time.sleep(0.5)
    with open_transport(ref, via) as board:
        assert board.eval("6*7") == 42
        files.remove(board, ["/main.py"])


@pytest.mark.parametrize("via", VIAS)
def test_reset_starts_the_board_anew(ref: BoardRef, via: str) -> None:
    boots = _info(ref)["boots"]
    with open_transport(ref, via) as board:
        board.reset()
    deadline = time.monotonic() + 5
    while _info(ref)["boots"] == boots and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _info(ref)["boots"] == boots + 1


def test_the_work_starts_with_nothing_of_the_program_before(ref: BoardRef) -> None:
    with open_transport(ref) as board:
        board.exec("left = 1")
    with open_transport(ref) as board:
        assert board.eval("'left' in globals()") is False


def test_code_that_never_ends_is_given_up_and_the_board_can_be_used_again(ref: BoardRef) -> None:
    with open_transport(ref) as board, pytest.raises(KeyfobHostError) as caught:
        board.exec("while True: pass", timeout_s=0.3)
    assert caught.value.code == "board.no-answer"
    with open_transport(ref) as board:
        assert board.eval("2+2") == 4


def test_a_board_that_is_off_says_so_at_once(ref: BoardRef) -> None:
    assert ref.virtual is not None
    ref.virtual.power(False)
    try:
        with pytest.raises(KeyfobHostError) as caught:
            open_transport(ref)
    finally:
        ref.virtual.power(True)
    assert caught.value.code == "board.not-running"
    assert caught.value.fix == "keyfob board power on virtual-esp32"


def test_power_cut_at_any_write_leaves_the_old_file_or_the_new_one(
    ref: BoardRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ref.virtual is not None
    # A dead board is given up after 10 s; here it is known to be dead.
    read_until = prompt.read_until
    monkeypatch.setattr(
        prompt,
        "read_until",
        lambda port, ending, _: read_until(port, ending, time.monotonic() + 0.5),
    )
    monkeypatch.setattr(prompt, "READ_TIMEOUT_S", 0.5)
    old, new = b"old" * 500, b"new" * 900
    for operations in range(1, 12):
        with open_transport(ref) as board:
            board.write("/file", old)
            ref.virtual.flash_fault(operations)
            try:
                board.write("/file", new)
            except KeyfobHostError as error:
                assert error.code in ("board.connection-lost", "board.no-answer")
        ref.virtual.flash_fault(None)
        ref.virtual.power(False)
        ref.virtual.power(True)
        with open_transport(ref) as board:
            assert board.read("/file") in (old, new)
