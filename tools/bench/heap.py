"""The smallest heap of a 32-bit MicroPython in which a whole story ends well.

The story: connect, subscribe, 50 QoS 1 publishes and 50 receptions; for the clients that
can, with the connection cut half-way, so with a reconnect and a redelivery. Keyfob has a
second one: 1 MB streamed each way, the connection cut in the middle of what it gets. The
code is either loaded from ``.mpy`` files, which takes heap, or run in place from a ROMFS
image that is mapped beside the heap, as boards with a ROMFS partition do, or frozen into the
interpreter (`frozen`). A heap is large enough in which the story ends well three times in a
row: on the edge it is a matter of luck.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import micropython32  # beside the script that was started
from keyfob_host.mpy import BoardFile
from keyfob_host.names import merge_names
from keyfob_host.relay import Fault, TcpRelay

from . import frozen, rig
from .measure import Subject

_STORY_LIMIT_S = 12.0
_STEP_BYTES = 128
_TIMES = 3
_PLENTY_BYTES = 60 << 10  # with more, the firmware keeps what it would drop
_LEAST_BYTES, _MOST_BYTES = 1024, 128 << 10
# Maps the image, mounts it, and leaves nothing of itself behind.
_ROM = """\
import ffi, gc, os, sys, uctypes, vfs


def mount():
    libc = ffi.open("libc.so.6")
    image = libc.func("i", "open", "si")("rom.img", 0)
    size = os.stat("rom.img")[6]
    at = libc.func("p", "mmap", "piiiii")(0, size, 1, 2, image, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at, size)), "/rom")
    sys.path[:] = ["/rom", ".frozen"]


mount()
del mount, ffi, os, uctypes, vfs
del sys.modules["bench_rom"]
gc.collect()
"""


@dataclass(frozen=True)
class Story:
    """``program``: the module that plays it, after the library's name. ``is_cut``: whether
    the client is one that comes back. ``is_frozen``: in the subject's own interpreter."""

    program: str
    is_rom: bool
    is_cut: bool
    is_frozen: bool = False


def smallest(subject: Subject, story: Story) -> int | None:
    """Bytes of the smallest heap in which ``story`` ends well; None if in none we try."""
    if story.is_rom:
        make_rom(subject.board)
    with _link(subject, story) as (port, relay):
        there = replace(subject, port=port)
        total = 0
        if relay:
            if not _ends(there, story, _MOST_BYTES, None, 0):
                return None
            total = relay.bytes_passed("down")
        if not _ends(there, story, _MOST_BYTES, relay, total // 2):
            return None
        low, high = _LEAST_BYTES, _MOST_BYTES
        while high - low > _STEP_BYTES:
            middle = (low + high) // 2
            if _ends(there, story, middle, relay, total // 2):
                high = middle
            else:
                low = middle
        while not all(_ends(there, story, high, relay, total // 2) for _ in range(_TIMES)):
            high += _STEP_BYTES
    return high


@contextmanager
def _link(subject: Subject, story: Story) -> Iterator[tuple[int, TcpRelay | None]]:
    if not story.is_cut:
        yield subject.port, None
        return
    with TcpRelay(("127.0.0.1", subject.port)) as relay:
        yield relay.port, relay


def _ends(
    subject: Subject, story: Story, heap_bytes: int, relay: TcpRelay | None, at_byte: int
) -> bool:
    first = len(relay.connections) if relay else 0
    if relay:
        relay.fail(Fault("cut", "down", at_byte=at_byte))
    process = subprocess.Popen(
        command(subject, story, heap_bytes), cwd=subject.board, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    timer = threading.Timer(_STORY_LIMIT_S, process.kill)
    timer.start()
    try:
        assert process.stdout  # noqa: S101
        for line in process.stdout:
            if line.startswith("bench "):
                return not relay or len(relay.connections) > first + 1
            if "no-memory" in line:  # with more heap there is none
                return False
            if relay and '"ev":"mqtt.down"' in line:
                relay.clear()
        return False
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def steps(subject: Subject, is_frozen: bool) -> dict[str, int]:
    """What the collector holds after each step of `keyfob_steps`, in a heap with plenty."""
    make_rom(subject.board)
    story = Story("steps", is_rom=not is_frozen, is_cut=False, is_frozen=is_frozen)
    done = subprocess.run(
        command(subject, story, _PLENTY_BYTES), cwd=subject.board, capture_output=True,
        text=True, timeout=_STORY_LIMIT_S, check=True,
    )  # fmt: skip
    found = re.findall(r"^step (\S+) (\d+)$", done.stdout, re.MULTILINE)
    return {name: int(held) for name, held in found}


def command(subject: Subject, story: Story, heap_bytes: int) -> list[str]:
    """The words that play ``story`` in the folder of the board; see `make_rom`."""
    words = micropython32.command()
    before = "import bench_rom;" if story.is_rom else ""
    module = f"{subject.library}_{story.program}"
    if story.is_frozen and subject.frozen:
        words = frozen.command(subject.frozen)
        before = "import sys;sys.path[:]=['.frozen'];"
        module = frozen.PREFIX + module
    return [
        *words, "-X", f"heapsize={heap_bytes}",
        "-c", f"{before}import {module}", str(subject.port), subject.transport,
    ]  # fmt: skip


def make_rom(board: Path) -> None:
    """``rom.img`` with every module of the board, and the module that mounts it.

    Keyfob's has the short names that ``keyfob sync`` gives a board with a small heap.
    """
    if (board / "rom.img").exists():
        return
    files = [
        BoardFile(f"/{path.relative_to(board).as_posix()}", path.read_bytes())
        for path in sorted(board.rglob("*.mpy"))
    ]
    if (board / "keyfob").exists():
        files = merge_names(rig.sources_of(board), files)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "bench_rom.py")
        source.write_text(_ROM)
        tree = Path(scratch, "tree")
        for file in files:
            target = tree / file.path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
        program = Path(sys.executable).with_name("mpremote")
        image = board / "rom.img"
        words = ["romfs", "--no-mpy", "--output", str(image), "build", str(tree)]
        subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)
        rig.compile_file(source, board / "bench_rom.mpy")
