"""`keyfob bench scan` and `list` on a machine of USB adapters, and of virtual boards."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keyfob_rig import Keyfob
from usb_rig import ARDUINO, CH340, CP2102, ESP_USB, Adapter, UsbMachine, needs_namespace

from keyfob_host.bench.chip_macs import find_mac
from keyfob_host.bench.file import load_bench, resolve_port
from keyfob_host.bench.finding_ports import Address
from keyfob_host.bench.scanning import Scan, plan
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

Machine = Callable[..., UsbMachine]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def machine(tmp_path: Path, home: Home) -> Iterator[Machine]:
    """A machine with the adapters that a test names; another one when they are plugged anew."""
    made: list[UsbMachine] = []

    def make(*adapters: Adapter) -> UsbMachine:
        made.append(UsbMachine(tmp_path / f"machine-{len(made)}", home.root, adapters))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def board(home: Home) -> Iterator[VirtualBoard]:
    board = VirtualBoard.up(home)
    board.download_mode()  # a pseudo terminal has no lines that could bring it there
    yield board
    board.down()


def terminal(board: VirtualBoard) -> str:
    return os.path.realpath(str(board.info()["pty"]))


def states(seen: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {str(one["port"]): (one["state"], one["name"], one["found_by"]) for one in seen["seen"]}


# -- USB adapters


@needs_namespace
def test_boards_are_written_by_what_tells_them_apart(machine: Machine, home: Home):
    ports = machine(
        Adapter("ttyUSB0", "1-1.1", CP2102, "0001"),
        Adapter("ttyUSB1", "1-1.2", CP2102, "0001"),
        Adapter("ttyUSB2", "1-1.3", CP2102, "02A7B3C4"),
        Adapter("ttyUSB3", "1-2", CH340),
        Adapter("ttyACM0", "2-1", ESP_USB, "34:85:18:AA:BB:CC"),
        Adapter("ttyACM1", "2-2", ARDUINO, "55"),
    )
    found = ports.json("bench", "scan", "--kind", "esp32")
    assert states(found) == {
        "/dev/ttyACM0": ("new", "esp32-1", "USB serial number 34:85:18:AA:BB:CC"),
        "/dev/ttyACM1": ("left out", "", "Arduino Uno"),
        "/dev/ttyUSB0": ("new", "esp32-2", "USB location 1-1.1"),
        "/dev/ttyUSB1": ("new", "esp32-3", "USB location 1-1.2"),
        "/dev/ttyUSB2": ("new", "esp32-4", "USB serial number 02A7B3C4"),
        "/dev/ttyUSB3": ("new", "esp32-5", "USB location 1-2"),
    }
    same = next(one for one in found["seen"] if one["port"] == "/dev/ttyUSB0")
    assert "2 ports here have the serial number 0001" in same["notes"][0]
    boards = load_bench(home.root / "bench.toml").pick(["all"])
    assert [one.address for one in boards[:2]] == [
        Address(usb_serial="34:85:18:AA:BB:CC"), Address(location="1-1.1"),
    ]  # fmt: skip


@needs_namespace
def test_a_second_scan_changes_nothing_and_renumbered_ports_don_t_matter(
    machine: Machine, home: Home
):
    one = Adapter("ttyUSB0", "1-1.1", CP2102, "AAA")
    other = Adapter("ttyUSB1", "1-1.2", CP2102, "BBB")
    first = machine(one, other)
    assert first.json("bench", "scan", "--kind", "esp32")["changed"]
    text = (home.root / "bench.toml").read_text()
    again = first.json("bench", "scan", "--kind", "esp32c3")
    assert (again["changed"], (home.root / "bench.toml").read_text()) == (False, text)
    swapped = machine(
        Adapter("ttyUSB0", "1-1.2", CP2102, "BBB"), Adapter("ttyUSB1", "1-1.1", CP2102, "AAA")
    )
    assert not swapped.json("bench", "scan")["changed"]
    listed = swapped.json("bench", "list")["boards"]
    assert {one["name"]: one["port"] for one in listed} == {
        "esp32-1": "/dev/ttyUSB1", "esp32-2": "/dev/ttyUSB0",
    }  # fmt: skip


@needs_namespace
def test_what_a_person_wrote_stays_and_new_boards_come_after_it(machine: Machine, home: Home):
    home.ensure()
    mine = (
        "# Mine.\n[board.kitchen]\nkind = 'esp8266'  # with a display\nusb_serial = \"AAA\"\n"
        '[board.kitchen.power]\ndriver = "relay"\nusb_serial = "RELAY"\n'
    )
    (home.root / "bench.toml").write_text(mine)
    ports = machine(
        Adapter("ttyUSB0", "1-1", CP2102, "AAA"),
        Adapter("ttyUSB1", "1-2", CP2102, "BBB"),
        Adapter("ttyUSB2", "1-3", CH340, "RELAY"),
    )
    found = states(ports.json("bench", "scan", "--kind", "esp32"))
    assert found["/dev/ttyUSB0"][:2] == ("known", "kitchen")
    assert found["/dev/ttyUSB2"][0] == "left out"
    assert (home.root / "bench.toml").read_text().startswith(mine)
    assert [one.name for one in load_bench(home.root / "bench.toml").boards] == [
        "kitchen", "esp32-1",
    ]  # fmt: skip


@needs_namespace
def test_a_program_that_has_a_board_s_port_open_is_listed_and_its_board_not_asked(
    machine: Machine, home: Home
):
    master, slave = os.openpty()
    try:
        ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "AAA", os.ttyname(slave)))
        (seen,) = ports.json("bench", "scan", "--probe")["seen"]
        assert "its chip was not asked" in seen["notes"][0]
        (listed,) = ports.json("bench", "list")["boards"]
        assert [user["pid"] for user in listed["users"]] == [os.getpid()]
        assert f"(pid {os.getpid()})" in listed["held_by"]
    finally:
        os.close(slave)
        os.close(master)


@needs_namespace
def test_an_adapter_s_own_words_cannot_spoil_the_file(machine: Machine, home: Home):
    model = (CP2102[0], CP2102[1], 'x"]\x1b[2J\u202e')
    ports = machine(
        Adapter("ttyUSB0", "1-1", model, 'a"\\b'), Adapter("ttyUSB1", "1-2", model, "\x07")
    )
    ports.json("bench", "scan", "--kind", "esp32")
    boards = load_bench(home.root / "bench.toml").boards
    assert [one.address for one in boards] == [
        Address(usb_serial='a"\\b'), Address(location="1-2"),
    ]  # fmt: skip


@needs_namespace
def test_a_dry_run_shows_the_lines_and_writes_none(machine: Machine, home: Home):
    ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "AAA"))
    shown = ports.run("bench", "scan", "--dry-run")
    assert 'usb_serial = "AAA"' in shown.stdout
    assert "keyfob bench scan --probe" in shown.stdout  # nobody said what it is
    assert not (home.root / "bench.toml").exists()


@needs_namespace
def test_a_chip_says_what_it_is_and_its_mac_tells_boards_apart(
    machine: Machine, home: Home, board: VirtualBoard
):
    ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "0001", terminal(board)))
    found = ports.json("bench", "scan", "--probe")["seen"]
    mac = str(board.info()["mac"])
    (one,) = [one for one in found if one["port"] == "/dev/ttyUSB0"]
    assert (one["kind"], one["name"]) == ("esp32", f"esp32-{mac[-6:]}")
    assert one["found_by"].replace(":", "") == f"MAC {mac}"
    # Its chip is not asked again as long as it stays plugged in.
    (listed, _) = ports.json("bench", "list")["boards"]
    assert (listed["name"], listed["port"]) == (one["name"], "/dev/ttyUSB0")


@needs_namespace
def test_a_port_that_may_be_a_board_s_by_its_mac_is_not_written_a_second_time(
    machine: Machine, home: Home, board: VirtualBoard
):
    home.ensure()
    mac = ":".join(re.findall("..", str(board.info()["mac"])))
    text = f'[board.attic]\nkind = "esp8266"\nmac = "{mac}"\n'
    (home.root / "bench.toml").write_text(text)
    ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "AAA", terminal(board)))
    before = ports.json("bench", "scan", "--dry-run")["seen"][0]
    assert (before["state"], "may be attic" in before["notes"][0]) == ("left out", True)
    after = ports.json("bench", "scan", "--probe", "--dry-run")["seen"][0]
    assert (after["state"], after["name"]) == ("known", "attic")
    assert "an esp32, the file says esp8266" in after["notes"][0]
    assert (home.root / "bench.toml").read_text() == text


@needs_namespace
def test_a_board_is_found_by_the_mac_that_its_chip_says(
    machine: Machine, home: Home, board: VirtualBoard
):
    home.ensure()
    mac = ":".join(re.findall("..", str(board.info()["mac"])))
    (home.root / "bench.toml").write_text(
        f'[board.attic]\nkind = "esp32"\nmac = "{mac}"\n'
        '[board.gone]\nkind = "esp32"\nmac = "24:0a:c4:00:00:01"\n'
    )
    ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "0001", terminal(board)))
    shown = ports.run("monitor", "--board", "attic", "--for", "0.1")
    assert (shown.returncode, "console of attic on /dev/ttyUSB0" in shown.stderr) == (0, True)
    assert "asking the chip on /dev/ttyUSB0 for its MAC" in shown.stderr
    gone = ports.run("monitor", "--board", "gone", "--for", "0.1").stderr
    assert "error  port.not-plugged-in" in gone and f"/dev/ttyUSB0: {mac}" in gone


@needs_namespace
def test_a_scan_that_asks_gives_a_board_the_kind_that_nobody_said(
    machine: Machine, home: Home, board: VirtualBoard
):
    ports = machine(Adapter("ttyUSB0", "1-1", CP2102, "AAA", terminal(board)))
    assert not load_bench_after(ports, home, "bench", "scan").boards[0].kind
    assert "bench.kind-missing" in ports.run("monitor", "--board", "board-1", "--for", "1").stderr
    entry = load_bench_after(ports, home, "bench", "scan", "--probe").find("board-1")
    assert (entry.kind, entry.usb_serial) == ("esp32", "AAA")


def load_bench_after(ports: UsbMachine, home: Home, *command: str):
    ports.json(*command)
    return load_bench(home.root / "bench.toml")


# -- without USB


def test_running_virtual_boards_are_found_and_listed(keyfob: Keyfob):
    board = VirtualBoard.up(Home(keyfob.home), name="garage", powered=False)
    try:
        found = keyfob.json("bench", "scan")["seen"]
        assert [(one["state"], one["name"], one["kind"]) for one in found] == [
            ("new", "garage", "virtual-esp32")
        ]
        (listed,) = keyfob.json("bench", "list")["boards"]
        assert listed["port"] == str(board.info()["pty"])
        assert (listed["held_by"], listed["is_named"]) == ("free", True)
        entry = load_bench(keyfob.home / "bench.toml").find("garage")
        assert resolve_port(entry, Home(keyfob.home)) == listed["port"]
    finally:
        board.down()
    (listed,) = keyfob.json("bench", "list")["boards"]
    assert (listed["port"], listed["why_not"]) == (None, "down")


def test_a_suite_s_board_is_listed_beside_the_user_s_of_the_same_name(keyfob: Keyfob):
    homes = (Home(keyfob.home), Home(keyfob.home / "hil"))
    boards = [VirtualBoard.up(home, name="garage", powered=False) for home in homes]
    try:
        keyfob.json("bench", "scan")
        listed = keyfob.json("bench", "list")["boards"]
        assert [(one["name"], one["found_by"], one["port"]) for one in listed] == [
            ("garage", "virtual", str(boards[0].info()["pty"])),
            ("garage", "virtual, of the suites", str(boards[1].info()["pty"])),
        ]
    finally:
        for board in boards:
            board.down()


def test_a_machine_without_boards_says_what_to_do(keyfob: Keyfob):
    assert "keyfob board up" in keyfob.run("bench", "scan")[1]
    assert "keyfob bench scan" in keyfob.run("bench", "list")[1]
    assert not (keyfob.home / "bench.toml").exists()


def test_a_virtual_kind_is_none_that_hangs_on_usb(keyfob: Keyfob):
    assert keyfob.error("bench", "scan", "--kind", "virtual-esp32")["code"] == "bench.kind-virtual"
    assert keyfob.error("bench", "scan", "--kind", "esp23")["code"] == "board.unknown-kind"


def test_a_board_by_mac_that_is_nowhere_is_told_with_what_answered(home: Home):
    home.ensure()
    with pytest.raises(Exception, match=r"port\.not-plugged-in"):
        find_mac("24:0a:c4:00:00:01", "board x", home, [])


def test_a_file_of_another_form_is_not_rewritten(home: Home):
    home.ensure()
    path = home.root / "bench.toml"
    path.write_text('board = {one = {kind = "esp32", usb_serial = "A"}}\n')
    before = path.read_text()
    assert plan(path, Scan(load_bench(path).boards, home, []).seen()) == (before, before)
