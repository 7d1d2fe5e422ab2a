"""What a failed story shows: the board's last words, the broker's log, the time server's.

Sources are added as the bench's parts come up; each is a function that gives text.
A source that itself fails says so in its place: evidence never hides the failure that
it is gathered for.
"""

from __future__ import annotations

from collections.abc import Callable

_TAIL_LINES = 25


class BenchFailure(AssertionError):
    """A story's expectation that did not come true, with the bench's evidence.

    ``what``: the expectation alone.
    """

    def __init__(self, what: str, evidence: str) -> None:
        super().__init__(f"{what}\n{evidence}")
        self.what = what


class Evidence:
    """The sources of one bench, in the order in which they were added."""

    def __init__(self) -> None:
        self._sources: dict[str, Callable[[], str]] = {}

    def add(self, name: str, source: Callable[[], str]) -> None:
        """Ask ``source`` from now on; one of the same name is replaced."""
        self._sources[name] = source

    def remove(self, name: str) -> None:
        """Ask it no more; harmless where it is not asked."""
        self._sources.pop(name, None)

    def sections(self, lines: int = _TAIL_LINES) -> list[tuple[str, str]]:
        """(title, text) of every source, the last ``lines`` lines of each."""
        return [(name, tail(_ask(source), lines)) for name, source in self._sources.items()]

    def failure(self, what: str) -> BenchFailure:
        """The exception for ``what``, which says what was waited for and how long."""
        parts = []
        for name, text in self.sections():
            indented = text.replace("\n", "\n    ")
            parts.append(f"  {name}:\n    {indented}")
        return BenchFailure(what, "\n".join(parts))


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last ``lines`` lines; says how many came before."""
    found = text.rstrip().splitlines()
    if not found:
        return "(nothing)"
    left_out = len(found) - lines
    head = [f"... {left_out} lines before"] if left_out > 0 else []
    return "\n".join(head + found[-lines:])


def _ask(source: Callable[[], str]) -> str:
    try:
        return source()
    except Exception as error:  # evidence of a broken bench: whatever broke
        return f"(not to be had: {type(error).__name__}: {error})"
