"""A finding, the rule that makes it, and what rules judge.

A rule is data: code, severity, one sentence, fix, and a function that yields the evidence
once for each time the rule is broken. ``error`` means that a board or a broker refuses it,
``warning`` that some do or soon will, ``note`` that it is worth knowing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from keyfob_host.boards import BoardKind
from keyfob_host.printable import EVIDENCE_CHARS, printable

Role = Literal["broker", "device", "ca"]


class Severity(str, Enum):
    """How bad it is; see the module's docstring."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """``cause``: one sentence. ``evidence``: what was seen and what was wanted. ``fix``: a
    command that can be pasted. ``item``: which certificate, key or list of the file, ""
    for the file itself."""

    code: str
    severity: Severity
    cause: str
    evidence: str
    fix: str
    file: str
    item: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "severity": self.severity.value}


@dataclass(frozen=True)
class Context:
    """What the check is for. ``at``: the moment of judgement. ``host``: the name or address
    that boards connect to. ``board``: the kind of board, or None for any."""

    at: datetime
    host: str | None = None
    board: BoardKind | None = None


@dataclass(frozen=True)
class Judged:
    """What every rule's subject has. ``fixes`` fills a rule's fix beside ``{file}``."""

    file: str
    item: str
    role: Role | None
    context: Context
    fixes: Mapping[str, str] = field(default_factory=dict, kw_only=True)


T = TypeVar("T", bound=Judged)
T_contra = TypeVar("T_contra", bound=Judged, contravariant=True)


@dataclass(frozen=True)
class Rule(Generic[T_contra]):
    """See the module's docstring. ``roles``: whom it is for; () for all, and for none."""

    code: str
    severity: Severity
    cause: str
    fix: str
    judge: Callable[[T_contra], Iterable[str]]
    roles: tuple[Role | None, ...] = ()


def apply(rules: Iterable[Rule[T]], subject: T) -> Iterator[Finding]:
    """What the rules find in one subject."""
    for rule in rules:
        if rule.roles and subject.role not in rule.roles:
            continue
        for evidence in rule.judge(subject):
            values = {"file": shlex.quote(subject.file), **subject.fixes}
            fix = rule.fix.format_map(values)
            shown, fix, item = (
                printable(one, limit=EVIDENCE_CHARS) for one in (evidence, fix, subject.item)
            )
            yield Finding(
                rule.code, rule.severity, rule.cause, shown, fix, subject.file, item
            )  # fmt: skip


@dataclass
class Report:
    """``findings``, the worst first. ``checked``: a line for each thing that was looked at:
    (file, what it is)."""

    findings: list[Finding] = field(default_factory=list)
    checked: list[tuple[str, str]] = field(default_factory=list)

    def count(self, severity: Severity) -> int:
        """How many of that severity."""
        return sum(finding.severity is severity for finding in self.findings)
