"""The serial port of a virtual board: who holds it, how fast it is, what its lines do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial
from virtual_rig import SerialConsole, log, mpremote, wait_for_log, wait_until

from keyfob_host.virtual import VirtualBoard


@pytest.fixture
def board(virtual_board: VirtualBoard) -> VirtualBoard:
    return virtual_board


def test_second_client_is_turned_away_until_the_first_leaves(board: VirtualBoard) -> None:
    with SerialConsole(board) as first:
        first.send(b"\r")
        first.read_until(b">>> ")
        with SerialConsole(board) as second:
            assert b"another program has this board's serial port open" in second.closed()
        assert board.info()["client"] == "socket"
        assert first.run("print('mine')") == b"mine\n"
    wait_until(lambda: board.info()["client"] is None)
    with SerialConsole(board) as third:
        assert third.run("print('free')") == b"free\n"


def test_terminal_holds_the_line_while_it_is_open(board: VirtualBoard) -> None:
    with serial.Serial(board.info()["pty"], timeout=20) as port:
        port.write(b"\r")
        assert port.read_until(b">>> ").endswith(b">>> ")
        with SerialConsole(board) as second:
            assert b"another program" in second.closed()
    wait_until(lambda: board.info()["client"] is None)


def test_terminal_opened_while_the_line_is_held_is_told_so(board: VirtualBoard) -> None:
    with SerialConsole(board) as first:
        first.send(b"\r")
        first.read_until(b">>> ")
        with serial.Serial(board.info()["pty"], timeout=20) as port:
            port.write(b"\x03\x03while True: pass\r")
            told = port.read_until(b"open\r\n")
            assert b"another program has this board's serial port open" in told
        assert first.run("print('undisturbed')") == b"undisturbed\n"


def test_terminal_can_be_opened_again_and_again(board: VirtualBoard) -> None:
    for number in range(10):
        with serial.Serial(board.info()["pty"], timeout=20) as port:
            port.write(b"\x03\x02")
            port.read_until(b"information.\r\n>>> ")
            port.write(f"print('n', {number})\r".encode())
            assert port.read_until(f"n {number}\r\n".encode()).endswith(f"n {number}\r\n".encode())


def test_terminal_neither_echoes_nor_translates(board: VirtualBoard) -> None:
    """An echo would type the board's output into the board."""
    handle = os.open(board.info()["pty"], os.O_RDWR | os.O_NOCTTY)
    try:
        wait_until(lambda: board.info()["client"] == "pty")
        board.reset()
        wait_for_log(board, ">>> ", 2)
        assert log(board).endswith("\r\n>>> ")
    finally:
        os.close(handle)


def test_large_output_arrives_whole(board: VirtualBoard) -> None:
    text = mpremote(board, "exec", "for i in range(3000): print(i, 'x' * 50)")
    assert text.splitlines() == [f"{i} {'x' * 50}" for i in range(3000)]


def test_rfc2217_carries_every_byte(board: VirtualBoard) -> None:
    """0xFF is the telnet escape, and must be doubled and halved again."""
    with serial.serial_for_url(board.info()["rfc2217_url"], timeout=20) as port:
        port.write(b"\x03\x01")
        port.read_until(b"exit\r\n>")
        sent = bytes(byte for byte in range(0x20, 0x100) if byte not in (0x22, 0x5C))
        port.write(b'import sys; sys.stdout.buffer.write(b"' + sent + b'")\x04')
        assert port.read_until(b"\x04") == b"OK" + sent + b"\x04"


def test_rts_pulses_reset_and_dtr_selects_download_mode(board: VirtualBoard) -> None:
    with serial.serial_for_url(board.info()["rfc2217_url"], timeout=20) as port:
        port.dtr, port.rts = False, True
        wait_until(lambda: board.info()["chip_pid"] is None)
        port.rts = False
        port.read_until(b"boot:0x13 (SPI_FAST_FLASH_BOOT)")
        port.read_until(b">>> ")
        port.rts = True  # the classic sequence, one line at a time through both-on
        port.dtr = True
        port.rts = False
        port.dtr = False
        assert port.read_until(b"waiting for download\r\n").endswith(b"download\r\n")
    assert board.info()["state"] == "download"


def test_closing_the_port_does_not_reset_the_board(board: VirtualBoard) -> None:
    boots = board.info()["boots"]
    for _ in range(2):
        serial.serial_for_url(board.info()["rfc2217_url"], timeout=20).close()
        wait_until(lambda: board.info()["client"] is None)
    assert board.info()["boots"] == boots
    assert board.info()["state"] == "running"


def test_line_slows_down_to_its_baud_rate(board: VirtualBoard) -> None:
    board.serial_throttle(9600)
    with SerialConsole(board) as console:
        start = time.monotonic()
        console.send(b"print('y' * 500)\r")
        console.read_until(b"y" * 500)
        assert time.monotonic() - start >= 0.45  # 500 bytes of 10 bits
        board.serial_throttle(None)
        assert console.run("print('fast')") == b"fast\n"


def test_sensor_pixels_and_pins_are_the_benchs(board: VirtualBoard) -> None:
    with SerialConsole(board) as console:
        read = "import dht, machine; d = dht.DHT22(machine.Pin(4)); d.measure()\n"
        board.dht(-3.2, 61.5)
        assert console.run(read + "print(d.temperature(), d.humidity())") == b"-3.2 61.5\n"
        board.dht(None, None)
        failing = "try: d.measure()\nexcept OSError as e: print('no sensor', e.errno)"
        assert console.run(failing) == b"no sensor 116\n"
        lit = "import neopixel; n = neopixel.NeoPixel(machine.Pin(5), 2)\n"
        console.run(lit + "n[0] = (255, 0, 7); n.write(); n[1] = (1, 2, 3)")
        assert board.neopixel() == [(255, 0, 7), (0, 0, 0)]
        assert board.neopixel(6) == []
        console.run("machine.Pin(12, machine.Pin.OUT, value=1)")
        assert board.pin(12) == 1
        board.pin(13, 1)
        assert console.run("print(machine.Pin(13, machine.Pin.IN).value())") == b"1\n"


def test_nothing_of_the_host_is_reachable(board: VirtualBoard) -> None:
    with SerialConsole(board) as console:
        console.run("import os; os.mkdir('/etc')")
        assert console.run("print(os.listdir('/'))") == b"['boot.py', 'etc']\n"
        code = "import os, vfs, uos\nfor m in (os, vfs, uos): print(hasattr(m, 'VfsPosix'))"
        assert console.run(code) == b"False\nFalse\nFalse\n"
        assert (
            console.run("print(hasattr(os, 'system'), hasattr(os, 'getenv'))") == b"False False\n"
        )


def test_two_boards_are_two(make_board: Callable[..., VirtualBoard]) -> None:
    one, two = make_board("one"), make_board("two")
    assert one.info()["mac"] != two.info()["mac"]
    for board in (one, two):
        wait_for_log(board, ">>> ")
        with SerialConsole(board) as console:
            console.run(f"open('/name', 'w').write({board.name!r})")
    one.power(False)
    assert two.info()["state"] == "running"
    assert Path(one.info()["flash"]).read_bytes() != Path(two.info()["flash"]).read_bytes()
