"""The boot ROMs' sides of the download protocol, chip by chip.

Register addresses and bits are those of esptool's ``targets/``.
"""

from __future__ import annotations

import struct

from esptool.loader import ESPLoader
from esptool.targets import ESP32ROM, ESP8266ROM

from keyfob_host.virtual.download import Loader

_STUB_ONLY = frozenset({"ERASE_FLASH", "ERASE_REGION", "READ_FLASH", "RUN_USER_CODE"})
_NOT_IN_ESP8266 = frozenset({
    "FLASH_DEFL_BEGIN", "FLASH_DEFL_DATA", "FLASH_DEFL_END", "SPI_SET_PARAMS", "SPI_ATTACH",
    "CHANGE_BAUDRATE", "SPI_FLASH_MD5", "READ_FLASH_SLOW",
})  # fmt: skip


def _esp32(mac: str) -> dict[int, int]:
    """An ESP32-D0WD-V3, revision 3.0, crystal 40 MHz."""
    high, low = struct.unpack(">II", b"\0\0" + bytes.fromhex(mac))
    word3 = 1 << 15 | 1 << 9  # revision bit 0, package 1
    # The crystal's frequency is found by counting its cycles against the 8 MHz clock,
    # whose rate stands in an eFuse byte.
    rate_8m = 128
    counted = 40_000_000 * 40 // (15625 * rate_8m)
    return {
        ESP32ROM.EFUSE_RD_REG_BASE + 4: low,
        ESP32ROM.EFUSE_RD_REG_BASE + 8: high,
        ESP32ROM.EFUSE_RD_REG_BASE + 12: word3,
        ESP32ROM.EFUSE_RD_REG_BASE + 20: 1 << 20,  # revision bit 1
        ESP32ROM.APB_CTL_DATE_ADDR: 1 << 31,  # revision bit 2
        ESP32ROM.EFUSE_RD_REG_BASE + 16: rate_8m,
        ESP32ROM.UART_CLKDIV_REG: 40_000_000 // ESPLoader.ESP_ROM_BAUD,
        ESP32ROM.RTCCALICFG1: counted << ESP32ROM.TIMERS_RTC_CALI_VALUE_S,
    }


def _esp8266(mac: str) -> dict[int, int]:
    """An ESP8266EX, crystal 26 MHz."""
    octets = bytes.fromhex(mac)
    crystal = 26_000_000 * ESP8266ROM.XTAL_CLK_DIVIDER
    return {
        ESP8266ROM.ESP_OTP_MAC0: octets[5] << 24,
        ESP8266ROM.ESP_OTP_MAC1: octets[3] << 8 | octets[4],
        ESP8266ROM.ESP_OTP_MAC1 + 4: 0,
        ESP8266ROM.ESP_OTP_MAC3: int.from_bytes(octets[:3], "big"),
        ESP8266ROM.UART_CLKDIV_REG: crystal // ESPLoader.ESP_ROM_BAUD,
    }


ESP32 = Loader(_esp32, _STUB_ONLY, status_bytes=4)
ESP8266 = Loader(_esp8266, _STUB_ONLY | _NOT_IN_ESP8266, status_bytes=2, erases_too_much=True)
