"""Flashing with the real esptool against a boot ROM: what goes wrong, and when."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import flash_rig
import pytest

from keyfob_host.boards import BoardRef, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.esptool_run import EsptoolRun, run_esptool
from keyfob_host.flash.failures import explain_run
from keyfob_host.flash.flashing import flash_board

OFFSET = 0x1000


@pytest.fixture
def rom() -> Iterator[Callable[..., flash_rig.Rom]]:
    """Makes chips in download mode, and closes them."""
    made: list[flash_rig.Rom] = []

    def make(chip: str = "esp32") -> flash_rig.Rom:
        made.append(flash_rig.Rom(chip))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    return flash_rig.write(tmp_path, flash_rig.real_image())


def refused(ref: BoardRef, firmware: Path) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        flash_board(ref, firmware)
    assert caught.value.fix
    return caught.value


def test_the_real_image_is_written_verified_and_progress_told(rom, firmware: Path):
    chip = rom()
    told: list[tuple[str, float]] = []
    flashed = flash_board(chip.ref(), firmware, on_progress=lambda *one: told.append(one))
    content = firmware.read_bytes()
    assert chip.flash.data[OFFSET : OFFSET + len(content)] == content
    assert set(chip.flash.data[:OFFSET]) == {0xFF}  # erased, the filling is gone
    assert (flashed.chip.name, flashed.chip.flash_size) == ("esp32", 4 << 20)
    stages = [stage for stage, _ in told]
    assert sorted(set(stages), key=stages.index) == ["connect", "erase", "write", "verify"]
    written = [percent for stage, percent in told if stage == "write"]
    assert len(written) > 10 and written == sorted(written) and written[-1] == 100.0


def test_without_erasing_the_rest_of_the_flash_stays(rom, firmware: Path):
    chip = rom()
    flash_board(chip.ref(), firmware, erase=False)
    assert set(chip.flash.data[:OFFSET]) == {0x5A}
    assert set(chip.flash.data[0x200000:]) == {0x5A}


def test_a_failure_without_erasing_still_says_that_the_flash_was_written(rom, firmware: Path):
    chip = rom()
    chip.spoil = range(0x40000, 0x40001)
    with pytest.raises(KeyfobHostError) as caught:
        flash_board(chip.ref(), firmware, erase=False)
    assert "half written" in caught.value.evidence
    assert "--no-erase --baud 115200" in caught.value.fix


def test_an_esp32c3_is_flashed_at_its_own_offset(rom, tmp_path: Path):
    chip = rom("esp32c3")
    path = flash_rig.write(tmp_path, flash_rig.esp32c3_image())
    flashed = flash_board(chip.ref("esp32c3"), path)
    assert (flashed.chip.name, flashed.offset) == ("esp32c3", 0)
    assert chip.flash.data[: flashed.firmware.size] == path.read_bytes()


def test_an_esp8266_is_flashed_with_its_flash_size_in_the_header(rom, tmp_path: Path):
    chip = rom("esp8266")
    path = flash_rig.write(tmp_path, flash_rig.esp8266_image(bytes(range(256)) * 400))
    flashed = flash_board(chip.ref("esp8266"), path)
    content = path.read_bytes()
    assert flashed.offset == 0
    # esptool puts the size it detected into byte 3; MicroPython's MD5 leaves it out.
    assert chip.flash.data[4 : len(content)] == content[4:]
    assert chip.flash.data[3] >> 4 == 4  # 4 MB


@pytest.mark.parametrize("name", ["esp32c3", "esp32s3", "esp8266"])
def test_another_chip_on_the_cable_is_refused_before_anything_is_erased(
    rom, firmware: Path, name: str
):
    chip = rom(name)
    error = refused(chip.ref(), firmware)
    assert (error.code, error.status) == ("flash.wrong-chip", ExitStatus.BOARD)
    assert f"the chip says {name}" in error.evidence
    assert "nothing was erased" in error.evidence
    assert f"--board {name} --port {chip.port}" in error.fix
    assert chip.is_untouched()


def test_an_image_for_another_chip_is_refused_before_the_port_is_opened(rom, firmware: Path):
    chip = rom()
    firmware.write_bytes(flash_rig.for_chip(firmware.read_bytes(), 5))
    error = refused(chip.ref(), firmware)
    assert (error.code, error.status) == ("flash.wrong-chip", ExitStatus.INPUT)
    assert chip.is_untouched()


def test_a_chip_with_less_flash_than_the_image_needs_is_refused_before_erasing(rom, tmp_path: Path):
    chip = rom()  # which has 4 MB, and says so
    text = (Path(__file__).parents[2] / "boards" / "esp32.toml").read_text()
    board = tmp_path / "esp32.toml"
    board.write_text(text.replace("size = 0x400000", "size = 0x800000"))
    image = flash_rig.with_larger_vfs(flash_rig.real_image(), 0x600000)
    error = refused(
        BoardRef(load_kind(str(board)), chip.port, "x"), flash_rig.write(tmp_path, image)
    )
    assert error.code == "flash.too-small"
    assert "needs 8192 KB" in error.cause and "has 4096 KB" in error.cause
    assert chip.is_untouched()


def test_what_was_not_written_as_told_is_found(rom, firmware: Path):
    chip = rom()
    chip.spoil = range(0x40000, 0x40001)
    error = refused(chip.ref(), firmware)
    assert (error.code, error.status) == ("flash.verify-failed", ExitStatus.BOARD)
    assert "MD5 of file does not match" in error.evidence
    assert "erased or half written" in error.evidence
    assert "--baud 115200" in error.fix


def test_a_chip_that_answers_nothing_names_the_button(rom, firmware: Path):
    chip = rom()
    chip.mute = True
    error = refused(chip.ref(), firmware)
    assert (error.code, error.status) == ("flash.no-answer", ExitStatus.BOARD)
    assert "hold BOOT (IO0)" in error.fix
    assert f"keyfob flash --board esp32 --port {chip.port}" in error.fix


def terminal_board(behave: Callable[[int], None]) -> tuple[str, Callable[[], None]]:
    """A pseudo terminal as a board: ``behave(master)`` runs in a process of its own."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    child = os.fork()
    if child == 0:
        try:
            behave(master)
        finally:
            os._exit(0)
    os.close(master)
    os.close(slave)

    def close() -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    return name, close


