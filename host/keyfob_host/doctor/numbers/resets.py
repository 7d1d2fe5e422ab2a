"""Why a board started: ``machine.reset_cause()``, ``rst:`` of ESP32, ``rst cause`` of ESP8266.

The ROM's numbers are ESP-IDF's ``esp32/rom/rtc.h`` and, for ESP8266, what its ROM is known to
print; those of ``machine.reset_cause()`` are ``ports/esp32`` and the ESP8266 SDK's.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning

ROM32_SOURCE = "the ESP32's boot ROM"
ROM8266_SOURCE = "the ESP8266's boot ROM"
CAUSE32_SOURCE = "machine.reset_cause() on ESP32"
CAUSE8266_SOURCE = "machine.reset_cause() on ESP8266"

_HUNG = "firmware.watchdog firmware.crash"
_ROM32: dict[int, Entry] = {
    1: ("POWERON_RESET", "power came on; again and again: the supply breaks down",
        "firmware.power"),
    3: ("SW_RESET", "the program restarted the chip", "firmware.crash"),
    4: ("OWDT_RESET", "a watchdog ran out", _HUNG),
    5: ("DEEPSLEEP_RESET", "woken from deep sleep; nothing is wrong", ""),
    6: ("SDIO_RESET", "reset over SDIO", ""),
    7: ("TG0WDT_SYS_RESET", "a watchdog ran out: the program hung", _HUNG),
    8: ("TG1WDT_SYS_RESET", "a watchdog ran out: the program hung", _HUNG),
    9: ("RTCWDT_SYS_RESET", "a watchdog ran out: the program hung", _HUNG),
    10: ("INTRUSION_RESET", "an intrusion was detected", ""),
    11: ("TGWDT_CPU_RESET", "a watchdog ran out: the program hung", _HUNG),
    12: ("SW_CPU_RESET", "the program restarted the processor, as it does after a crash too",
         "firmware.crash"),
    13: ("RTCWDT_CPU_RESET", "a watchdog ran out: the program hung", _HUNG),
    14: ("EXT_CPU_RESET", "one core was reset by the other; nothing is wrong", ""),
    15: ("RTCWDT_BROWN_OUT_RESET", "the supply voltage broke down", "firmware.power"),
    16: ("RTCWDT_RTC_RESET", "the ROM found nothing to start, or the start hung",
         "firmware.erased firmware.power firmware.watchdog"),
}  # fmt: skip
_ROM8266: dict[int, Entry] = {
    0: ("unknown", "the ROM does not know why", ""),
    1: ("power on", "power came on; again and again: the supply breaks down", "firmware.power"),
    2: ("reset pin or restart", "the reset pin, or the program, restarted the chip", ""),
    3: ("software reset", "the program restarted the chip", ""),
    4: ("hardware watchdog", "the watchdog ran out: the program hung, or there is none",
        "firmware.watchdog firmware.erased firmware.crash"),
}  # fmt: skip
_CAUSE32: dict[int, Entry] = {
    1: ("PWRON_RESET", "power came on, or the supply broke down", "firmware.power"),
    2: ("HARD_RESET", "the program restarted the board, or crashed", "firmware.crash"),
    3: ("WDT_RESET", "a watchdog ran out: the program hung", _HUNG),
    4: ("DEEPSLEEP_RESET", "woken from deep sleep; nothing is wrong", ""),
    5: ("SOFT_RESET", "a soft reset of MicroPython; nothing is wrong", ""),
}
_CAUSE8266: dict[int, Entry] = {
    0: ("PWRON_RESET", "power came on; nothing is wrong", ""),
    1: ("WDT_RESET", "the hardware watchdog ran out: the program hung", _HUNG),
    2: ("exception", "the firmware crashed", "firmware.crash"),
    3: ("software watchdog", "the software watchdog ran out: the program hung", _HUNG),
    4: ("SOFT_RESET", "the program restarted the board; nothing is wrong", ""),
    5: ("DEEPSLEEP_RESET", "woken from deep sleep; nothing is wrong", ""),
    6: ("HARD_RESET", "the reset pin; nothing is wrong", ""),
}


def rom32(number: int) -> list[Meaning]:
    """What ``rst:0x…`` of an ESP32's ROM means."""
    return _one(_ROM32, number, ROM32_SOURCE, f"rst:{number:#x}")


def rom8266(number: int) -> list[Meaning]:
    """What ``rst cause:…`` of an ESP8266's ROM means."""
    return _one(_ROM8266, number, ROM8266_SOURCE, f"rst cause:{number}")


def cause(number: int) -> list[Meaning]:
    """What ``machine.reset_cause()`` means by ``number``: one answer a port that has it."""
    return _one(_CAUSE32, number, CAUSE32_SOURCE, str(number)) + _one(
        _CAUSE8266, number, CAUSE8266_SOURCE, str(number)
    )


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name: ``SW_CPU_RESET`` of a ROM, ``WDT_RESET`` of ``reset_cause()``."""
    for table, read in ((_ROM32, rom32), (_CAUSE32, cause), (_CAUSE8266, cause)):
        for number, entry in table.items():
            if entry[0] == name and "_" in name:
                return [one for one in read(number) if one.name.startswith(name)]
    return []


def _one(table: dict[int, Entry], number: int, source: str, shown: str) -> list[Meaning]:
    return [meaning(table[number], source, number=shown)] if number in table else []
