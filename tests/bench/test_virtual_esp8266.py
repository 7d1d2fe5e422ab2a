"""A virtual ESP8266: its ROM, its port's modules, its heap, and TLS that verifies nobody."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

import littlefs
import pytest
from esp8266_rig import KIND, PROMPT, booted_esp8266, error_of, make_esp8266, reset, run, write
from virtual_rig import SerialConsole, log, mpremote, wait_for_log, wait_until

from keyfob_host.flash.stand_in import esp8266_stand_in
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

VFS_OFFSET, VFS_BLOCKS = 0x100000, 763  # to the 20 KB that the SDK keeps
FIRMWARE = Path(__file__).parents[2] / "firmware"


@pytest.fixture
def board(bench_home: Home) -> VirtualBoard:
    return booted_esp8266(bench_home)


# -- from power-on to the prompt


def test_erased_flash_and_other_images_are_refused_in_the_roms_words(bench_home: Home) -> None:
    sound = bytearray(esp8266_stand_in())
    esp32 = bytearray(sound)
    esp32[4:8] = struct.pack("<I", 0x40080000)
    checksum, in_place = bytearray(sound), bytearray(sound)
    checksum[0x10] ^= 1
    in_place[0x9000] ^= 1
    for name, image, words, reason in (
        ("erased", b"", "ets_main.c", "no image at 0: the first byte is 0xff"),
        ("esp32", esp32, "csum err", "cannot load the image"),
        ("checksum", checksum, "csum err", "checksum at 0x3f is"),
        ("in-place", in_place, "Fatal exception 0", "MD5 at the end is"),
    ):
        board = make_esp8266(bench_home, name, flashed=bytes(image))
        text = wait_for_log(board, words)
        assert " ets Jan  8 2013,rst cause:1, boot mode:(3,6)\r\n" in text
        assert board.info()["state"] == "bad-image"
        assert reason in board.info()["reason"]
        wait_for_log(board, "rst cause:4")  # its watchdog tries again
        board.down()


def test_first_boot_formats_the_flash_behind_the_first_megabyte(board: VirtualBoard) -> None:
    text = log(board)
    assert "load 0x40100000, len 16, room 16 \r\ntail 0\r\nchksum 0x" in text
    assert "\r\nPerforming initial setup\r\n\r\nMicroPython v" in text
    assert text.endswith("Virtual ESP8266 with ESP8266\r\n" + HELP + PROMPT)
    flash = Path(board.info()["flash"]).read_bytes()
    fs = littlefs.LittleFS(block_size=4096, block_count=VFS_BLOCKS, mount=False)
    fs.context.buffer = bytearray(flash[VFS_OFFSET : VFS_OFFSET + VFS_BLOCKS * 4096])
    fs.mount()
    assert fs.listdir("/") == ["boot.py"]
    with fs.open("/boot.py") as file:
        assert file.read().startswith("# This file is executed on every boot")
    assert set(flash[-20480:]) == {0xFF}


HELP = 'Type "help()" for more information.\r\n'


def test_a_corrupt_file_system_is_left_alone(bench_home: Home) -> None:
    board = make_esp8266(bench_home, powered=False)
    with Path(board.info()["flash"]).open("r+b") as flash:
        flash.seek(VFS_OFFSET)
        flash.write(b"not a file system" * 1000)
    board.power(True)
    wait_for_log(board, "starting at sector 256 with size 763 sectors looks corrupt.")
    with SerialConsole(board) as console:
        console.send(b"\x03")
        console.read_until(b">>> ")
    assert Path(board.info()["flash"]).read_bytes()[VFS_OFFSET:].startswith(b"not a file")


def test_reset_causes_are_the_ports(board: VirtualBoard) -> None:
    asked = "import machine; print(machine.reset_cause())"
    assert run(board, asked) == "0\n"
    reset(board)
    assert run(board, asked) == "6\n"
    with SerialConsole(board) as console:
        console.send(b"import machine; machine.reset()\r")
        console.read_until(b"rst cause:2, boot mode:(3,6)\r\n")
        console.read_until(b">>> ")
        assert console.run(asked) == b"4\n"
        console.send(b"\x04")
        console.read_until(b"MPY: soft reboot\r\n")
        console.read_until(b">>> ")
        assert console.run(asked) == b"4\n"  # Ctrl-D is no reset to the SDK
        console.send(b"machine.RTC().memory(b'kept'); machine.deepsleep(50)\r")
        console.read_until(b">>> ")
        console.send(b"import machine; machine.RTC().memory(b'kept'); machine.deepsleep(50)\r")
        console.read_until(b"rst cause:2")
        console.read_until(b">>> ")
        kept = "import machine; print(machine.reset_cause(), machine.RTC().memory())"
        assert console.run(kept) == b"5 b'kept'\n"


def test_exception_in_main_py_is_printed_without_the_ports_own_frames(board: VirtualBoard) -> None:
    write(board, "/main.py", "def f():\n raise ValueError('as told')\nf()\n")
    board.reset()
    text = wait_for_log(board, "as told")
    assert (
        'Traceback (most recent call last):\r\n  File "main.py", line 3, in <module>\r\n'
        '  File "main.py", line 2, in f\r\nValueError: as told\r\n'
    ) in text


# -- the prompt


def test_friendly_prompt_takes_blocks_brackets_and_corrections(board: VirtualBoard) -> None:
    with SerialConsole(board) as console:
        for typed, printed in (
            (b"6 * 7\r", b"42\r\n>>> "),
            (b"for i in range(2):\r  print(i)\r\r", b"0\r\n1\r\n>>> "),
            (b"print((1,\r2))\r", b"(1, 2)\r\n>>> "),
            (b"'''a\rb'''\r", b"'a\\nb'\r\n>>> "),
            (b"print(1x\x7f2)\r", b"12\r\n>>> "),
            (b"1/0\r", b'File "<stdin>", line 1, in <module>\r\nZeroDivisionError: '),
        ):
            console.send(typed)
            console.read_until(printed)


def test_what_a_program_leaves_in_memory_is_there_at_the_prompt(board: VirtualBoard) -> None:
    write(board, "/main.py", "left = 5\n")
    reset(board)
    assert run(board, "print(left, __name__)") == "5 __main__\n"


def test_input_takes_a_line_and_leaves_what_is_typed_behind_it(board: VirtualBoard) -> None:
    with SerialConsole(board) as console:
        console.send(b"print(input('name? ') * 2)\rab\r6 * 7\r")
        console.read_until(b"name? ab\r\nabab\r\n>>> 6 * 7\r\n42\r\n>>> ")
        console.send(b"input()\r\x03")
        console.read_until(b"KeyboardInterrupt: \r\n>>> ")
        console.send(b"input()\r")
        console.read_until(b"\r\n")
        console.send(b"\x04")
        console.read_until(b"EOFError: \r\n>>> ")


# -- memory


def test_a_program_starts_with_the_heap_of_a_chip(board: VirtualBoard) -> None:
    assert board.info()["micropython"] == "32-bit, with the chip's own heap"
    code = "import gc\ngc.collect()\nprint(gc.mem_free())\nb = bytearray(28000)\nprint(len(b))"
    free, block = run(board, code).split()
    # A chip tells of about 35 KB in boot.py (micropython issue 11666, 1.20).
    assert 34_000 <= int(free) <= 36_000
    assert block == "28000"
    assert "MemoryError" in error_of(board, "b = bytearray(36500)")
    # A 32-bit object: a tuple of three is a type, a length and three words.
    grown = "import gc\ngc.collect()\na = gc.mem_alloc()\nt = [(i, 0, 0) for i in range(100)]\n"
    used = int(run(board, grown + "gc.collect()\nprint(gc.mem_alloc() - a)"))
    assert used < 100 * 32 + 1024


def test_calls_nest_no_deeper_than_the_chips_stack_lets_them(board: VirtualBoard) -> None:
    code = (
        "deepest = 0\n"
        "def f(n):\n global deepest\n deepest = n\n f(n + 1)\n"
        "try: f(1)\nexcept RuntimeError as e: print(deepest, e)\n"
    )
    depth, words = run(board, code).split(" ", 1)
    assert 19 <= int(depth) <= 23
    assert words == "maximum recursion depth exceeded\n"
    # An import has room of its own, and what it brings has none.
    write(board, "/one.py", "import two\ndef f(n):\n f(n + 1)\n")
    write(board, "/two.py", "import three\n")
    write(board, "/three.py", "import asyncio\n")
    deep = "def g(n):\n if n:\n  return g(n - 1)\n import one\n one.f(0)\ng(8)"
    assert error_of(board, deep) == "RuntimeError: maximum recursion depth exceeded"
    assert run(board, "import sys; print('asyncio' in sys.modules)") == "True\n"
    # With its flash driver, LittleFS takes some too, there as here.
    code = (
        "def f(n):\n if n:\n  return f(n - 1)\n"
        " with open('/deep', 'w') as file: return file.write('x' * 5000)\nprint(f(10))\n"
    )
    assert run(board, code) == "5000\n"


# -- modules


def test_what_the_port_lacks_is_missing(board: VirtualBoard) -> None:
    code = (
        "import hashlib, math, random, socket, machine, sys\n"
        "def has(m, *names): print([n for n in names if hasattr(m, n)])\n"
        "has(hashlib, 'md5', 'sha1', 'sha256')\n"
        "has(hashlib.sha256(), 'copy', 'hexdigest')\n"
        "has(random, 'random', 'choice', 'randint', 'randrange', 'uniform', 'getrandbits')\n"
        "has(math, 'inf', 'nan', 'tau', 'gamma', 'sinh', 'isclose', 'factorial', 'pi', 'sqrt')\n"
        "has(machine.RTC(), 'init', 'memory')\n"
        "has(sys, 'ps1_', 'exc_info', 'atexit')\n"
        "has(socket, 'SO_KEEPALIVE', 'TCP_NODELAY')\n"
        "print(hashlib.sha256(b'abc').digest()[:2], math.sqrt(4), random.getrandbits(8) < 256)\n"
    )
    assert run(board, code).splitlines() == [
        "['sha1', 'sha256']", "[]", "['getrandbits']", "['pi', 'sqrt']", "['memory']", "[]",
        "['TCP_NODELAY']", "b'\\xbax' 2.0 True",
    ]  # fmt: skip
    for code, error in (
        ("pow(2, 3, 5)", "TypeError"),
        ("compile('1', '', 'eval')", "NameError: name 'compile' isn't defined"),
        ("execfile('boot.py')", "NameError"),
        ("import sys; setattr(sys, 'a', 1)", "NameError"),
        ("complex(1, 2)", "NameError"),
    ):
        assert error_of(board, code).startswith(error)
    assert run(board, "print(pow(2, 10))") == "1024\n"


def test_pins_watchdog_and_numbers_are_the_ports(board: VirtualBoard) -> None:
    code = (
        "import machine, sys, os\n"
        "p = machine.Pin(16, machine.Pin.OUT, value=1)\n"
        "print(p.value(), machine.freq(), machine.unique_id().hex(), sys.platform, os.uname()[0])\n"
        "import dht\ntry: dht.DHT22(machine.Pin(4)).measure()\nexcept OSError as e: print(e)\n"
    )
    board.dht(None, None)
    mac = board.info()["mac"]
    chip_id = mac[10:12] + mac[8:10] + mac[6:8] + "00"
    assert run(board, code).splitlines() == [
        f"1 80000000 {chip_id} esp8266 esp8266", "[Errno 110] ETIMEDOUT",
    ]  # fmt: skip
    assert board.pin(16) == 1
    for code in ("machine.Pin(17)", "machine.freq(240000000)", "machine.WDT(timeout=1000)"):
        assert error_of(board, f"import machine\n{code}").startswith("ValueError")


def test_flash_timers_and_tasks_are_the_ports(board: VirtualBoard) -> None:
    code = (
        "import esp, flashbdev, machine, time, asyncio, neopixel\n"
        "print(esp.check_fw(), esp.flash_size(), esp.flash_user_start(), flashbdev.bdev.blocks)\n"
        "esp.flash_erase(768); esp.flash_write(768 * 4096, b'abcd')\n"
        "print(esp.flash_read(768 * 4096, 6), esp.flash_read(0, 1))\n"
        "n = neopixel.NeoPixel(machine.Pin(4), 1); n[0] = (1, 2, 3); n.write()\n"
        "hits = []; t = machine.Timer(-1)\n"
        "t.init(period=5, mode=t.PERIODIC, callback=lambda _: hits.append(1))\n"
        "time.sleep_ms(60); t.deinit()\n"
        "async def task(): await asyncio.sleep_ms(5); return 'slept'\n"
        "print(len(hits) > 3, asyncio.run(task()))\n"
    )
    seen = run(board, code).splitlines()
    assert seen[0] == "size: 40960"
    assert seen[1] == f"md5: {esp8266_stand_in()[-16:].hex()}"
    assert seen[2:] == ["True 4194304 1048576 763", r"b'abcd\xff\xff' b'\xe9'", "True slept"]
    assert board.neopixel() == [(1, 2, 3)]
    assert error_of(board, "import esp\nesp.flash_write(0, b'abc')").startswith("ValueError")


def test_wifi_has_the_ports_numbers_and_an_access_point_of_its_own(board: VirtualBoard) -> None:
    code = (
        "import network, socket, time\n"
        "s, a = network.WLAN(network.STA_IF), network.WLAN(network.AP_IF)\n"
        "print(a.active(), a.config('ssid')[:12], s.active(), s.status())\n"
        "a.active(False)\nprint(a.active())\n"
        "def join(key):\n s.active(True); s.connect('keyfob-bench', key)\n"
        " t = time.ticks_ms()\n"
        " while s.status() == network.STAT_CONNECTING and time.ticks_ms() - t < 9000: pass\n"
        " print(s.status(), s.isconnected(), s.status('rssi'))\n"
        "try: socket.getaddrinfo('broker.keyfob.test', 1)\n"
        "except OSError as e: print(e)\n"
        "join('wrong-password')\njoin('keyfob-bench-password')\nprint(s.ifconfig()[0])\n"
    )
    assert run(board, code).splitlines() == [
        "True MicroPython- False 0", "False", "-2", "2 False 31", "5 True -47", "192.168.4.2",
    ]  # fmt: skip


def test_the_station_joins_by_itself_after_a_reset_and_forgets_with_its_flash(
    board: VirtualBoard,
) -> None:
    join = (
        "import network\ns, a = network.WLAN(0), network.WLAN(1)\n"
        "s.active(True)\na.active(False)\ns.connect('keyfob-bench', 'keyfob-bench-password')\n"
    )
    run(board, join)
    wait_until(lambda: board.info()["wifi"]["status"] == 5)
    state = "import network; print(network.WLAN(0).active(), network.WLAN(1).active())"
    for again in (lambda: board.reset(), lambda: power_cycle(board)):
        again()
        wait_until(lambda: board.info()["wifi"]["status"] == 5)
        wait_until(lambda: log(board).endswith(PROMPT))
        assert run(board, state) == "True False\n"
    board.power(False)
    with Path(board.info()["flash"]).open("r+b") as flash:
        flash.seek(-20480, 2)
        flash.write(b"\xff" * 20480)
    board.power(True)
    wait_until(lambda: log(board).endswith(PROMPT))
    assert run(board, state) == "False True\n"


def power_cycle(board: VirtualBoard) -> None:
    board.power(False)
    board.power(True)


def test_power_cut_while_wifi_settings_are_kept_cuts_the_power(board: VirtualBoard) -> None:
    board.flash_fault(1)
    with SerialConsole(board) as console:
        console.send(b"import network; network.WLAN(0).active(True)\r")
        wait_until(lambda: board.info()["state"] == "off")
    assert "power was cut" in board.info()["reason"]
    board.power(True)
    wait_until(lambda: log(board).endswith(PROMPT))


def test_clock_starts_at_2000_is_set_by_the_rtc_and_by_the_bench(board: VirtualBoard) -> None:
    year = "import time, machine; print(time.gmtime()[0], machine.RTC().datetime()[0])"
    assert run(board, year) == "2000 2000\n"
    jump = (
        "t = time.ticks_ms()\nmachine.RTC().datetime((2026, 11, 21, 5, 12, 30, 15, 500))\n"
        "print(machine.RTC().datetime()[:6], time.ticks_diff(time.ticks_ms(), t) < 20000)"
    )
    assert run(board, jump) == "(2026, 11, 21, 5, 12, 30) True\n"
    board.set_clock(1_900_000_000)
    assert run(board, "print(time.gmtime()[0])") == "2030\n"
    board.power(False)
    board.power(True)
    wait_for_log(board, PROMPT, 2)
    assert run(board, year) == "2000 2000\n"


# -- a machine without the 32-bit interpreter


def test_a_64_bit_micropython_plays_the_chip_and_says_so(
    bench_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_MICROPYTHON", str(Path(sys.executable).with_name("micropython")))
    board = booted_esp8266(bench_home)
    assert board.info()["micropython"] == "64-bit, with twice the chip's heap and no ROMFS"
    assert "ROMFS is not enabled on this device" in mpremote(board, "romfs", "query")
    with SerialConsole(board) as console:
        console.send(b"while True: pass\r\r")
        console.send(b"\x03")
        console.read_until(b"KeyboardInterrupt: \r\n")
    code = "import gc, tls\ngc.collect()\nprint(gc.mem_free(), tls.SSLContext(0).verify_mode)"
    free, mode = run(board, code).split()
    assert 69_000 <= int(free) <= 74_000
    assert mode == "0"
    wait_until(lambda: board.info()["client"] is None)
    assert mpremote(board, "eval", "sum(range(10))") == "45\n"
    assert re.search(r"MicroPython v?\S+ on \S+; Virtual ESP8266 with ESP8266", log(board))


def test_killed_board_and_kind_are_named_in_the_fix(bench_home: Home) -> None:
    with pytest.raises(Exception, match="not up") as caught:
        VirtualBoard.attach(bench_home, KIND)
    assert caught.value.fix == "keyfob board up virtual-esp8266"
