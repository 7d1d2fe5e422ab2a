"""Board files: the shipped ones, and every way of getting one wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from esptool.targets import CHIP_DEFS

from keyfob_host.boards import BoardRef, kind_names, load_kind, load_kind_file, open_board
from keyfob_host.data import data_path
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard

GOOD = (data_path("boards") / "esp32.toml").read_text()


def refused(folder: Path, text: str) -> KeyfobHostError:
    path = folder / "esp32.toml"
    path.write_text(text)
    with pytest.raises(KeyfobHostError) as caught:
        load_kind_file(path)
    return caught.value


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(part))


def test_the_kinds_of_the_first_release_are_there():
    real = ["esp32", "esp32c3", "esp32s3", "esp8266"]
    assert kind_names() == [*real, "virtual-esp32", "virtual-esp8266"]


@pytest.mark.parametrize("name", kind_names())
def test_offset_and_chip_id_are_those_esptool_knows(name: str):
    kind = load_kind(name)
    rom = CHIP_DEFS[kind.chip]
    assert kind.flash.offset == rom.BOOTLOADER_FLASH_OFFSET
    if kind.chip != "esp8266":  # its headers name no chip
        assert kind.image_chip_id == rom.IMAGE_CHIP_ID
    assert f"{kind.flash.size >> 20}MB" in rom.FLASH_SIZES


@pytest.mark.parametrize("name", kind_names())
def test_every_kind_names_an_engine_that_verifies(name: str):
    # The ESP8266 port's own TLS cannot, so it must not be what is used there.
    kind = load_kind(name)
    assert kind.tls.engine == ("keyfob" if kind.chip == "esp8266" else "mbedtls")


@pytest.mark.parametrize("name", kind_names())
def test_packages_go_into_romfs_where_bytecode_would_fill_the_heap(name: str):
    kind = load_kind(name)
    assert kind.sync.to == ("romfs" if kind.heap_bytes < 64 << 10 else "files")


def test_limits_are_what_the_board_gets_in_its_settings():
    assert load_kind("esp32").limits.as_dict() == {
        "rx_bytes": 4096,
        "tx_bytes": 4096,
        "payload_bytes": 2048,
        "inflight": 4,
        "inbox": 8,
    }


REQUIRED = [
    "name", "title", "virtual", "chip", "heap_bytes", "size", "offset", "baud", "before", "after",
    "mode", "freq", "size_option", "label", "reset", "download_mode", "rx_bytes", "tx_bytes",
    "payload_bytes", "inflight", "engine", "to",
]  # fmt: skip


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_refused_with_its_dotted_name_and_its_table_s_line(
    tmp_path: Path, field: str
):
    found = re.search(rf"^{field} = .*\n", GOOD, re.M)
    assert found
    table = re.findall(r"^\[(\w+)\]", GOOD[: found.start()], re.M)
    dotted = f"{table[-1]}.{field}" if table else field
    text = GOOD.replace(found[0], "", 1)
    error = refused(tmp_path, text)
    assert error.code == "toml.missing-field"
    assert f"{dotted} is missing" in error.cause
    line = line_of(text, f"[{table[-1]}]") if table else 1
    assert f"esp32.toml:{line}:" in error.evidence


@pytest.mark.parametrize("table", ["flash", "serial", "limits", "tls", "sync"])
def test_a_missing_table_is_refused(tmp_path: Path, table: str):
    text = re.sub(rf"^\[{table}\].*\n(?:[^\[].*\n|\n)*", "", GOOD, flags=re.M)
    error = refused(tmp_path, text)
    assert (error.code, f"{table} is missing" in error.cause) == ("toml.missing-field", True)


@pytest.mark.parametrize(
    ("old", "new", "code", "field", "says"),
    [
        ("heap_bytes =", "heap_byte =", "toml.unknown-field", "heap_byte", "perhaps heap_bytes"),
        ("baud = 460800", "bauds = 460800", "toml.unknown-field", "flash.bauds", "perhaps baud"),
        ("virtual = false", 'virtual = "no"', "toml.wrong-type", "virtual", "true or false"),
        ("virtual = false", "virtual = 0", "toml.wrong-type", "virtual", "true or false"),
        ("size = 0x400000", 'size = "4MB"', "toml.wrong-type", "flash.size", "an integer"),
        ("size = 0x400000", "size = true", "toml.wrong-type", "flash.size", "an integer"),
        ("size = 0x400000", "size = 0x300000", "toml.out-of-range", "flash.size", "power of two"),
        ("offset = 0x1000", "offset = -1", "toml.out-of-range", "flash.offset", "from 0"),
        ("offset = 0x1000", "offset = 0x1001", "toml.out-of-range", "flash.offset", "4096"),
        ("inflight = 4", "inflight = 0", "toml.out-of-range", "limits.inflight", "from 1 to 64"),
        ('chip = "esp32"', 'chip = "esp31"', "toml.out-of-range", "chip", "'esp32'"),
        ('chip = "esp32"', "chip = 32", "toml.out-of-range", "chip", "'esp32'"),
        ('"mbedtls"', '"none"', "toml.out-of-range", "tls.engine", "'mbedtls'"),
        ('to = "files"', 'to = "flash"', "toml.out-of-range", "sync.to", "'romfs'"),
        ('name = "esp32"', 'name = "other"', "toml.out-of-range", "name", "esp32"),
        ('title = "ESP32, 4 MB flash"', 'title = ""', "toml.out-of-range", "title", "from 1"),
        ("payload_bytes = 2048", "payload_bytes = 4096", "toml.out-of-range",
         "limits.payload_bytes", "less than"),
        ("image_chip_id = 0", "", "toml.out-of-range", "image_chip_id", "to be given"),
        ('# image_sha256 = ["…"]', 'image_sha256 = ["12"]', "toml.out-of-range",
         "flash.image_sha256[0]", "64"),
        ("[vfs]", "[vfs.x]", "toml.unknown-field", "vfs.x", "label"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_with_name_line_and_what_is_wanted(
    tmp_path: Path, old: str, new: str, code: str, field: str, says: str
):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    error = refused(tmp_path, text)
    assert (error.code, error.status) == (code, ExitStatus.INPUT)
    assert re.search(rf"esp32\.toml:\d+: {re.escape(field)} ", error.evidence)
    assert says in error.evidence
    line = next((n for n, one in enumerate(text.splitlines(), 1) if new and new in one), 1)
    assert f"esp32.toml:{line}:" in error.evidence


def test_toml_that_does_not_parse_is_refused_with_line(tmp_path: Path):
    error = refused(tmp_path, GOOD + "\nbaud = = 1\n")
    assert error.code == "toml.syntax"
    assert f"line {GOOD.count(chr(10)) + 2}" in error.evidence


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path: Path):
    (tmp_path / "esp32.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(KeyfobHostError, match=r"toml\.syntax"):
        load_kind_file(tmp_path / "esp32.toml")
    with pytest.raises(KeyfobHostError, match=r"file\.missing"):
        load_kind_file(tmp_path / "none.toml")


def test_a_board_file_of_one_s_own_is_taken_by_its_path(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('name = "esp32"', 'name = "mine"').replace("4096\n", "2049\n"))
    assert load_kind(str(path)).name == "mine"


def test_an_unknown_kind_is_refused_with_the_nearest_one():
    with pytest.raises(KeyfobHostError) as caught:
        open_board("esp32-c3", "/dev/null")
    assert caught.value.code == "board.unknown-kind"
    assert caught.value.fix.endswith("--board esp32c3")
    assert caught.value.status == ExitStatus.USAGE


def test_a_real_board_needs_a_port():
    with pytest.raises(KeyfobHostError, match=r"port\.not-given"):
        open_board("esp32")


def test_a_virtual_board_takes_no_port(tmp_path: Path):
    with pytest.raises(KeyfobHostError, match=r"board\.port-unused"):
        open_board("virtual-esp32", "/dev/ttyUSB0", home=Home(tmp_path))


@pytest.mark.parametrize(
    ("kind", "port", "name", "options"),
    [
        ("esp32", "/dev/tty USB0", "a", " --board esp32 --port '/dev/tty USB0'"),
        ("esp32", "/dev/ttyUSB0", "a", " --board esp32 --port /dev/ttyUSB0"),
    ],
)
def test_a_board_says_how_a_command_names_it(kind: str, port: str, name: str, options: str) -> None:
    assert BoardRef(load_kind(kind), port, name).options == options


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("virtual-esp32", "virtual-esp32", ""),
        ("virtual-esp32", "other", " --board virtual-esp32 --name other"),
        ("virtual-esp8266", "virtual-esp8266", " --board virtual-esp8266"),
    ],
)
def test_a_virtual_board_needs_no_option_where_it_is_the_default(
    tmp_path: Path, kind: str, name: str, options: str
) -> None:
    virtual = VirtualBoard(Home(tmp_path), name)
    assert BoardRef(load_kind(kind), "", name, virtual).options == options
