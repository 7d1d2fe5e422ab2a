"""Stock esptool for a port behind an RFC 2217 server, with Keyfob's client for such ports.

Run as a program in esptool's place (`keyfob_host.flash.esptool_run`); arguments, output and
exit status are esptool's. With pyserial's own client an image takes fifteen times as long
(see `keyfob_host.rfc2217_port`). If the server confirmed none of the changes of DTR and RTS,
the last line of the output says so.
"""

from __future__ import annotations

import json
import runpy
import sys
from typing import Any

import serial

from keyfob_host import rfc2217_port

UNCONFIRMED = "Note: the RFC 2217 server confirmed no change of DTR and RTS."

_NOT_SERVED = "RFC 2217 port not served: "

_opened: list[rfc2217_port.Serial] = []


class _Noted(rfc2217_port.Serial):
    def open(self) -> None:
        try:
            super().open()
        except rfc2217_port.NotServed as error:
            # In a form that is read back (`read_not_served`); esptool words it in its own way.
            sys.stdout.write(f"{_NOT_SERVED}{json.dumps([error.why, str(error), error.said])}\n")
            raise
        if self not in _opened:
            _opened.append(self)


def read_not_served(output: str) -> rfc2217_port.NotServed | None:
    """Why the port could not be opened, from this program's output; None if it was."""
    lines = [line for line in output.splitlines() if line.startswith(_NOT_SERVED)]
    return rfc2217_port.NotServed(*json.loads(lines[-1][len(_NOT_SERVED) :])) if lines else None


def main() -> None:
    """Never returns: esptool ends the process."""
    serial.protocol_handler_packages.insert(0, "keyfob_host.serial_handlers")
    from keyfob_host.serial_handlers import protocol_rfc2217

    protocol: Any = protocol_rfc2217
    protocol.Serial = _Noted
    try:
        runpy.run_module("esptool", run_name="__main__", alter_sys=True)
    finally:
        asked = [one for one in _opened if one.lines_set]
        if asked and not any(one.lines_confirmed for one in asked):
            sys.stdout.write(f"\n{UNCONFIRMED}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
