"""What a board's console shows: the boot ROM, ESP-IDF, and MicroPython's exceptions.

ROM and ESP-IDF texts are what the chips print; MicroPython's are those of ``py/``,
``ports/esp32`` and ``ports/esp8266``.
"""

from __future__ import annotations

from keyfob_host.doctor.phrase import phrases

ROM_SOURCE = "the chip's boot ROM or bootloader"
IDF_SOURCE = "ESP-IDF, beneath MicroPython"
PYTHON_SOURCE = "MicroPython"

_CRASH = "firmware.crash firmware.power"

PHRASES = (
    *phrases(
        ROM_SOURCE,
        ("invalid header: 0xffffffff", "the flash is erased where the program should be",
         "firmware.erased"),
        ("invalid header: 0x*", "what is in the flash is no program for this chip, or at another "
         "offset", "firmware.erased"),
        ("waiting for download", "the board is in download mode", "firmware.download-mode"),
        ("(DOWNLOAD", "the board is in download mode", "firmware.download-mode"),
        ("No bootable app partitions", "the partition table has no program that starts",
         "firmware.erased"),
        ("load partition table error", "there is no valid partition table", "firmware.erased"),
        ("Failed to verify partition table", "there is no valid partition table",
         "firmware.erased"),
        ("ets_main.c", "the ROM found nothing to start", "firmware.erased"),
        ("csum err", "the program in the flash is damaged", "firmware.erased firmware.power"),
        ("flash read err", "the flash cannot be read", "firmware.erased firmware.power"),
        ("Checksum failed", "the program in the flash is damaged", "firmware.erased"),
    ),
    *phrases(
        IDF_SOURCE,
        ("Brownout detector was triggered", "the supply voltage broke down", "firmware.power"),
        ("Guru Meditation Error", "the firmware crashed", _CRASH),
        ("Stack smashing protect failure", "the firmware crashed", _CRASH),
        ("CORRUPT HEAP", "the firmware crashed: its memory was overwritten", _CRASH),
        ("abort() was called", "the firmware gave up", _CRASH),
        ("Task watchdog got triggered", "the program made no pause for too long",
         "firmware.watchdog"),
        ("Interrupt wdt timeout", "the firmware hung", "firmware.watchdog firmware.crash"),
        ("Fatal exception", "the firmware crashed", _CRASH),
        ("wdt reset", "a watchdog restarted the chip", "firmware.watchdog firmware.erased"),
        ("no AP found", "no access point of this name answers", "wifi.no-access-point"),
        ("beacon timeout", "the access point is no longer heard", "wifi.weak-signal"),
    ),
    *phrases(
        PYTHON_SOURCE,
        ("memory allocation failed, heap is locked", "memory was asked for inside an interrupt "
         "handler", "firmware.out-of-memory"),
        ("MemoryError: memory allocation failed, allocating * bytes", "no piece of memory that "
         "large is free; 5 to 17 KB are those of TLS", "firmware.out-of-memory tls.heap-too-small"),
        ("memory allocation failed, allocating * bytes", "no piece of memory that large is free; "
         "5 to 17 KB are those of TLS", "firmware.out-of-memory tls.heap-too-small"),
        ("MemoryError", "no memory left", "firmware.out-of-memory tls.heap-too-small"),
        ("no module named", "a module is not on the board", "firmware.file-missing"),
        ("incompatible .mpy", "a compiled module is for another MicroPython",
         "firmware.wrong-mpy"),
        ("maximum recursion depth exceeded", "the program calls itself too deeply",
         "firmware.out-of-memory"),
        ("Wifi Internal State Error", "connect() was called while the last one is under way",
         "wifi.refused"),
        ("Wifi Internal Error", "the Wi-Fi driver failed", "wifi.refused firmware.out-of-memory"),
        ("WiFi Out of Memory", "no memory for the Wi-Fi driver", "firmware.out-of-memory"),
        ("Wifi Invalid Password", "the password has a length that WPA does not take: 8 to 63",
         "wifi.password"),
        ("Wifi SSID Invalid", "the network's name is empty or longer than 32 bytes",
         "wifi.no-access-point"),
        ("Wifi Not Connected", "the Wi-Fi is not connected", "wifi.weak-signal"),
        ("STA must be active", "the Wi-Fi was not switched on: WLAN.active(True)",
         "settings.missing"),
    ),
)  # fmt: skip
