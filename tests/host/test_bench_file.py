"""``bench.toml``: what it may say, and every way of getting it wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from keyfob_host.bench.file import BenchFile, find_entry, load_bench, resolve_port
from keyfob_host.bench.finding_ports import Address, find_port, lasting_address
from keyfob_host.boards import open_board
from keyfob_host.commands.doctor_which import choose_board
from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.lineup import Asked, line_up
from keyfob_host.home import Home

GOOD = """\
# The bench in the cellar.
[wifi]
ssid = "workshop"

[bench]
address = "192.0.2.10"

[board.kitchen]
kind = "esp32"
usb_serial = "0123ABC"
firmware = "images/esp32.bin"

[board.kitchen.power]
driver = "uhubctl"
hub = "1-1"
hub_port = 4

[board.hall]
kind = "esp8266"
location = "1-1.2"

[board.attic]
kind = "esp32c3"
mac = "34:85:18:AA:BB:CC"

[board.remote]
kind = "esp32s3"
url = "rfc2217://lab.example:4000?ign_set_control"

[board.far]
kind = "esp32"
place = "cellar-7"

[board.unknown]
url = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"

[board.virtual-1]
kind = "virtual-esp8266"
virtual = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(text)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> BenchFile:
    return load_bench(written(tmp_path, GOOD))


def refused(folder: Path, text: str) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        load_bench(written(folder, text))
    return caught.value


def port(device: str, serial: str | None = None, location: str | None = None, vid: int = 0x10C4):
    info = ListPortInfo(device)
    info.vid, info.pid, info.serial_number, info.location = vid, 0xEA60, serial, location
    return info


# -- the file


def test_boards_are_read_in_their_order_with_what_they_have_in_common(bench: BenchFile):
    names = [one.name for one in bench.boards]
    assert names == ["kitchen", "hall", "attic", "remote", "far", "unknown", "virtual-1"]
    assert (bench.wifi_ssid, bench.address) == ("workshop", "192.0.2.10")
    kitchen, hall, attic = bench.boards[:3]
    assert (kitchen.kind, kitchen.address) == ("esp32", Address(usb_serial="0123ABC"))
    assert kitchen.firmware == bench.path.parent / "images" / "esp32.bin"
    assert kitchen.power is not None and (kitchen.power.hub, kitchen.power.hub_port) == ("1-1", 4)
    assert (hall.address, hall.power) == (Address(location="1-1.2"), None)
    assert attic.address == Address(mac="34:85:18:aa:bb:cc")


def test_boards_are_picked_by_name_each_once(bench: BenchFile):
    assert [one.name for one in bench.pick(["hall", "kitchen", "hall"])] == ["hall", "kitchen"]


def test_all_stands_for_every_board_and_one_without_a_kind_is_told(bench: BenchFile):
    with pytest.raises(KeyfobHostError) as caught:
        bench.pick(["all"])
    assert caught.value.code == "bench.kind-missing"
    assert "unknown" in caught.value.cause and "keyfob bench scan --probe" in caught.value.fix


def test_an_unknown_board_is_refused_with_the_nearest_one(bench: BenchFile):
    with pytest.raises(KeyfobHostError) as caught:
        bench.pick(["kitchn"])
    assert (caught.value.code, caught.value.status) == ("bench.unknown-board", ExitStatus.USAGE)
    assert "kitchen" in caught.value.fix and "hall" in caught.value.evidence


def test_a_bench_without_a_file_is_told_how_to_get_one(tmp_path: Path):
    with pytest.raises(KeyfobHostError) as caught:
        load_bench(tmp_path / "bench.toml")
    assert (caught.value.code, caught.value.fix) == ("bench.no-file", "keyfob bench scan")
    assert find_entry(Home(tmp_path), "kitchen") is None


