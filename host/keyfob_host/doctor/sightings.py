"""What was seen of a board and its broker, before anybody judges it: data without I/O.

All times are this host's. A board's ``t`` counts from its boot; the moment at which a line
of it arrived here puts both on one clock, whatever the board believes the time to be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509

from keyfob_host.boards import BoardKind
from keyfob_host.console import Event
from keyfob_host.doctor.diagnosis import Evidence
from keyfob_host.errors import KeyfobHostError

RECENT = timedelta(seconds=90)  # three times a keep alive that is not set otherwise
_BEFORE = timedelta(seconds=20)  # the longest that one attempt to connect takes, or nearly so
_BEHIND = timedelta(seconds=3)  # both clocks are this host's; a log has whole seconds only


@dataclass(frozen=True)
class LogLine:
    """A line of the broker's log. ``at``: None for one without a time."""

    at: datetime | None
    text: str

    def evidence(self) -> Evidence:
        """As such."""
        return Evidence("broker", self.text, self.at)


@dataclass(frozen=True)
class BoardFiles:
    """What was read from the board's file system; no key and no password is in it.

    ``how``: where it was read, "" if it was not. ``anchors`` and ``cert``: DER. ``keys``: of
    each key file its path and its form, such as ``PKCS#1``.
    """

    how: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    cert: bytes | None = None
    anchors: tuple[bytes, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class BoardSight:
    """``lines`` and ``events`` since its last boot, ``booted_at`` None if nothing tells when;
    ``said_at``: when it last said anything.

    ``state``: of a virtual board (``running``, ``download``, …), "" of a real one. ``busy``:
    what the console could not be opened for; a virtual board's log was read all the same.
    """

    kind: BoardKind
    name: str
    port: str = ""  # of a real board
    lines: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    booted_at: datetime | None = None
    said_at: datetime | None = None
    state: str = ""
    busy: KeyfobHostError | None = None
    files: BoardFiles = field(default_factory=BoardFiles)

    def at(self, event: Event) -> datetime | None:
        """When it was, by this host's clock."""
        t = event.get("t")
        if self.booted_at is None or not isinstance(t, (int, float)):
            return None
        return self.booted_at + timedelta(milliseconds=t)

    def last(self, name: str) -> Event | None:
        """The last event of that name."""
        return next((one for one in reversed(self.events) if one["ev"] == name), None)

    def is_connected(self) -> bool:
        """Whether the last that it said of its connection is that it stands."""
        for event in reversed(self.events):
            if event["ev"] in ("mqtt.up", "mqtt.down"):
                return bool(event["ev"] == "mqtt.up")
        return False

    def clock_ahead_s(self) -> float | None:
        """How far its clock was ahead of this host's when it was last set, in seconds."""
        event = self.last("clock.set")
        at = self.at(event) if event else None
        unix_s = event.get("unix_s") if event else None
        if at is None or not isinstance(unix_s, (int, float)):
            return None
        return float(unix_s) - at.timestamp()

    def evidence(self, event: Event) -> Evidence:
        """An event as such."""
        fields = [f"{key}={value}" for key, value in event.items() if key not in ("t", "ev")]
        return Evidence("board", " ".join([str(event["ev"]), *fields]), self.at(event))


@dataclass(frozen=True)
class BrokerSight:
    """The broker that the board is to reach, as far as this machine can look into it.

    ``is_ours``: this bench's, so what follows is known. ``port``: where boards connect, at its
    tap if it has one, and ``own_port`` its own.
    ``chain``: of its file; ``clients_ca`` and ``crls``: of the files it was started with.
    ``started_at``, and ``clients_ca_at`` when that file was last changed. ``clock_ahead_s``: how
    far the times in its log are ahead of this host's clock, by which its lines are told here.
    """

    is_ours: bool = False
    is_up: bool = False
    name: str = ""
    port: int = 0
    own_port: int = 0
    log: tuple[LogLine, ...] = ()
    log_path: str = ""
    chain: tuple[x509.Certificate, ...] = ()
    clients_ca: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    started_at: datetime | None = None
    clients_ca_at: datetime | None = None
    clock_ahead_s: float | None = None
    taps: tuple[dict[str, Any], ...] = ()  # verdicts on connections, the oldest first


@dataclass(frozen=True)
class Served:
    """What this host met at the broker's address.

    ``stage``: how far it came: ``name``, ``tcp``, ``tls`` or ``done``; ``trouble``: why no
    further. ``chain``: the certificates shown, in DER; TLS 1.3 alone hides them.
    ``is_plain``: MQTT in clear was answered.
    """

    host: str
    port: int
    stage: str
    trouble: str = ""
    version: str = ""
    chain: tuple[bytes, ...] = ()
    is_plain: bool = False


@dataclass(frozen=True)
class Sightings:
    """All of it. ``own``: the board's certificate, from its files or found here by its hash."""

    now: datetime
    board: BoardSight
    broker: BrokerSight = field(default_factory=BrokerSight)
    served: Served | None = None
    own: x509.Certificate | None = None
    intermediates: tuple[x509.Certificate, ...] = ()
    host: str = ""  # what the board connects to,
    port: int = 0  # 0 if it is not known

    def around(self, at: datetime | None) -> tuple[LogLine, ...]:
        """The broker's lines of the attempt that ended at ``at``; None: all there are.

        None of a broker that does not run: who was met then was another. None from before
        the board booted: they are of an attempt that it does not speak of any more.
        """
        if self.broker.is_ours and not self.broker.is_up:
            return ()
        if at is None:
            return self.broker.log
        since = at - _BEFORE
        if self.board.booted_at is not None:
            since = max(since, self.board.booted_at.replace(microsecond=0))
        return tuple(one for one in self.broker.log if one.at and since <= one.at <= at + _BEHIND)

    def recent(self) -> tuple[LogLine, ...]:
        """The broker's lines of the last 90 s, and of them those since the board booted."""
        since = self.now - RECENT
        if self.board.booted_at is not None:
            since = max(since, self.board.booted_at.replace(microsecond=0))
        return tuple(one for one in self.broker.log if one.at and one.at >= since)

    def tap(self, at: datetime | None) -> dict[str, Any] | None:
        """The tap's verdict on the attempt that ended at ``at``: the last one that fits."""
        one: dict[str, Any]
        for one in reversed(self.broker.taps):
            seen = datetime.fromisoformat(one["at"].replace("Z", "+00:00"))
            if at is None or at - _BEFORE <= seen <= at + _BEHIND:
                return one
        return None


def log_line(line: str) -> LogLine:
    """A line of mosquitto's log, with the time that it begins with in either of its forms."""
    head, _, text = line.partition(": ")
    try:
        if head.isdigit() and len(head) == 10:
            return LogLine(datetime.fromtimestamp(int(head), timezone.utc), text)
        at = datetime.fromisoformat(head.replace("Z", "+00:00"))
        return LogLine(at if at.tzinfo else at.astimezone(), text)
    except ValueError:
        return LogLine(None, line)
