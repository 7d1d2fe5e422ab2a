"""A program that switches something, run to its end: no shell, bounded time and output."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.printable import EVIDENCE_CHARS, printable


@dataclass(frozen=True)
class Ended:
    """How it ended; ``output``: all it wrote, to standard output and error."""

    command: str
    status: int
    output: str

    @property
    def words(self) -> str:
        """The end of what it wrote, safe to show."""
        return printable(self.output.strip()[-EVIDENCE_CHARS:], keep="\n") or "it said nothing"


def run_program(arguments: Sequence[str], timeout_s: float, *, install: str) -> Ended:
    """Run ``arguments``; ``install`` is the fix where there is no such program.

    Errors: ``power.program-missing``, ``power.program-silent``. Its exit status is not judged.
    """
    command = shlex.join(arguments)
    try:
        done = subprocess.run(
            list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode("utf-8", "replace")
        raise KeyfobHostError(
            "power.program-silent", f"the program did not end within {timeout_s:g} s",
            evidence=f"{command}: {Ended(command, 0, said).words}; it was ended, and the board's "
            "power may be on or off", fix=command, status=ExitStatus.HOST,
        ) from error  # fmt: skip
    except OSError as error:  # not there, or not to be run by this user
        raise KeyfobHostError(
            "power.program-missing", f"the program {arguments[0]} cannot be run",
            evidence=f"{command}: {error.strerror or error}", fix=install, status=ExitStatus.HOST,
        ) from error  # fmt: skip
    return Ended(command, done.returncode, done.stdout.decode("utf-8", "replace"))
