"""Fixtures of the virtual bench: boards with a real image in their flash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from virtual_rig import IMAGE_OFFSET, wait_for_log

from keyfob_host.flash.images import demo_image
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard, running


@pytest.fixture(scope="session")
def image() -> bytes:
    """A real MicroPython image for the ESP32, to be written at `IMAGE_OFFSET`."""
    return demo_image().read_bytes()


@pytest.fixture
def bench_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A bench of its own; its boards are ended after the test."""
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "bench"))
    home = Home(tmp_path / "bench")
    yield home
    for board in running(home):
        board.down()


@pytest.fixture
def make_board(bench_home: Home, image: bytes) -> Callable[..., VirtualBoard]:
    """``make_board(name, image=…, powered=True)``: up, with an image copied into its flash."""

    def make(
        name: str = "virtual-esp32", *, flashed: bytes | None = image, powered: bool = True
    ) -> VirtualBoard:
        board = VirtualBoard.up(bench_home, "virtual-esp32", name, powered=False)
        if flashed is not None:
            with Path(board.info()["flash"]).open("r+b") as flash:
                flash.seek(IMAGE_OFFSET)
                flash.write(flashed)
        if powered:
            board.power(True)
        return board

    return make


@pytest.fixture
def virtual_board(make_board: Callable[..., VirtualBoard]) -> VirtualBoard:
    """A virtual board that has booted a real image and waits in its REPL."""
    made = make_board()
    wait_for_log(made, ">>> ")
    return made
