"""Virtual ESP8266s for tests: flashed, powered on, at their prompt."""

from __future__ import annotations

from pathlib import Path

from virtual_rig import SerialConsole, log, tool, wait_for_log

from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

KIND = "virtual-esp8266"
PROMPT = ">>> "


def make_esp8266(
    home: Home, name: str = KIND, *, flashed: bytes | None = None, powered: bool = True
) -> VirtualBoard:
    """Up, with ``flashed`` (by default a sound image) at the start of its flash."""
    board = VirtualBoard.up(home, KIND, name, powered=False)
    with Path(board.info()["flash"]).open("r+b") as flash:
        flash.write(esp8266_stand_in() if flashed is None else flashed)
    if powered:
        board.power(True)
    return board


def booted_esp8266(home: Home, name: str = KIND) -> VirtualBoard:
    """As `make_esp8266`, in its REPL."""
    board = make_esp8266(home, name)
    wait_for_log(board, PROMPT)
    return board


def run(board: VirtualBoard, code: str) -> str:
    with SerialConsole(board) as console:
        return console.run(code).decode()


def write(board: VirtualBoard, path: str, text: str) -> None:
    run(board, f"with open({path!r}, 'w') as f: f.write({text!r})")


def error_of(board: VirtualBoard, code: str) -> str:
    """The last line of the traceback that ``code`` ends with."""
    return mpremote_fails(board, "exec", code).strip().splitlines()[-1]


def mpremote_fails(board: VirtualBoard, *arguments: str) -> str:
    done = tool("mpremote", "connect", board.info()["pty"], *arguments)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def reset(board: VirtualBoard) -> None:
    """Press the button, wait for the prompt."""
    before = log(board).count(PROMPT)
    board.reset()
    wait_for_log(board, PROMPT, before + 1)
