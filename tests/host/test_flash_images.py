"""Images judged before a port is opened: the real one, and what people give by mistake."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import flash_rig
import pytest

from keyfob_host.boards import BoardKind, load_kind
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.esp_image import read_header, read_partitions
from keyfob_host.flash.firmware_file import check_firmware

ESP32 = load_kind("esp32")
ESP8266 = load_kind("esp8266")


@pytest.fixture(scope="module")
def image() -> bytes:
    return flash_rig.real_image()


def refused(folder: Path, content: bytes, kind: BoardKind = ESP32) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        check_firmware(flash_rig.write(folder, content), kind)
    assert caught.value.fix
    return caught.value


def image_info(path: Path) -> str:
    """esptool's own reading of an image."""
    command = [sys.executable, "-m", "esptool", "image-info", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_real_image_is_whole_and_its_parts_are_found(tmp_path: Path, image: bytes):
    firmware = check_firmware(flash_rig.write(tmp_path, image), ESP32)
    assert (firmware.chip, firmware.size, firmware.flash_size) == ("esp32", 1556784, 4 << 20)
    assert [(p.label, p.offset, p.size) for p in firmware.partitions] == [
        ("nvs", 0x9000, 0x6000),
        ("phy_init", 0xF000, 0x1000),
        ("factory", 0x10000, 0x180000),
        ("vfs", 0x200000, 0x200000),
    ]
    assert firmware.flash_needed == 4 << 20


@pytest.mark.parametrize("start", [0, flash_rig.APPLICATION])
def test_headers_are_read_as_esptool_reads_them(tmp_path: Path, image: bytes, start: int):
    header = read_header(image, start)
    info = image_info(flash_rig.write(tmp_path, image[start:]))
    assert f"Entry point: {header.entry:#x}" in info
    assert "Checksum: " in info and info.count("(valid)") == 2
    assert "Chip ID: 0 (ESP32)" in info and header.chip == "esp32"
    assert "Flash size: 4MB" in info and header.flash_size == 4 << 20


@pytest.mark.parametrize(
    ("chip_id", "chip", "kind"), [(5, "esp32c3", "esp32c3"), (9, "esp32s3", "esp32s3")]
)
def test_another_chip_s_image_is_refused_and_its_kind_named(
    tmp_path: Path, image: bytes, chip_id: int, chip: str, kind: str
):
    error = refused(tmp_path, flash_rig.for_chip(image, chip_id))
    assert error.code == "flash.wrong-chip"
    assert f"for {chip}, not for esp32" in error.cause
    assert f"--board {kind}" in error.fix


def test_an_unknown_chip_is_refused_with_its_number(tmp_path: Path, image: bytes):
    error = refused(tmp_path, flash_rig.for_chip(image, 77))
    assert (error.code, "id 77" in error.cause) == ("flash.wrong-chip", True)


def test_an_application_for_another_chip_behind_the_right_bootloader_is_refused(
    tmp_path: Path, image: bytes
):
    changed = bytearray(image)
    struct.pack_into("<H", changed, flash_rig.APPLICATION + 12, 5)
    flash_rig.resign(changed, flash_rig.APPLICATION)
    assert refused(tmp_path, bytes(changed)).code == "flash.wrong-chip"


@pytest.mark.parametrize("length", [1, 23, 24, 5000, 0x7000, 0xF000, 0x20000, 1556783])
def test_a_truncated_image_is_refused_wherever_it_ends(tmp_path: Path, image: bytes, length: int):
    assert refused(tmp_path, image[:length]).code in (
        "flash.image-damaged",
        "flash.application-only",  # ends before its partition table
        "flash.wrong-chip",  # ends within its header
    )


def test_a_truncated_image_says_how_much_is_missing(tmp_path: Path, image: bytes):
    error = refused(tmp_path, image[:-1])
    assert error.code == "flash.image-damaged"
    assert "1556783 bytes, at least 1556784 needed" in error.evidence


# Offsets in the file: bootloader segment, partition table, application segment, its checksum.
@pytest.mark.parametrize("at", [0x2000, 0x7020, 0x80000, 0x17C10F, 1556783])
def test_one_flipped_bit_is_found(tmp_path: Path, image: bytes, at: int):
    changed = bytearray(image)
    changed[at] ^= 0x10
    assert refused(tmp_path, bytes(changed)).code == "flash.image-damaged"


def test_an_application_alone_is_told_from_a_full_image(tmp_path: Path, image: bytes):
    error = refused(tmp_path, image[flash_rig.APPLICATION :])
    assert error.code == "flash.application-only"
    assert "full .bin" in error.fix


def test_a_bootloader_alone_is_refused(tmp_path: Path, image: bytes):
    assert refused(tmp_path, image[:22704]).code == "flash.application-only"


def test_an_image_of_the_whole_flash_is_told_from_one_for_its_offset(tmp_path: Path, image: bytes):
    merged = b"\xff" * 0x1000 + image
    error = refused(tmp_path, merged)
    assert error.code == "flash.wrong-offset"
    # The fix, run as it stands, makes a file that is accepted.
    command = error.fix.split(", ")[0]
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    assert check_firmware(tmp_path / "firmware-0x1000.bin", ESP32).size == len(image)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x7fELF" + bytes(100), "ELF"),
        (b"UF2\n" + bytes(508), "UF2"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"PK\x03\x04" + bytes(100), "ZIP"),
        (b":020000040800F2\n", "Intel HEX"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xea\x04\x00\x00" + bytes(100), "over-the-air"),
        (bytes(4096), "no firmware image"),
        (b"\xff" * 8192, "no firmware image"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(tmp_path: Path, content: bytes, says: str):
    error = refused(tmp_path, content)
    assert error.code == "flash.not-an-image"
    assert says in error.cause
    assert "FILE" not in error.fix


def test_a_missing_a_huge_and_a_folder_are_refused(tmp_path: Path):
    (tmp_path / "huge.bin").touch()
    with (tmp_path / "huge.bin").open("r+b") as file:
        file.truncate((16 << 20) + 1)
    for name, code in (
        ("none.bin", "file.missing"), ("huge.bin", "file.too-large"), (".", "file.not-a-file"),
    ):  # fmt: skip
        with pytest.raises(KeyfobHostError) as caught:
            check_firmware(tmp_path / name, ESP32)
        assert caught.value.code == code


def test_a_pinned_sha256_is_held_to(tmp_path: Path, image: bytes):
    path = flash_rig.write(tmp_path, image)
    sha256 = check_firmware(path, ESP32).sha256
    assert check_firmware(path, ESP32, expected_sha256=sha256.upper()).sha256 == sha256
    with pytest.raises(KeyfobHostError, match=r"flash\.sha256-mismatch"):
        check_firmware(path, ESP32, expected_sha256="0" * 64)


def test_a_kind_with_a_list_of_images_takes_no_other(tmp_path: Path, image: bytes):
    path = flash_rig.write(tmp_path, image)
    text = (Path(__file__).parents[2] / "boards" / "esp32.toml").read_text()
    listed = check_firmware(path, ESP32).sha256
    for sha256, accepted in ((listed, True), ("0" * 64, False)):
        board = tmp_path / "esp32.toml"
        board.write_text(text.replace('# image_sha256 = ["…"]', f'image_sha256 = ["{sha256}"]'))
        kind = load_kind(str(board))
        if accepted:
            assert check_firmware(path, kind).sha256 == listed
        else:
            with pytest.raises(KeyfobHostError, match=r"flash\.sha256-mismatch"):
                check_firmware(path, kind)


def test_an_image_too_large_for_the_kind_s_flash_is_refused(tmp_path: Path, image: bytes):
    text = (Path(__file__).parents[2] / "boards" / "esp32.toml").read_text()
    board = tmp_path / "esp32.toml"
    board.write_text(text.replace("size = 0x400000", "size = 0x200000"))
    with pytest.raises(KeyfobHostError) as caught:
        check_firmware(flash_rig.write(tmp_path, image), load_kind(str(board)))
    assert caught.value.code == "flash.too-small"
    assert "4096 KB" in caught.value.cause and "2048 KB" in caught.value.cause


def test_an_esp8266_image_is_whole(tmp_path: Path):
    path = flash_rig.write(tmp_path, flash_rig.esp8266_image(bytes(range(256)) * 400))
    firmware = check_firmware(path, ESP8266)
    assert (firmware.chip, firmware.flash_size) == ("esp8266", 4 << 20)
    assert re.search(r"Detected image type: ESP8266", image_info(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:-100], "at least"),
        (lambda data: data[:0x9101] + b"\0" + data[0x9102:], "MD5"),
        (lambda data: data[:20] + b"\0" + data[21:], "checksum"),
    ],
)
def test_a_damaged_esp8266_image_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], says: str
):
    error = refused(tmp_path, change(flash_rig.esp8266_image(bytes(range(256)) * 400)), ESP8266)
    assert error.code == "flash.image-damaged"
    assert says in error.evidence


def test_esp8266_and_esp32_images_are_told_apart(tmp_path: Path, image: bytes):
    small = flash_rig.esp8266_image(bytes(4096))
    assert refused(tmp_path, small, ESP32).code == "flash.wrong-chip"
    assert refused(tmp_path, image, ESP8266).code == "flash.wrong-chip"


def test_where_there_is_no_partition_table_none_is_read(image: bytes):
    assert read_partitions(image, flash_rig.TABLE + 0x1000) == []
    assert len(read_partitions(image, flash_rig.TABLE)) == 4
