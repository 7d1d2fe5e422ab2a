"""``keyfob doctor --files``: certificates, configuration and logs, without a board."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from keyfob_host.boards import load_kind
from keyfob_host.doctor.offline.examining import Examination, examine
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.lint.names import address_of, is_host_name
from keyfob_host.printable import LINE_CHARS, printable
from keyfob_host.ui import Ui

_SHOWN = 12


def diagnose_files(
    ui: Ui,
    paths: tuple[str, ...],
    *,
    kind: str | None,
    host: str | None,
    at: str | None,
    board_ahead_s: float,
) -> int:
    """Examine ``paths`` and show the verdict; the exit status is its kind of failure.

    Errors: ``doctor.bad-host``, ``doctor.bad-time``, ``board.unknown-kind``, those of `examine`.
    """
    if host is not None and address_of(host) is None and not is_host_name(host.removesuffix(".")):
        raise KeyfobHostError(
            "doctor.bad-host", "boards connect to a DNS name or an IP address, without a port",
            evidence=repr(host), fix="for example: --host broker.example.org",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    found = examine(
        [Path(one).expanduser() for one in paths], _moment(at), host=host,
        board=load_kind(kind) if kind else None, board_ahead_s=board_ahead_s,
    )  # fmt: skip
    ui.result(_as_text(found), found.as_dict())
    if found.diagnoses:
        return found.diagnoses[0].status
    return ExitStatus.IDENTITY if found.other else 0


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(timezone.utc)
    try:
        # Python 3.10 does not know the Z that everybody writes.
        moment = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" * text.endswith("Z"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(
            timezone.utc
        )
    except (ValueError, OverflowError):
        raise KeyfobHostError(
            "doctor.bad-time", "this is no moment", evidence=repr(text),
            fix="for example: --at 2027-01-31T12:00:00Z", status=ExitStatus.USAGE,
        ) from None  # fmt: skip


def _as_text(found: Examination) -> str:
    blocks = [one.as_text() for one in found.diagnoses[:1]]
    also = [
        f"also   {one.code} ({one.confidence}): {one.cause.cause}\n"
        + "".join(f"       {line.line()}\n" for line in one.evidence[:2])
        + f"       {one.fix or one.cause.fix}"
        for one in found.diagnoses[1:]
    ]
    also += [
        f"also   {one.code}: {one.cause}\n       {_line(f'{one.file}: {one.evidence}')}\n"
        f"       {one.fix}"
        for one in found.other
    ]
    blocks += _bounded(also)
    rows = [f"past   {one.evidence().line()}; over since" for one in found.past]
    rows += [f"note   {_line(one)}" for one in found.notes]
    if rows:
        blocks.append("\n".join(_bounded(rows)))
    files = len({file for file, _ in found.looked_at})
    if not found.diagnoses:
        seen = [f"ok     {_line(file)}: {_line(what)}" for file, what in found.looked_at]
        if seen:
            blocks.append("\n".join(_bounded(seen)))
    plural = "" if files == 1 else "s"
    total = len(found.diagnoses) + len(found.other)
    told = f"{total} finding{'s' * (total != 1)}" if total else "nothing wrong in what is there"
    blocks.append(f"{files} file{plural} looked at: {told}")
    return "\n\n".join(blocks)


def _bounded(rows: list[str]) -> list[str]:
    more = len(rows) - _SHOWN
    return [*rows[:_SHOWN], *([f"       … and {more} more"] if more > 0 else [])]


def _line(text: str) -> str:
    return printable(text, limit=LINE_CHARS)
