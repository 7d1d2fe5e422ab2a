"""The image that a virtual ESP8266 is flashed with when none is given."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from keyfob_host.boards import load_kind
from keyfob_host.errors import KeyfobHostError
from keyfob_host.flash.firmware_file import check_firmware
from keyfob_host.flash.images import default_image
from keyfob_host.flash.stand_in import esp8266_stand_in


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path))
    return tmp_path


def test_it_is_made_in_the_cache_and_passes_as_an_esp8266_image():
    kind = load_kind("virtual-esp8266")
    image = default_image(kind)
    firmware = check_firmware(image, kind)
    assert (firmware.chip, firmware.flash_size) == ("esp8266", 4 << 20)
    image.write_bytes(b"damaged")
    assert default_image(kind).read_bytes() == esp8266_stand_in()


def test_no_real_board_gets_it_unasked():
    with pytest.raises(KeyfobHostError) as caught:
        default_image(load_kind("esp8266"))
    assert caught.value.code == "flash.no-default-image"


def test_its_first_words_are_a_program_that_does_nothing():
    image = esp8266_stand_in()
    magic, count, _, _, entry = struct.unpack_from("<BBBBI", image)
    address, length = struct.unpack_from("<II", image, 8)
    assert (magic, count, entry) == (0xE9, 2, address)
    # Xtensa's J: 18 bits of offset from the next instruction's address, low bits 000110.
    word = int.from_bytes(image[16:19], "little")
    offset = (word >> 6) - (1 << 18)
    assert (word & 0x3F, offset) == (0x06, -4)
    assert not any(image[19 : 16 + length])


def test_a_byte_changed_anywhere_is_found(tmp_path: Path):
    kind = load_kind("virtual-esp8266")
    for offset in (0x10, 0x3F, 0x8FFC, 0x9000, -1):
        image = bytearray(esp8266_stand_in())
        image[offset] ^= 1
        (tmp_path / "changed.bin").write_bytes(image)
        with pytest.raises(KeyfobHostError) as caught:
            check_firmware(tmp_path / "changed.bin", kind)
        assert caught.value.code == "flash.image-damaged"
