"""What a case tells of itself besides its result: its criterion, measurements, warnings, texts.

The fixture `case` of the plugin; what is noted here travels with the result into the
report. Everything is bounded as it comes in: a report of fifty boards is read by a browser.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MAX_TEXT = 20_000  # characters of one piece of evidence: its end is kept
MAX_VALUES = 1_000
MAX_NOTES = 50  # of warnings, of measurements, of texts


@dataclass
class Case:
    """One run of one test function; see `keyfob_host.hil.report.data` for where it goes."""

    told_criterion: str | None = None
    warnings: list[str] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def criterion(self, sentence: str) -> None:
        """What has to be true for the case to pass, in one sentence; the last one counts."""
        self.told_criterion = " ".join(sentence.split())[:1000]

    def warn(self, sentence: str) -> None:
        """It passes, but not as well as it should: shown with the result, as a warning."""
        if len(self.warnings) < MAX_NOTES:
            self.warnings.append(" ".join(sentence.split())[:1000])

    def measure(self, name: str, values: Iterable[float], *, unit: str, note: str = "") -> None:
        """A series that the report plots: ``values`` in ``unit``, in the order they came."""
        if len(self.measures) < MAX_NOTES:
            kept = [float(value) for value in list(values)[-MAX_VALUES:]]
            self.measures.append({"name": name, "unit": unit, "values": kept, "note": note})

    def evidence(self, title: str, text: str) -> None:
        """A text of the case's own beside the console, the broker's log and the wire."""
        if len(self.texts) < MAX_NOTES:
            self.texts.append((title, bounded(text)))


def bounded(text: str) -> str:
    """The end of ``text``, `MAX_TEXT` characters of it; says how much is left out."""
    if len(text) <= MAX_TEXT:
        return text
    return f"... {len(text) - MAX_TEXT} characters before\n{text[-MAX_TEXT:]}"
