"""Stock esptool, run as a program, on a virtual board.

The whole image goes over ``socket://``, which is fast and has no control lines. What
needs them goes over RFC 2217 with small files: pyserial renegotiates that port at
every change of a time-out, which makes even the shortest session half a minute.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from virtual_rig import IMAGE_OFFSET, tool, wait_for_log, wait_until

from keyfob_host.virtual import VirtualBoard

MakeBoard = Callable[..., VirtualBoard]
FREE = 0x300000  # in the vfs partition, far from anything that boots


@pytest.fixture
def board(make_board: MakeBoard) -> VirtualBoard:
    """Erased, in download mode."""
    made = make_board(flashed=None, powered=False)
    made.download_mode()
    return made


def esptool(board: VirtualBoard, *arguments: str | Path) -> str:
    """What stock esptool printed over the plain socket; it must succeed."""
    lines = ("--before", "no-reset", "--after", "no-reset")
    done = tool("esptool", "--port", board.info()["socket_url"], *lines, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _flash(board: VirtualBoard) -> bytes:
    return Path(board.info()["flash"]).read_bytes()


def test_rom_says_that_it_waits(board: VirtualBoard) -> None:
    text = wait_for_log(board, "waiting for download\r\n")
    assert "boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))" in text
    assert board.info()["state"] == "download"


@pytest.mark.parametrize("stub", [(), ("--no-stub",)], ids=["stub", "no-stub"])
def test_chip_and_flash_are_identified(board: VirtualBoard, stub: tuple[str, ...]) -> None:
    text = esptool(board, *stub, "flash-id")
    assert "ESP32-D0WD-V3 (revision v3.0)" in text
    assert "40MHz" in text
    assert "Detected flash size: 4MB" in text
    mac = board.info()["mac"]
    assert ":".join(mac[i : i + 2] for i in range(0, 12, 2)) in text


def test_whole_image_is_written_verified_and_boots(
    board: VirtualBoard, image: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(image)
    assert "Hash of data verified." in esptool(board, "write-flash", hex(IMAGE_OFFSET), file)
    assert "digest matched" in esptool(board, "verify-flash", hex(IMAGE_OFFSET), file)
    assert _flash(board)[IMAGE_OFFSET:].startswith(image)
    board.reset()
    wait_for_log(board, ">>> ")
    assert board.info()["state"] == "running"


@pytest.mark.parametrize("compression", ["--compress", "--no-compress"])
@pytest.mark.parametrize("stub", [(), ("--no-stub",)], ids=["stub", "no-stub"])
def test_odd_sizes_are_written_exactly(
    board: VirtualBoard, tmp_path: Path, stub: tuple[str, ...], compression: str
) -> None:
    data = bytes(range(256)) * 40 + b"\xc0\xdb\xdc\xdd end"
    file, back = tmp_path / "data.bin", tmp_path / "back.bin"
    file.write_bytes(data)
    esptool(board, *stub, "write-flash", compression, hex(FREE), file)
    assert _flash(board)[FREE : FREE + len(data)] == data
    assert set(_flash(board)[FREE + len(data) :]) == {0xFF}
    esptool(board, *stub, "verify-flash", hex(FREE), file)
    esptool(board, *stub, "read-flash", hex(FREE), str(len(data)), back)
    assert back.read_bytes() == data


def test_verify_notices_a_difference(board: VirtualBoard, tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"not what is in the flash" * 10)
    lines = ("--before", "no-reset", "--after", "no-reset")
    port = board.info()["socket_url"]
    done = tool("esptool", "--port", port, *lines, "verify-flash", hex(FREE), file)
    assert done.returncode != 0
    assert "digest mismatch" in (done.stdout + done.stderr).lower()


def test_flash_and_region_are_erased(board: VirtualBoard, tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"\x00" * 0x3000)
    esptool(board, "write-flash", hex(FREE), file)
    esptool(board, "erase-region", hex(FREE + 0x1000), "0x1000")
    assert _flash(board)[FREE : FREE + 0x3000] == bytes(0x1000) + b"\xff" * 0x1000 + bytes(0x1000)
    esptool(board, "erase-flash")
    assert set(_flash(board)) == {0xFF}


def test_rom_alone_cannot_erase(board: VirtualBoard) -> None:
    lines = ("--before", "no-reset", "--after", "no-reset", "--no-stub")
    done = tool("esptool", "--port", board.info()["socket_url"], *lines, "erase-flash")
    assert done.returncode != 0


def test_image_for_another_chip_is_refused_by_esptool_itself(
    board: VirtualBoard, tmp_path: Path
) -> None:
    port = board.info()["socket_url"]
    lines = ("--before", "no-reset", "--after", "no-reset", "--chip", "esp32c3")
    done = tool("esptool", "--port", port, *lines, "flash-id")
    assert done.returncode != 0
    assert "This chip is ESP32, not ESP32-C3" in done.stdout + done.stderr


def test_power_cut_while_flashing_ends_the_session(board: VirtualBoard, tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(0x8000))
    board.flash_fault(12)
    lines = ("--before", "no-reset", "--after", "no-reset")
    port = board.info()["socket_url"]
    done = tool("esptool", "--port", port, *lines, "write-flash", "-u", hex(FREE), file)
    assert done.returncode != 0
    assert board.info()["state"] == "off"
    written = _flash(board)[FREE : FREE + 0x8000]
    assert written.startswith(bytes(0x3000))
    assert written.endswith(b"\xff" * 0x4000)


def test_control_lines_of_rfc2217_reset_into_download_mode_and_back(
    make_board: MakeBoard, tmp_path: Path
) -> None:
    """Four sessions at once, each on its own board: each is slow, and only waits."""
    data = bytes(range(256)) * 4
    file = tmp_path / "data.bin"
    file.write_bytes(data)
    jobs = {
        "auto-detected": ("--no-stub", "read-mac"),
        "stub": ("write-flash", hex(FREE), str(file)),
        "no-stub": ("--no-stub", "write-flash", "--no-compress", hex(FREE), str(file)),
        "erased": ("erase-region", hex(FREE), "0x1000"),
    }
    program = str(Path(sys.executable).with_name("esptool"))
    runs: dict[str, tuple[VirtualBoard, subprocess.Popen[str]]] = {}
    try:
        for name, arguments in jobs.items():
            board = make_board(name)
            wait_for_log(board, ">>> ")
            port = board.info()["rfc2217_url"]
            assert port.endswith("?ign_set_control")
            runs[name] = (
                board,
                subprocess.Popen(
                    [program, "--port", port, *arguments],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                ),
            )  # fmt: skip
        for name, (board, run) in runs.items():
            text = run.communicate(timeout=100)[0]
            assert run.returncode == 0, f"{name}: {text}"
            assert "Connected to ESP32 on rfc2217" in text
            assert "Hard resetting via RTS pin" in text
            wait_until(lambda board=board: board.info()["state"] == "running")
            if "write-flash" in jobs[name]:
                assert "Hash of data verified." in text
                assert _flash(board)[FREE : FREE + len(data)] == data
    finally:
        for _, run in runs.values():
            run.kill()
            run.communicate()
