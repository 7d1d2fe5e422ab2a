"""What stands between host and board: esptool, mpremote, ampy and the port.

Texts are those of esptool 5 (and 4 where they differ), mpremote 1.29 and ampy 1.1.
"""

from __future__ import annotations

from keyfob_host.doctor.phrase import phrases

ESPTOOL_SOURCE = "esptool"
REPL_SOURCE = "mpremote or ampy"
PORT_SOURCE = "the serial port"

_NO_ANSWER = "serial.no-answer serial.not-in-download-mode serial.wiring"
_NOISE = "serial.noise serial.not-in-download-mode"
_PROMPT = "serial.no-prompt serial.port-busy firmware.erased"

PHRASES = (
    *phrases(
        ESPTOOL_SOURCE,
        ("Failed to connect to ESP*Wrong boot mode detected", "the board runs its program instead "
         "of waiting", "serial.not-in-download-mode"),
        ("Failed to connect to ESP*serial TX path seems to be down", "the board is in download "
         "mode and hears nothing", "serial.wiring"),
        ("Failed to connect to ESP*No serial data received", "nothing answers on the port",
         _NO_ANSWER),
        ("Invalid head of packet*serial noise or corruption", "what answers is not the chip's ROM, "
         "or noise", _NOISE),
        ("Wrong boot mode detected", "the board runs its program instead of waiting",
         "serial.not-in-download-mode"),
        ("serial TX path seems to be down", "the board is in download mode and hears nothing",
         "serial.wiring"),
        ("No serial data received", "nothing answers on the port", _NO_ANSWER),
        ("Timed out waiting for packet header", "nothing answers on the port", _NO_ANSWER),
        ("Invalid head of packet", "what answers is not the chip's ROM, or noise", _NOISE),
        ("Invalid SLIP escape", "what answers is not the chip's ROM, or noise", _NOISE),
        ("Possible serial noise or corruption", "bytes are lost or spoilt", _NOISE),
        ("content transfer stopped", "a packet ended in the middle", _NOISE),
        ("Response doesn't match request", "an answer to something else came", _NOISE),
        ("Failed to connect to ESP", "the chip did not answer", _NO_ANSWER),
        ("This chip is *not ", "the board has another chip than was named", "firmware.erased"),
        ("MD5 of file does not match", "what is in the flash is not what was written",
         "serial.noise firmware.power"),
        ("will not fit in", "the image is larger than the flash", "firmware.erased"),
        ("the port is busy or doesn't exist", "the port cannot be opened",
         "serial.port-busy serial.no-port serial.no-permission"),
        ("returned no data", "the port went away or is read by two programs",
         "serial.port-busy serial.no-port firmware.power"),
    ),
    *phrases(
        REPL_SOURCE,
        ("could not enter raw repl", "the board does not give its prompt", _PROMPT),
        ("could not exec command", "the prompt did not take a command", _PROMPT),
        ("could not complete raw paste", "the prompt did not take a whole program", _PROMPT),
        ("unexpected read during raw paste", "the prompt did not take a whole program", _PROMPT),
        ("timeout waiting for first EOF", "the board's program did not end in time",
         "serial.no-prompt firmware.crash"),
        ("timeout waiting for second EOF", "the board stopped in the middle of an answer",
         "firmware.crash serial.noise"),
        ("no device found", "there is no board on any port", "serial.no-port serial.no-answer"),
        ("no device with serial number", "the board of that serial number is not there",
         "serial.no-port"),
        ("failed to access", "the port cannot be opened",
         "serial.port-busy serial.no-permission serial.no-port"),
    ),
    *phrases(
        PORT_SOURCE,
        ("Permission denied: '/dev/", "this user may not open the port", "serial.no-permission"),
        ("No such file or directory: '/dev/", "there is no such port", "serial.no-port"),
        ("exclusively lock port", "another program holds the port", "serial.port-busy"),
        ("Device or resource busy", "another program holds the port", "serial.port-busy"),
        ("could not open port", "the port cannot be opened",
         "serial.no-port serial.port-busy serial.no-permission"),
    ),
)  # fmt: skip