def test_a_real_port_that_stays_silent_is_told_as_such(firmware: Path):
    def silent(master: int) -> None:
        while os.read(master, 4096):
            pass

    port, close = terminal_board(silent)
    try:
        error = refused(BoardRef(load_kind("esp32"), port, "x"), firmware)
    finally:
        close()
    assert error.code == "flash.no-answer"
    assert "No serial data received" in error.evidence


def test_a_board_whose_program_echoes_is_told_to_be_in_the_wrong_mode(firmware: Path):
    def echoing(master: int) -> None:
        while data := os.read(master, 4096):
            os.write(master, b">>> " + data)

    port, close = terminal_board(echoing)
    try:
        error = refused(BoardRef(load_kind("esp32"), port, "x"), firmware)
    finally:
        close()
    assert error.code == "flash.not-in-download-mode"
    assert "hold BOOT (IO0)" in error.fix


def test_a_port_held_by_another_program_is_not_touched(firmware: Path):
    master, slave = pty.openpty()
    port = os.ttyname(slave)
    code = f"f = open({port!r}, 'rb'); print('open', flush=True); f.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"open\n"
        try:
            error = refused(BoardRef(load_kind("esp32"), port, "x"), firmware)
        finally:
            process.kill()
            os.close(slave)
            os.close(master)
    assert (error.code, f"(pid {process.pid})" in error.evidence) == ("port.busy", True)


def test_an_address_where_nobody_listens_is_told(rom, firmware: Path):
    chip = rom()
    chip.close()
    assert refused(chip.ref(), firmware).code == "port.refused"


