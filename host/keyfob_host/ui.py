"""What a person or a script sees: progress, results, errors. Nothing else prints.

Results go to standard output, progress and errors to standard error. With
``--json`` standard output carries one JSON document and nothing else. A name from a
certificate, a board or a broker could be a control sequence: a terminal is shown none.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from keyfob_host.errors import KeyfobHostError
from keyfob_host.printable import printable

_PIPE_WIDTH = 500


class Ui:
    """One per command, from ``click.Context.obj``; see `keyfob_host.cli`."""

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug
        # Without emoji: rich takes the :ab: of a MAC or a fingerprint for one.
        self.err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self.out = Console(highlight=False, soft_wrap=True, emoji=False)

    def step(self, text: str) -> None:
        """One line of progress, on standard error."""
        if not self.as_json:
            self.err.print(printable(text, keep="\n\t"), markup=False)

    def result(self, text: str, data: dict[str, Any]) -> None:
        """The command's result: ``text`` for people, ``data`` with ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, default=str) + "\n")
        else:
            self.out.print(printable(text, keep="\n\t"), markup=False)

    def table(self, table: Table) -> None:
        """A table as the result, for people; a pipe gets every cell in full."""
        wide = Console(width=_PIPE_WIDTH, highlight=False, emoji=False)
        (self.out if self.out.is_terminal else wide).print(table)

    def error(self, error: KeyfobHostError) -> None:
        """Cause, evidence, remarks and fix, on standard error (and as JSON on standard output)."""
        if self.as_json:
            with contextlib.suppress(OSError):  # which may be the error: a full disk
                sys.stdout.write(json.dumps({"error": error.as_dict()}) + "\n")
                sys.stdout.flush()
        self.err.print(f"[bold red]error[/]  {error.code}", markup=True)
        remarks = [(one.label, "\n".join(one.lines)) for one in error.remarks]
        rows = [("cause", error.cause), ("seen", error.evidence), *remarks, ("fix", error.fix)]
        for label, text in rows:
            if text:
                indented = printable(text, keep="\n\t").replace("\n", "\n       ")
                self.err.print(f"{label:<7}{indented}", markup=False)
