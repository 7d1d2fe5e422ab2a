"""The whole of it: paths in, an `Examination` out. Opens files, and nothing else.

Whatever is in a file, it is read or left out with a reason; only what was named and is not there,
or nothing that is known at all, is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.utils import CryptographyDeprecationWarning

from keyfob_host.boards import BoardKind
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.offline import certificates, configuration
from keyfob_host.doctor.offline.broker_log import is_of_broker, read_broker_log
from keyfob_host.doctor.offline.console_log import read_console_log
from keyfob_host.doctor.offline.gathering import Given, LogFile, gather
from keyfob_host.doctor.offline.judging import judge
from keyfob_host.doctor.offline.material import Material, collect
from keyfob_host.doctor.offline.signs import Fact, LogRead, Sign, shortened
from keyfob_host.doctor.offline.stamps import split
from keyfob_host.doctor.offline.tap_log import TapRead, read_tap_log
from keyfob_host.lint.finding import Context, Finding

_DAY = timedelta(days=1)
_SKEW_S = 5.0
# A sign's first cause, which the dates of a valid certificate exclude, and what is left.
_DATES = (
    ("x509.broker-expired", "clock.board-ahead", "has expired for"),
    ("clock.board-never-set", "clock.board-never-set", "is not valid yet for"),
)
_VERIFY = "client-certificate.unknown-ca"


@dataclass
class Examination:
    """``diagnoses``: the verdict first. ``other``: the linter's errors that have no cause in the
    catalogue. ``past``: what was so once. ``looked_at``: (file, what it is)."""

    diagnoses: list[Diagnosis] = field(default_factory=list)
    other: list[Finding] = field(default_factory=list)
    past: list[Sign] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    looked_at: list[tuple[str, str]] = field(default_factory=list)
    board_ahead_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "diagnoses": [one.as_dict() for one in self.diagnoses],
            "other": [one.as_dict() for one in self.other],
            "past": [one.evidence().as_dict() for one in self.past],
            "notes": self.notes,
            "looked_at": [{"file": file, "what": what} for file, what in self.looked_at],
            "board_ahead_s": self.board_ahead_s,
        }


def examine(
    paths: Iterable[Path],
    now: datetime,
    *,
    host: str | None = None,
    board: BoardKind | None = None,
    board_ahead_s: float = 0.0,
) -> Examination:
    """``now``: the moment of judgement. Errors: those of `gather`."""
    given = gather(paths)
    with warnings.catch_warnings():
        # What the library warns of is a finding here.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        return _examined(given, now, host, board, board_ahead_s)


def _examined(
    given: Given, now: datetime, host: str | None, board: BoardKind | None, board_ahead_s: float
) -> Examination:
    result = Examination(notes=list(given.unread))
    reads = [read for log in given.logs for read in _read(log, now, board_ahead_s)]
    taps = [one for one in reads if isinstance(one, TapRead)]
    names = [name for one in taps for name in one.names]
    material = _collect(given, taps)
    host = host or (names[0] if names else None)
    facts, result.other, report = certificates.judge(material, Context(now, host, board))
    facts += certificates.between_ends(material, now)
    for one in taps:
        facts += certificates.not_reloaded(material, one.served)
    for path in given.confs:
        conf = configuration.read_configuration(path)
        if isinstance(conf, str):
            result.notes.append(conf)
        else:
            facts += configuration.facts(conf)
            result.looked_at.append((str(path), "mosquitto's configuration"))
    signs = [sign for read in reads for sign in read.signs]
    facts += _of_clocks(reads, signs, material, now)
    excluded = certificates.refuted(material, host, facts)
    result.diagnoses = judge(signs, facts, excluded, host or certificates.names_of(material))
    result.past = [one for one in signs if one.is_over]
    result.looked_at += [(read.where, _described(read)) for read in reads]
    result.looked_at += report.checked
    result.notes += [*material.notes, *(note for read in reads for note in read.notes)]
    _compare_clocks(result, reads, board_ahead_s)
    return result


def _read(log: LogFile, now: datetime, ahead_s: float) -> list[LogRead]:
    lines = list(enumerate(log.text.splitlines(), start=1))
    where = str(log.path)
    if log.is_cut:
        lines = [(number, line) for number, line in lines[1:]]
    if log.kind == "tap":
        return [read_tap_log(where, lines, now)]
    own = {number for number, line in lines if is_of_broker(split(line, now)[1])}
    reads: list[LogRead] = []
    # One file may hold both, as containers' output does.
    if own:
        reads.append(read_broker_log(where, [one for one in lines if one[0] in own], now))
    if len(own) < len(lines):
        rest = [one for one in lines if one[0] not in own]
        console = read_console_log(where, rest, now, ahead_s)
        if console.signs or console.arrivals or not own:
            reads.append(console)
    for read in reads:
        if log.is_cut:
            read.notes.append(f"{where}: only the last {len(log.text)} characters were read")
    return reads


def _collect(given: Given, taps: list[TapRead]) -> Material:
    served = [chain[0] for one in taps for chain in one.served]
    shown = [chain for one in taps for chain in one.shown]
    return collect(given.pki, given.confs, served, shown)


def _described(read: LogRead) -> str:
    shown = f"{read.what}, {read.lines} line{'s' * (read.lines != 1)}"
    if read.first and read.last:
        shown += f", {read.first:%Y-%m-%dT%H:%M:%SZ} to {read.last:%Y-%m-%dT%H:%M:%SZ}"
    return shown


def _of_clocks(
    reads: list[LogRead], signs: list[Sign], material: Material, now: datetime
) -> list[Fact]:
    """Facts that a log's times show against certificates or against today."""
    found: list[Fact] = []
    for sign in signs:
        if sign.source == "broker" and sign.at and sign.causes[0] == _VERIFY:
            found += certificates.broker_behind(material, sign.at, now)
        for first, code, text in _DATES:
            if sign.causes[0] == first and code in sign.causes:
                found += certificates.against_board(material, code, text, now)
    for read in reads:
        if read.what == "board's console" and read.last and read.last > now + _DAY:
            evidence = Evidence(
                "board", f"{shortened(read.where)}: the board's clock is ahead", None,
                f"{read.last:%Y-%m-%dT%H:%M:%SZ} by the board", f"at most {now:%Y-%m-%dT%H:%M:%SZ}",
            )  # fmt: skip
            found.append(Fact("clock.board-ahead", evidence))
    return list(dict.fromkeys(found))


def _compare_clocks(result: Examination, reads: list[LogRead], ahead_s: float) -> None:
    """The same arrival as board and broker have it: how far the board's clock is ahead."""
    boards = [a for read in reads if read.what == "board's console" for a in read.arrivals]
    brokers = [a for read in reads if read.what == "broker's log" for a in read.arrivals]
    for client in dict.fromkeys(one.client_id for one in boards):
        ours = [one.at for one in boards if one.client_id == client and one.at]
        theirs = [one.at for one in brokers if one.client_id == client and one.at]
        if not ours or not theirs:
            continue
        # The latest of both are the same event, if both logs go on to the same end.
        seconds = (ours[-1] - theirs[-1]).total_seconds()
        if abs(seconds) > _SKEW_S:
            offered = round(seconds + ahead_s)
            result.board_ahead_s = offered
            result.notes.append(
                f"the clocks seem to differ: {client} came in at {ours[-1]:%Y-%m-%dT%H:%M:%SZ} by "
                f"the board and at {theirs[-1]:%Y-%m-%dT%H:%M:%SZ} by the broker; to line them "
                f"up: --board-ahead {offered}"
            )
            return