def esptool_processes(port: str) -> list[int]:
    """Process ids of esptool on ``port``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"esptool" in words and port.encode() in words:
            found.append(int(process.name))
    return found


def keyfob_flash(chip: flash_rig.Rom, firmware: Path) -> subprocess.Popen[str]:
    """``keyfob flash`` as a program, returned when it is writing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "keyfob_host", "flash", "--board", "esp32", "--port", chip.port,
         "--firmware", str(firmware)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:
        if line.strip() == "writing":
            return process
    raise AssertionError(f"ended before it wrote, status {process.wait()}")


def test_ctrl_c_while_writing_ends_esptool_and_tells_the_board_s_state(rom, firmware: Path):
    chip = rom()
    chip.write_delay_s = 0.2
    process = keyfob_flash(chip, firmware)
    assert esptool_processes(chip.port)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=20)
    assert process.returncode == ExitStatus.INTERRUPTED
    assert "flash.interrupted" in printed
    assert "half written" in printed
    assert f"keyfob flash --board esp32 --port {chip.port} --firmware {firmware}" in printed
    assert "Traceback" not in printed
    assert esptool_processes(chip.port) == []


def test_after_an_interruption_the_same_command_works(rom, firmware: Path):
    chip = rom()
    chip.write_delay_s = 0.2
    process = keyfob_flash(chip, firmware)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    chip.write_delay_s = 0.0
    flash_board(chip.ref(), firmware)
    content = firmware.read_bytes()
    assert chip.flash.data[OFFSET : OFFSET + len(content)] == content


def test_esptool_does_not_outlive_a_killed_keyfob(rom, firmware: Path):
    chip = rom()
    chip.write_delay_s = 0.1
    process = keyfob_flash(chip, firmware)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 15
    while esptool_processes(chip.port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert esptool_processes(chip.port) == []


def test_an_esptool_that_falls_silent_is_ended(rom, firmware: Path):
    chip = rom()
    chip.write_delay_s = 8.0
    connection = ["--chip", "esp32", "--port", chip.port, "--before", "no-reset"]
    write = ["write-flash", hex(OFFSET), str(firmware)]
    started = time.monotonic()
    run = run_esptool([*connection, *write], silence_timeout_s=2.0)
    assert run.timed_out
    assert time.monotonic() - started < 20
    assert esptool_processes(chip.port) == []
    error = explain_run(run, chip.ref(), "keyfob flash", "the state")
    assert (error.code, "the state" in error.evidence) == ("flash.stuck", True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Invalid head of packet (0x46): Possible serial noise or corruption.",
         "flash.serial-noise"),
        ("Wrong boot mode detected (0x13)! The chip needs to be in download mode.",
         "flash.not-in-download-mode"),
        ("Packet content transfer stopped (received 12 bytes)", "flash.serial-noise"),
        ("Failed to write compressed data to flash after seq 3 (result was 0106: ...)",
         "flash.serial-noise"),
        ("Failed to set baud rate 921600. The driver may not support this rate.",
         "flash.baud-refused"),
        ("Download mode successfully detected, but getting no sync reply: The serial TX path "
         "seems to be down.", "flash.no-transmit"),
        ("File f.bin (length 9) at offset 0x00001000 will not fit in 8 bytes of flash. Change "
         "the flash_size argument or flashing address.", "flash.too-small"),
        ("Active security features detected, erasing flash is disabled as a safety measure.",
         "flash.locked"),
        ("device reports readiness to read but returned no data (device disconnected?)",
         "port.unplugged"),
        ("something nobody has seen before", "flash.esptool-failed"),
    ],
)  # fmt: skip
def test_esptool_s_sentences_are_understood(words: str, code: str):
    # Failures of wires, fuses and reset buttons, which no software here can bring about; the
    # sentences are esptool 5.6's own.
    output = f"esptool v5.6.0\nConnecting....\n\nERROR: A fatal error occurred: {words}\n"
    ref = BoardRef(load_kind("esp8266"), "/dev/ttyUSB0", "x")
    error = explain_run(EsptoolRun(2, output, "write"), ref, "keyfob flash --baud 460800", "x")
    assert error.code == code
    assert words[:40] in error.evidence
    assert "{" not in error.fix
