"""The device shell in the heap of an ESP8266: 38 KB, with objects of 32 bits.

The package is compiled and its names are shortened as for such a board, and it runs in
place, from a ROMFS image that ``mpremote romfs`` built, on a MicroPython of 32 bits. TLS is
not there, nor what an ESP8266's takes of the heap. Garbage is collected as often as
`keyfob.start` has it. (With the package loaded into the heap, as from a file system, 38 KB
are enough for ``help`` and ``errors``.)
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import CLIENT_AUTH, make_ca, make_leaf
from firmware_bench import DEVICE_ID, FIRMWARE, HERE, Board
from mqtt_rig import Host, Plain, make_package
from terminal import Terminal

from keyfob_host.mpy import board_files
from keyfob_host.names import merge_names
from keyfob_host.virtual.micropython32 import Unavailable

sys.path.append(str(HERE.parent.parent / "tools"))
import micropython32

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]
HEAP_BYTES = 38 << 10
PROMPT = "keyfob> "
Story = Callable[["Shell", Host], None]
PATHS = (
    ("config.py", '"/keyfob.json"'),
    ("floor.py", '"/clock"'),
    ("outbox.py", '"/outbox"'),
    ("shell.py", '"/errors.txt"'),
    ("store.py", '"/id"'),
)


@pytest.fixture(scope="module")
def micropython() -> list[str]:
    try:
        return micropython32.command()
    except Unavailable as why:
        pytest.skip(f"no 32-bit MicroPython: {why}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Plain]:
    with Plain(tmp_path / "broker") as running:
        yield running


@pytest.fixture(params=[True])
def flash(request: pytest.FixtureRequest, tmp_path: Path, broker: Plain) -> Path:
    """A folder as the board's flash: identity, settings, errors.txt, and ``rom``.

    That is a ROMFS image with the compiled package, as ``mpremote romfs`` deploys it, with
    short names where the parameter says so.
    """
    flash, modules = tmp_path / "flash", tmp_path / "modules"
    flash.mkdir()
    edits = [(file, path, f'"{flash}{path[1:]}') for file, path in PATHS]
    # What the real way to the broker tells, and the shell waits for.
    edits += [
        ("uplink.py", "from keyfob import stream", "from keyfob import events, stream"),
        (
            "uplink.py",
            "        return await stream",
            '        events.emit("tls.up", version="none", cipher="none", host="")\n'
            "        return await stream",
        ),
    ]
    sources = make_package(tmp_path / "sources", *edits)
    files = board_files(sources)
    for file in merge_names(sources, files) if request.param else files:
        if file.path.startswith("/keyfob/"):
            target = modules / file.path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
    shutil.copy(FIRMWARE / "errors.txt", flash)
    for shim in ("network", "machine"):
        shutil.copy(HERE / "shims" / f"{shim}.py", modules)
    ca = make_ca()
    board = Board.__new__(Board)
    board.folder = flash
    board.provision([ca], make_leaf(ca, DEVICE_ID, usage=CLIENT_AUTH))
    settings = {
        "device_id": DEVICE_ID,
        "wifi": {"ssid": "bench", "password": "bench-password"},
        "ntp": {"servers": ["127.0.0.1"]},
        "broker": {"host": "127.0.0.1", "port": broker.port},
        "limits": {"rx_bytes": 512, "tx_bytes": 512, "payload_bytes": 256, "inflight": 2},
    }
    (flash / "keyfob.json").write_text(json.dumps(settings))
    rom = [sys.executable, "-m", "mpremote", "romfs", "--no-mpy", "-o", str(flash / "rom")]
    subprocess.run([*rom, "build", str(modules)], check=True, capture_output=True)
    return flash


RUN = """
import ffi, gc, micropython, os, sys, uctypes, vfs
libc = ffi.open("libc.so.6")
rom = libc.func("i", "open", "si")("rom", 0)
size = os.stat("rom")[6]
# Read-only and private: what is mapped is no part of the heap, as flash is none.
at = libc.func("p", "mmap", "piiiii")(0, size, 1, 2, rom, 0)
vfs.mount(vfs.VfsRom(uctypes.bytearray_at(at, size)), "/rom")
sys.path[:] = ["/rom", ".frozen"]
del libc, rom, size, at
micropython.qstr_info()
gc.threshold(2048)
gc.collect()
before = gc.mem_alloc()
from keyfob import shell
shell.start()
del shell
gc.collect()
micropython.qstr_info()
print("left", gc.mem_alloc() - before, [name for name in sys.modules if "shell" in name])
"""


def _names_bytes(text: str) -> int:
    found = re.search(r"qstr pool: .*n_total_bytes=(\d+)", text)
    assert found
    return int(found[1])


class Shell:
    """The shell in a heap of so many bytes."""

    def __init__(self, micropython: list[str], flash: Path, heap_bytes: int) -> None:
        (flash / "run.py").write_text(RUN)
        command = [*micropython, "-X", f"heapsize={heap_bytes}", "run.py"]
        self._terminal = Terminal(command, flash)
        self._names_bytes = _names_bytes(self._terminal.read_until(PROMPT))

    def type(self, line: str, wanted: str) -> str:
        """What the command printed; ``wanted`` is in it."""
        self._terminal.send(line + "\r")
        self._terminal.read_until(line)
        text = self._terminal.read_until("\n" + PROMPT)
        assert "No memory" not in text and "Traceback" not in text, f"{line}: {text}"
        assert wanted in text, f"{line}: {text}"
        return text

    def wait_for(self, text: str) -> None:
        self._terminal.read_until(text)

    def leave(self) -> int:
        """Bytes that stay allocated, beside names; none of the shell's modules does.

        MicroPython keeps every name that it ever met.
        """
        self._terminal.send("exit\r")
        text = self._terminal.read_until("]\n")
        found = re.search(r"left (\d+) (.*)\n", text)
        assert found and self._terminal.ended() == 0
        assert found[2] == "[]"
        return int(found[1]) - (_names_bytes(text) - self._names_bytes)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.__exit__()


def ask_the_board(shell: Shell, host: Host) -> None:
    shell.type("help", "mqtt subscribe [-q QOS] FILTER")
    shell.type("errors x509.expired", "cause: ")
    shell.type("errors nonsense", "There is no error code")
    shell.type("date", "date    20")
    shell.type("wifi", "state")


def show_the_identity(shell: Shell, host: Host) -> None:
    shell.type("certs", "subject      sensor-01")
    shell.type("certs", "sha256")


def talk_to_the_broker(shell: Shell, host: Host) -> None:
    shell.type("mqtt publish -s said/stored 99", "stored; it goes out")
    shell.type("mqtt connect", "connected; events")
    assert host.wait_for("said/stored", range(99, 100)) == {99: 1}
    shell.type("mqtt subscribe heard/+", "heard/+")
    for number in range(10):
        shell.type(f"mqtt publish -q {number % 3} said/{number} {number}", "")
        assert host.wait_for(f"said/{number}", range(number, number + 1)) == {number: 1}
    host.publish("heard/a", 77, 1)
    shell.wait_for("heard/a  77")
    shell.type("mqtt status", "connected     127.0.0.1")
    shell.type("mqtt disconnect", "disconnected")


STORIES = (ask_the_board, show_the_identity, talk_to_the_broker)


@pytest.fixture
def host(broker: Plain) -> Iterator[Host]:
    with Host(broker.port, "said/#") as running:
        yield running


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_shell_works_within_38_kb_of_heap(
    micropython: list[str], flash: Path, host: Host, story: Story
) -> None:
    with Shell(micropython, flash, HEAP_BYTES) as shell:
        story(shell, host)
        print(f"{story.__name__}: {shell.leave()} bytes stay allocated")


# With the names that `_names_bytes` can tell: one that two things share is in no pool twice.
@pytest.mark.parametrize("flash", [False], indirect=True)
def test_the_shell_leaves_next_to_nothing_in_memory(
    micropython: list[str], flash: Path, host: Host
) -> None:
    with Shell(micropython, flash, 2 * HEAP_BYTES) as shell:
        for story in STORIES:
            story(shell, host)
        assert shell.leave() < 2048
