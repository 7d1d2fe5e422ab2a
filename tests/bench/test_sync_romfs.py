"""``keyfob sync`` to a virtual ESP8266: packages in ROMFS or as files, and all that can
happen on the way. Real mpremote, a real 32-bit MicroPython with 38 KB of heap."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from esp8266_rig import KIND, PROMPT, booted_esp8266, make_esp8266, run
from virtual_rig import SerialConsole, log, mpremote, wait_for_log, wait_until

from keyfob_host import romfs
from keyfob_host.boards import BoardRef, open_board
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.mpy import board_files
from keyfob_host.sync import SyncReport, sync_board
from keyfob_host.transport import prompt
from keyfob_host.virtual import VirtualBoard

ROMFS_AT, MAGIC = 0xB0000, b"\xd2\xcd\x31"
MAIN = "import pack\nprint('pack', pack.VALUE, pack.big.f7(2, 3), 'is here')\n"


@pytest.fixture
def board(bench_home: Home) -> VirtualBoard:
    return booted_esp8266(bench_home)


@pytest.fixture
def ref(board: VirtualBoard, bench_home: Home) -> BoardRef:
    return open_board(KIND, home=bench_home)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "firmware", 1)


def write_source(folder: Path, value: int) -> Path:
    """A program whose package takes some 6 KB, so that its image has many pieces."""
    (folder / "pack").mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(MAIN)
    (folder / "pack" / "__init__.py").write_text(f"from pack import big\nVALUE = {value}\n")
    (folder / "pack" / "big.py").write_text(
        "".join(
            f"def f{n}(a, b):\n    return a * {n} + b - (a // (b + {n + value})) * {n}\n"
            for n in range(150)
        )
    )
    return folder


def flash_of(board: VirtualBoard) -> bytes:
    return Path(board.info()["flash"]).read_bytes()


def image_of(source: Path) -> bytes:
    return romfs.build(romfs.split(board_files(source))[1]).data


def restarted(board: VirtualBoard) -> str:
    """What the board prints from power-on to its prompt."""
    board.power(False)
    before = len(log(board))
    board.power(True)
    wait_until(lambda: log(board)[before:].endswith(PROMPT), lambda: log(board)[before:])
    return log(board)[before:]


def keyfob(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob_host", *map(str, words), "--board", KIND],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


# -- Keyfob's own firmware


def test_the_firmware_runs_from_flash_and_leaves_the_heap_alone(board: VirtualBoard) -> None:
    used = {}
    measure = (
        "import gc\ngc.collect()\na = gc.mem_free()\nimport keyfob.mqtt.session, keyfob.config\n"
        "gc.collect()\nprint(a - gc.mem_free())"
    )
    for to in ("romfs", "files"):
        given = () if to == "romfs" else ("--to", to)  # the kind's own
        status, said = keyfob("sync", *given)
        assert status == 0, said
        assert ("ROMFS image of " in said) is (to == "romfs")
        assert "0 sent" in keyfob("sync", *given)[1]
        used[to] = int(mpremote(board, "exec", measure))
        shown = mpremote(board, "exec", "from keyfob import shell; shell.start('errors x509.')")
        assert "errors x509.expired" in shown
    assert used["files"] > used["romfs"] + 3000, used


def test_only_the_engine_that_is_asked_for_is_sent(board: VirtualBoard) -> None:
    has = "import os; print('opening.mpy' in os.listdir('/rom/keyfob/tls'))"
    for engine in ("mbedtls", "keyfob"):
        assert keyfob("sync", "--tls-engine", engine)[0] == 0
        assert mpremote(board, "exec", has).strip() == str(engine == "keyfob")


# -- both ways


def test_the_way_is_changed_there_and_back(
    board: VirtualBoard, ref: BoardRef, source: Path
) -> None:
    image = image_of(source)
    assert 4000 < len(image) < 20000
    for _ in range(2):
        report = sync_board(ref, source=source)
        assert report.image_sent
        assert "pack 1 17 is here" in restarted(board)
        assert flash_of(board)[ROMFS_AT:].startswith(image)
        assert run(board, "import os; print(sorted(os.listdir('/')))") == (
            "['boot.py', 'keyfob.sync', 'main.py', 'rom']\n"
        )
        assert "ROMFS image size: " in mpremote(board, "romfs", "query")
        before = hashlib.sha256(flash_of(board)).digest()
        report = sync_board(ref, source=source)
        assert (report.sent, report.image_sent) == ({}, False)
        assert hashlib.sha256(flash_of(board)).digest() == before
        report = sync_board(ref, source=source, to="files")
        assert report.image_dropped
        assert "pack 1 17 is here" in restarted(board)
        assert "Not a valid ROMFS" in mpremote(board, "romfs", "query")


def test_who_wants_plain_files_where_they_take_too_much_heap_is_told(ref: BoardRef) -> None:
    said: list[str] = []
    assert sync_board(ref, to="files", on_step=said.append).image is None
    assert said[-2:] == [
        "note   the program does not connect from plain files: "
        "about 64 KB of heap are wanted, 38 are here",
        "fix    keyfob sync --board virtual-esp8266 --to romfs",
    ]


def test_at_the_prompt_without_a_reset_the_new_image_is_mounted(
    board: VirtualBoard, ref: BoardRef, source: Path
) -> None:
    sync_board(ref, source=source, reset=False)
    with SerialConsole(board) as console:
        console.send(b"\rimport pack, sys; pack.VALUE, sys.path\r")
        console.read_until(b"(1, ['', '.frozen', '/rom', '/rom/lib', '/lib', '/'])\r\n>>> ")


def test_an_image_deployed_by_stock_mpremote_is_already_there(
    board: VirtualBoard, ref: BoardRef, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "firmware.romfs").write_bytes(image_of(source))
    mpremote(board, "romfs", "deploy", tmp_path / "firmware.romfs")
    report = sync_board(ref, source=source)
    assert (report.image_sent, list(report.sent)) == (False, ["/main.py"])
    assert "pack 1 17 is here" in restarted(board)


def test_over_ampy_the_same_image_arrives(board: VirtualBoard, ref: BoardRef, source: Path) -> None:
    assert sync_board(ref, source=source, via="ampy").image_sent
    assert flash_of(board)[ROMFS_AT:].startswith(image_of(source))
    assert "pack 1 17 is here" in restarted(board)


# -- what hides the image


def test_a_folder_of_the_users_is_refused_and_pruned(
    board: VirtualBoard, ref: BoardRef, source: Path
) -> None:
    run(board, "import os\nos.mkdir('pack')\nopen('pack/mine.py', 'w').close()")
    with pytest.raises(KeyfobHostError) as caught:
        sync_board(ref, source=source)
    assert (caught.value.code, caught.value.evidence) == ("sync.shadowed", "/pack/mine.py")
    assert not flash_of(board)[ROMFS_AT:].startswith(MAGIC)
    restarted(board)
    assert sync_board(ref, source=source, prune=True).removed == ("/pack/mine.py",)
    assert "pack 1 17 is here" in restarted(board)


# -- boards without it


def test_a_board_without_romfs_is_told_of_and_takes_files(bench_home: Home, source: Path) -> None:
    image = bytearray(esp8266_stand_in().replace(b"rom_ioctl", b"no_ioctl_"))
    image[-16:] = hashlib.md5(image[4:-16], usedforsecurity=False).digest()
    board = make_esp8266(bench_home, flashed=bytes(image))
    wait_for_log(board, PROMPT)
    status, said = keyfob("sync", "--source", source)
    assert status == ExitStatus.BOARD
    assert "sync.no-romfs" in said
    assert "keyfob flash --board virtual-esp8266" in said
    fix = said.split("keyfob sync ")[1].split()
    assert fix == ["--board", KIND, "--to", "files"]
    assert keyfob("sync", "--source", source, *fix[2:])[0] == 0
    assert "pack 1 17 is here" in restarted(board)


def test_an_image_larger_than_the_partition_is_refused_before_the_board_is_changed(
    board: VirtualBoard, ref: BoardRef, source: Path
) -> None:
    (source / "pack" / "large.bin").write_bytes(os.urandom(330_000))
    before = flash_of(board)
    with pytest.raises(KeyfobHostError) as caught:
        sync_board(ref, source=source)
    assert caught.value.code == "sync.romfs-too-small"
    assert "partition 327680 bytes" in caught.value.evidence
    assert flash_of(board)[ROMFS_AT:] == before[ROMFS_AT:]


# -- interruptions


@pytest.mark.parametrize(
    "cuts", [(1, 4, 8), pytest.param(range(1, 400), marks=pytest.mark.slow)]
)  # fmt: skip
@pytest.mark.parametrize(("of", "to"), [("files", "romfs"), ("romfs", "files"), ("romfs", "romfs")])
@pytest.mark.timeout(1200)
def test_power_cut_at_any_write_ends_at_the_prompt_and_the_next_sync_completes_it(
    board: VirtualBoard, ref: BoardRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    of: Any, to: Any, cuts: Any,
) -> None:  # fmt: skip
    # A dead board is given up after 10 s; here it is known to be dead.
    read_until = prompt.read_until
    monkeypatch.setattr(
        prompt,
        "read_until",
        lambda port, ending, _: read_until(port, ending, time.monotonic() + 1.0),
    )
    monkeypatch.setattr(prompt, "READ_TIMEOUT_S", 1.0)
    old, new = write_source(tmp_path / "old", 1), write_source(tmp_path / "new", 2)
    images = (image_of(old), image_of(new))
    cut = 0
    for operations in cuts:
        sync_board(ref, source=old, to=of)
        board.flash_fault(operations)
        try:
            sync_board(ref, source=new, to=to)
            break
        except KeyfobHostError as error:
            assert error.code in ("board.connection-lost", "board.no-answer", "board.not-running")
            cut += 1
        board.flash_fault(None)
        seen = restarted(board)
        held = flash_of(board)[ROMFS_AT:]
        assert held.startswith(images) or not held.startswith(MAGIC)
        # Nothing is run that is half there: the whole program, or none.
        none = "ImportError: no module named 'pack'" in seen or "main.py" not in seen
        assert none or "is here" in seen, seen
        sync_board(ref, source=new, to=to)
        assert "pack 2 17 is here" in restarted(board)
        assert flash_of(board)[ROMFS_AT:].startswith(images[1]) is (to == "romfs")
    assert cut >= 3


def test_ctrl_c_while_the_image_is_written_leaves_none_and_the_next_sync_completes_it(
    board: VirtualBoard, source: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "keyfob_host", "sync", "--board", KIND, "--source", str(source)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen = ""
    while "25 %" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=20)[0]
    assert process.returncode == ExitStatus.INTERRUPTED, seen + rest
    assert "Traceback" not in rest
    assert not flash_of(board)[ROMFS_AT:].startswith(MAGIC)
    assert "Traceback" not in restarted(board)
    assert keyfob("sync", "--source", source)[0] == 0
    assert "pack 1 17 is here" in restarted(board)


def test_the_report_says_what_was_done_for_people_and_scripts(ref: BoardRef, source: Path) -> None:
    report: SyncReport = sync_board(ref, source=source)
    assert report.summary().startswith("ROMFS image of 2 files (")
    shown = report.as_dict()
    assert (shown["to"], shown["files"]) == ("romfs", 1)
    assert shown["image"] == {"files": 2, "bytes": len(image_of(source)), "sent": True}
