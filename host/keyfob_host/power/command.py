"""The driver ``command``: two programs of the bench's owner, one for each direction.

For whatever has a command line: ``labgrid-client power off``, ``snmpset`` for a switched
socket, ``curl`` for a smart plug. What they switch is not known here; an exit status that
is not 0 is a failure.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.power.program import run_program
from keyfob_host.power.switch import PowerSwitch


class CommandSwitch(PowerSwitch):
    """``off_arguments`` and ``on_arguments`` are argument lists; no shell reads them."""

    def __init__(
        self, off_arguments: Sequence[str], on_arguments: Sequence[str], timeout_s: float
    ) -> None:
        self._off = tuple(off_arguments)
        self._on = tuple(on_arguments)
        self._timeout_s = timeout_s

    def off(self) -> None:
        self._run(self._off)

    def on(self) -> None:
        self._run(self._on)

    def _run(self, arguments: Sequence[str]) -> None:
        look = f"command -v {shlex.quote(arguments[0])}  # else correct off and on in bench.toml"
        ended = run_program(arguments, self._timeout_s, install=look)
        if ended.status != 0:
            raise KeyfobHostError(
                "power.command-failed", f"the power command ended with status {ended.status}",
                evidence=f"{ended.command}: {ended.words}", fix=ended.command,
                status=ExitStatus.HOST,
            )  # fmt: skip
