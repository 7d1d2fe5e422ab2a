"""The driver ``uhubctl``: a USB hub that switches each of its ports by itself.

Runs the program of that name (https://github.com/mvp/uhubctl), which must be installed, and
judges what it says: its exit status, and the state of the port after switching. Only hubs
with per-port power switching can; some of those that say they can switch data lines and
leave the 5 V on, which nobody sees from here. The whole port is switched: a board with a
second supply stays on. Linux before 6.0 may give the power back by itself after seconds;
``uhubctl -r 100`` in the driver ``command`` is the way around that.
"""

from __future__ import annotations

import re
import sys

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.power.program import Ended, run_program
from keyfob_host.power.switch import PowerSwitch

_PROGRAM = "uhubctl"
_TIMEOUT_S = 60.0  # its own retries on a slow hub among it
_INSTALL = f"{'brew' if sys.platform == 'darwin' else 'sudo apt-get'} install {_PROGRAM}"
_RULE = 'SUBSYSTEM=="usb", DRIVER=="hub", MODE="0664", GROUP="dialout"'
# From Linux 6.0 on it writes to the port's own file instead of talking to the hub.
_RULE_6 = (
    'SUBSYSTEM=="usb", DRIVER=="hub", RUN+="/bin/sh -c \\"chgrp -f dialout '
    '$sys$devpath/*-port*/disable; chmod -f 660 $sys$devpath/*-port*/disable; true\\""'
)
_PERMIT = (
    f"printf '%s\\n' '{_RULE}' '{_RULE_6}' | sudo tee /etc/udev/rules.d/52-usb-hubs.rules; "
    "sudo udevadm control --reload; sudo udevadm trigger --attr-match=subsystem=usb"
)


class UhubctlSwitch(PowerSwitch):
    """Port ``hub_port`` of the hub at ``hub`` (``1-1.4``), as uhubctl numbers them."""

    def __init__(self, hub: str, hub_port: int) -> None:
        self._hub = hub
        self._port = hub_port

    def off(self) -> None:
        self._switch("off")

    def on(self) -> None:
        self._switch("on")

    def _switch(self, action: str) -> None:
        arguments = [_PROGRAM, "-l", self._hub, "-p", str(self._port), "-a", action]
        ended = run_program(arguments, _TIMEOUT_S, install=_INSTALL)
        error = refusal(ended, self._hub, self._port, action)
        if error is not None:
            raise error


def refusal(ended: Ended, hub: str, port: int, action: str) -> KeyfobHostError | None:
    """The error in what uhubctl said, None if it switched."""
    where, seen = f"port {port} of USB hub {hub}", f"{ended.command}: {ended.words}"
    if "permission" in ended.output.lower():
        return KeyfobHostError(
            "power.no-permission", f"this user may not switch {where}",
            evidence=seen, fix=_PERMIT, status=ExitStatus.HOST,
        )  # fmt: skip
    if "No compatible devices" in ended.output:
        return KeyfobHostError(
            "power.no-hub", f"there is no USB hub at {hub} that switches its ports one by one",
            evidence=seen, fix="sudo uhubctl  # the hubs that can, with their locations for "
            "bench.toml; most hubs cannot", status=ExitStatus.HOST,
        )  # fmt: skip
    if ended.status != 0:
        return KeyfobHostError(
            "power.not-switched", f"{where} was not switched {action}",
            evidence=seen, fix=ended.command, status=ExitStatus.HOST,
        )  # fmt: skip
    # A hub of USB 3 is two, each with its status before and after.
    parts = re.split(r"^(?=Current status|New status)", ended.output, flags=re.M)
    after = "".join(part for part in parts if part.startswith("New status"))
    states = re.findall(rf"^\s*Port {port}:\s*[0-9a-fA-F]{{4}}\b(.*)$", after, re.M)
    if any(("power" in state.split()) != (action == "on") for state in states):
        return KeyfobHostError(
            "power.not-switched", f"{where} says that it was not switched {action}",
            evidence=seen, fix=ended.command, status=ExitStatus.HOST,
        )  # fmt: skip
    return None