def test_a_file_without_boards_says_so_when_they_are_wanted(tmp_path: Path):
    empty = load_bench(written(tmp_path, "# nothing yet\n"))
    with pytest.raises(KeyfobHostError, match=r"bench\.no-boards"):
        empty.pick(["all"])


@pytest.mark.parametrize(
    ("old", "new", "code", "field", "says"),
    [
        ('kind = "esp8266"', 'kind = "esp8255"', "toml.out-of-range", "board.hall.kind", "esp8266"),
        ('location = "1-1.2"', 'locaton = "1-1.2"', "toml.unknown-field", "board.hall.locaton",
         "perhaps location"),
        ('location = "1-1.2"', 'location = "hub 1"', "toml.out-of-range", "board.hall.location",
         "1-1.4"),
        ('location = "1-1.2"', "", "bench.ways", "board.hall", "exactly one of"),
        ('location = "1-1.2"', 'location = "1-1.2"\nmac = "34:85:18:aa:bb:cd"',
         "bench.ways", "board.hall", "has mac and location"),
        ('location = "1-1.2"', "virtual = true", "toml.out-of-range", "board.hall.virtual",
         "false for a real kind"),
        ("virtual = true", 'usb_serial = "1"', "toml.out-of-range", "board.virtual-1.virtual",
         "true for a virtual kind"),
        ("34:85:18:AA:BB:CC", "34-85-18-AA-BB-CC", "toml.out-of-range", "board.attic.mac", "MAC"),
        ("rfc2217://lab.example:4000?ign_set_control", "lab.example:4000", "toml.out-of-range",
         "board.remote.url", "rfc2217://host:port"),
        ("[board.hall]", "[board.Hall]", "toml.out-of-range", "board.Hall", "a-z"),
        ("[board.hall]", "[board.all]", "toml.out-of-range", "board.all", "not all"),
        ("[board.hall]", "[board.esp32]", "toml.out-of-range", "board.esp32", "another name"),
        ("[board.hall]", "[boards.hall]", "toml.unknown-field", "boards", "perhaps board"),
        ('location = "1-1.2"', 'usb_serial = "0123ABC"', "toml.out-of-range",
         "board.hall.usb_serial", "board kitchen"),
        ('driver = "uhubctl"', 'driver = "hub"', "toml.out-of-range", "board.kitchen.power.driver",
         "'relay'"),
        ("hub_port = 4", "port = 4", "toml.unknown-field", "board.kitchen.power.port", "hub_port"),
        ("hub_port = 4", "", "toml.out-of-range", "board.kitchen.power.hub_port", "to be given"),
        ("hub_port = 4", "hub_port = 4\nchannel = 1", "toml.out-of-range",
         "board.kitchen.power.channel", "left out for the driver uhubctl"),
        ('driver = "uhubctl"\nhub = "1-1"\nhub_port = 4', 'driver = "relay"\nchannel = 2',
         "toml.out-of-range", "board.kitchen.power.usb_serial", "exactly one of"),
        ('driver = "uhubctl"\nhub = "1-1"\nhub_port = 4',
         'driver = "command"\noff = "switch off"\non = ["x"]', "toml.wrong-type",
         "board.kitchen.power.off", "an array"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_with_name_line_and_what_is_wanted(
    tmp_path: Path, old: str, new: str, code: str, field: str, says: str
):
    assert old in GOOD
    error = refused(tmp_path, GOOD.replace(old, new, 1))
    assert error.code == code
    assert re.search(rf"bench\.toml:\d+: {re.escape(field)} ", error.evidence), error.evidence
    assert says in error.evidence


@pytest.mark.parametrize("value", ['"hush-hush"', "12345678", '["hush-hush"]'])
def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path, value: str):
    text = GOOD.replace('ssid = "workshop"', f'ssid = "workshop"\npassword = {value}')
    error = refused(tmp_path, text)
    assert error.code == "bench.password-in-file"
    assert "KEYFOB_WIFI_PASSWORD" in error.fix
    told = "".join(str(part) for part in error.as_dict().values())
    assert "hush-hush" not in told and "12345678" not in told


def test_a_hub_s_port_is_that_of_the_board_s_location(tmp_path: Path):
    text = (
        '[board.one]\nkind = "esp32"\nlocation = "1-1.4"\n[board.one.power]\ndriver = "uhubctl"\n'
    )
    power = load_bench(written(tmp_path, text)).find("one").power
    assert power is not None and (power.hub, power.hub_port) == ("1-1", 4)


def test_the_readme_s_example_is_a_bench_file(tmp_path: Path):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    example = readme.partition("### A bench of boards")[2].partition("```toml\n")[2]
    boards = load_bench(written(tmp_path, example.partition("```")[0])).pick(["all"])
    assert [(one.name, one.virtual) for one in boards] == [("kitchen", False), ("spare", True)]
    assert boards[0].power is not None


# -- the port of today


def test_a_board_is_found_by_serial_number_whatever_its_port_is_called():
    address = Address(usb_serial="B")
    before = [port("/dev/ttyUSB0", "A"), port("/dev/ttyUSB1", "B")]
    after = [port("/dev/ttyUSB0", "B"), port("/dev/ttyUSB1", "A")]
    assert find_port(address, "board x", before) == "/dev/ttyUSB1"
    assert find_port(address, "board x", after) == "/dev/ttyUSB0"


def test_two_adapters_with_one_serial_number_are_no_guess():
    ports = [port("/dev/ttyUSB0", "0001", "1-1"), port("/dev/ttyUSB1", "0001", "1-2")]
    with pytest.raises(KeyfobHostError) as caught:
        find_port(Address(usb_serial="0001"), "board x", ports)
    assert caught.value.code == "port.ambiguous"
    assert 'location = "1-1"' in caught.value.fix and "1-2" in caught.value.evidence


def test_a_location_finds_an_adapter_with_several_ports_only_with_its_interface():
    ports = [port("/dev/ttyUSB0", "F", "1-4:1.0"), port("/dev/ttyUSB1", "F", "1-4:1.1")]
    assert find_port(Address(location="1-4:1.1"), "x", ports) == "/dev/ttyUSB1"
    with pytest.raises(KeyfobHostError, match=r"port\.ambiguous"):
        find_port(Address(location="1-4"), "x", ports)


def test_a_chip_with_usb_of_its_own_is_found_by_mac_without_being_asked():
    ports = [port("/dev/ttyACM0", "34:85:18:AA:BB:CC", "1-1", 0x303A)]
    assert find_port(Address(mac="34:85:18:aa:bb:cc"), "x", ports) == "/dev/ttyACM0"


def test_a_board_that_is_not_plugged_in_is_told_with_how_it_is_found(bench: BenchFile):
    with pytest.raises(KeyfobHostError) as caught:
        resolve_port(bench.find("kitchen"))
    assert caught.value.code == "port.not-plugged-in"
    assert "board kitchen" in caught.value.cause and "0123ABC" in caught.value.evidence


@pytest.mark.parametrize(
    ("serial", "others", "way"),
    [
        ("ABC", [], Address(usb_serial="ABC")),
        ("0001", [], Address(location="1-1")),  # what Silicon Labs leaves in all of them
        ("ABC", ["ABC"], Address(location="1-1")),
        (None, [], Address(location="1-1")),
        ("\x1b[2J", [], Address(location="1-1")),
    ],
)
def test_a_serial_number_is_used_only_if_it_tells_boards_apart(
    serial: str | None, others: list[str], way: Address
):
    one = port("/dev/ttyUSB0", serial, "1-1")
    there = [one, *(port(f"/dev/ttyUSB{n}", other, f"1-{n}") for n, other in enumerate(others, 2))]
    assert lasting_address(one, there)[0] == way


# -- as --board takes it


def test_a_name_stands_for_kind_and_port(tmp_path: Path):
    written(tmp_path, GOOD)
    ref = open_board("remote", home=Home(tmp_path))
    assert (ref.kind.name, ref.name) == ("esp32s3", "remote")
    assert ref.port == "rfc2217://lab.example:4000?ign_set_control"
    assert ref.options == " --board remote"


def test_the_doctor_takes_a_name_as_its_one_word(tmp_path: Path):
    written(tmp_path, GOOD)
    assert choose_board(Home(tmp_path), "remote", None, None, None).options == " --board remote"
    with pytest.raises(KeyfobHostError) as caught:
        choose_board(Home(tmp_path), "remot", None, None, None)
    assert caught.value.fix.startswith("keyfob doctor remote")


def test_a_suite_takes_a_name_as_kind_and_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEYFOB_WIFI_PASSWORD", "secret")
    written(tmp_path, GOOD)
    (one,) = line_up(Asked("remote", home=Home(tmp_path)))
    assert (one.name, one.kind, one.address) == ("remote", "esp32s3", "192.0.2.10")
    (own,) = line_up(Asked("virtual-esp32", home=Home(tmp_path)))
    assert own.entry is None
    with pytest.raises(KeyfobHostError) as caught:
        line_up(Asked("remot", home=Home(tmp_path)))
    assert caught.value.fix.endswith("--board remote")


def test_a_port_beside_a_name_is_where_the_board_is_for_once(tmp_path: Path):
    written(tmp_path, GOOD)
    ref = open_board("kitchen", "/dev/ttyUSB9", home=Home(tmp_path))
    assert (ref.kind.name, ref.port) == ("esp32", "/dev/ttyUSB9")


def test_a_board_named_like_its_kind_is_found_unless_a_port_is_given(tmp_path: Path):
    written(tmp_path, '[board.esp32]\nkind = "esp32"\nurl = "socket://127.0.0.1:7"\n')
    home = Home(tmp_path)
    assert open_board("esp32", home=home).port == "socket://127.0.0.1:7"
    assert open_board("esp32", "/dev/ttyUSB1", home=home).port == "/dev/ttyUSB1"


def test_a_name_that_is_neither_kind_nor_board_is_told_with_both(tmp_path: Path):
    written(tmp_path, GOOD)
    with pytest.raises(KeyfobHostError) as caught:
        open_board("kitschen", home=Home(tmp_path))
    assert caught.value.code == "board.unknown-kind"
    assert "hall" in caught.value.evidence and "esp32c3" in caught.value.evidence
    assert caught.value.fix.endswith("--board kitchen")


def test_a_virtual_board_that_is_not_up_is_told_how_to_start_it_under_its_name(tmp_path: Path):
    written(tmp_path, GOOD)
    with pytest.raises(KeyfobHostError) as caught:
        open_board("virtual-1", home=Home(tmp_path))
    assert caught.value.code == "board.not-up"
    assert caught.value.fix == "keyfob board up virtual-esp8266 --name virtual-1"


def test_a_kind_of_one_s_own_is_looked_for_beside_the_bench_file(tmp_path: Path):
    own = (data_path("boards") / "esp32.toml").read_text()
    (tmp_path / "big.toml").write_text(own.replace('name = "esp32"', 'name = "big"'))
    written(tmp_path, '[board.one]\nkind = "big.toml"\nurl = "socket://127.0.0.1:7"\n')
    assert open_board("one", home=Home(tmp_path)).kind.name == "big"


def test_a_kind_needs_no_bench_file_that_can_be_read(tmp_path: Path):
    written(tmp_path, "[board.")
    with pytest.raises(KeyfobHostError, match=r"board\.not-up"):
        open_board("virtual-esp32", home=Home(tmp_path))
    assert open_board("esp32", "/dev/ttyUSB0", home=Home(tmp_path)).port == "/dev/ttyUSB0"
