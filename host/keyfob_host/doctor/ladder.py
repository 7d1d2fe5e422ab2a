"""The ladder from settings to traffic: what was seen at each rung, and the first that is broken.

A rung *holds* if something was seen that could not be without it, is *broken* if the
diagnosis is there, and is *not seen* otherwise. All is well only where every rung was seen to
hold; a board that told of no verified connection never is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Literal

from keyfob_host.boards import DEFAULT_KIND
from keyfob_host.doctor.catalogue import LADDER
from keyfob_host.doctor.diagnosis import Diagnosis
from keyfob_host.doctor.judge import judge
from keyfob_host.doctor.sightings import RECENT, Sightings
from keyfob_host.errors import ExitStatus
from keyfob_host.printable import LINE_CHARS, printable

# Commands that mean the default board where none is named.
_OF_A_BOARD = re.compile(r"\bkeyfob (?:sync|provision|monitor)\b(?![^;#]*--board)")

State = Literal["holds", "broken", "not seen"]

TITLES = {
    "settings": "settings", "serial": "serial line", "firmware": "firmware", "wifi": "Wi-Fi",
    "clock": "clock", "store": "certificate store", "name": "name look-up", "tcp": "TCP",
    "tls": "TLS", "x509": "broker's certificate", "client-certificate": "board's certificate",
    "mqtt": "MQTT CONNECT", "authorization": "authorization", "traffic": "traffic",
}  # fmt: skip


@dataclass(frozen=True)
class Rung:
    """``text``: what was seen there, "" if nothing was."""

    name: str
    state: State
    text: str = ""


@dataclass(frozen=True)
class Ladder:
    """``note``: what is to be said of how it was looked at. ``again``: what shows more of it."""

    rungs: tuple[Rung, ...]
    diagnosis: Diagnosis | None
    note: str = ""
    again: str = ""

    @property
    def fix(self) -> str:
        """The one command to run now, "" if all is well."""
        if self.diagnosis is not None:
            return self.diagnosis.fix or self.diagnosis.cause.fix
        return "" if self.is_well else self.again

    @property
    def is_well(self) -> bool:
        """Every rung was seen to hold."""
        return self.diagnosis is None and all(rung.state == "holds" for rung in self.rungs)

    @property
    def status(self) -> ExitStatus | int:
        """0 only if all is well."""
        if self.diagnosis is not None:
            return self.diagnosis.status
        return 0 if self.is_well else ExitStatus.NOT_KNOWN

    def as_text(self) -> str:
        """For people."""
        width = max(len(title) for title in TITLES.values())
        marks = {"holds": "ok", "broken": "BROKEN", "not seen": "-"}
        rows = [
            f"{marks[rung.state]:<8}{TITLES[rung.name]:<{width}}  {rung.text}".rstrip()
            for rung in self.rungs
        ]
        unseen = [TITLES[rung.name] for rung in self.rungs if rung.state == "not seen"]
        if self.diagnosis is not None:
            end = self.diagnosis.as_text()
        elif self.is_well:
            end = "all rungs hold"
        else:
            end = f"nothing is seen to be broken, but not everything was seen: {', '.join(unseen)}"
            end += f"\nmend   let it boot while the doctor listens\nfix    {self.fix}"
        return "\n".join([*rows, "", end, *([self.note] if self.note else [])])

    def as_dict(self) -> dict[str, Any]:
        """The ``--json`` shape."""
        return {
            "is_well": self.is_well,
            "rungs": [
                {"name": one.name, "state": one.state, "text": one.text} for one in self.rungs
            ],
            "diagnosis": self.diagnosis.as_dict() if self.diagnosis else None,
            "fix": self.fix,
            "note": self.note,
            "status": int(self.status),
        }


def climb(seen: Sightings, note: str = "") -> Ladder:
    """Judge, and tell rung by rung what there was to see."""
    diagnosis = judge(seen)
    if diagnosis is not None:
        diagnosis = replace(diagnosis, fix=_filled(diagnosis.fix or diagnosis.cause.fix, seen))
    texts = dict(_held(seen, diagnosis.rung if diagnosis else ""))
    rungs: list[Rung] = []
    is_below = True
    for name in LADDER:
        if diagnosis is not None and name == diagnosis.rung:
            rungs.append(Rung(name, "broken", printable(diagnosis.code)))
            is_below = False
        elif name in texts and is_below:
            rungs.append(Rung(name, "holds", printable(texts[name], limit=LINE_CHARS)))
        else:
            rungs.append(Rung(name, "not seen"))
    board = seen.board
    where = f"{board.kind.name} --port {quote(board.port)}" if board.port else quote(board.name)
    return Ladder(tuple(rungs), diagnosis, note, f"keyfob doctor {where} --reset")


def _filled(fix: str, seen: Sightings) -> str:
    """A fix of the catalogue with the names of this bench in it."""
    board = seen.board
    where = f"--board {board.kind.name}" + (f" --port {quote(board.port)}" if board.port else "")
    if not board.kind.virtual or board.name != board.kind.name:
        where += "" if board.port else f" --name {quote(board.name)}"
    fix = fix.replace("--board esp32 --port PORT", where).replace("--port PORT", where)
    if where != f"--board {DEFAULT_KIND}":
        fix = _OF_A_BOARD.sub(lambda found: f"{found[0]} {where}", fix)
    if board.kind.virtual:
        fix = fix.replace(" --firmware IMAGE.bin", "")
    settings, port = seen.board.files.settings, seen.port or seen.broker.port
    own = str(settings.get("device_id", "")) or str(
        (seen.board.last("mqtt.up") or {}).get("client_id", "")
    )
    names = {
        r"HOST:8883": f"{seen.host}:{port}" if seen.host and port else "",
        r"HOST": seen.host,
        r"NAME": seen.broker.name,
        r"ID": own,
    }  # fmt: skip
    for word, name in names.items():
        if name:
            # Doubled: in a replacement a backslash has a meaning of its own.
            quoted = quote(name).replace("\\", r"\\")
            fix = re.sub(rf"(?<![\w-]){word}(?![\w-])", quoted, fix)
    return fix


def _held(seen: Sightings, broken: str) -> Iterator[tuple[str, str]]:
    """The rungs that something was seen of, and what. ``broken``: the rung that is."""
    board = seen.board
    events = {str(one["ev"]): one for one in board.events}
    if not events:
        if board.lines:
            yield "serial", f"{len(board.lines)} lines"
        return
    yield "serial", f"{len(board.lines)} lines, {len(board.events)} events since its boot"
    if "boot" in events:
        yield (
            "firmware",
            f"Keyfob {events['boot'].get('version')}, reset by {events['boot'].get('cause')}",
        )
    is_started = any(name.split(".")[0] not in ("boot", "error") for name in events)
    if is_started or board.files.settings:
        where = f"; read from {board.files.how}" if board.files.how else ""
        yield "settings", f"broker {seen.host or '?'}:{seen.port or '?'}{where}"
    if "wifi.up" in events:
        yield "wifi", f"address {events['wifi.up'].get('ip')}"
    if "clock.set" in events:
        yield "clock", f"set by {events['clock.set'].get('server')}{_ahead(board.clock_ahead_s())}"
    if "store.loaded" in events:
        loaded = events["store.loaded"]
        yield "store", f"slot {loaded.get('slot')}, certificate {loaded.get('cert')}"
    yield from _connected(seen, broken)


def _ahead(ahead_s: float | None) -> str:
    if ahead_s is None:
        return ""
    # It is told in whole seconds.
    is_right = abs(ahead_s) <= 1
    return f", {'within a second of' if is_right else f'{ahead_s:+.0f} s from'} this host's"


def _connected(seen: Sightings, broken: str) -> Iterator[tuple[str, str]]:
    board = seen.board
    tls, mqtt = board.last("tls.up"), board.last("mqtt.up")
    error = next((one for one in reversed(board.events) if one["ev"] == "error"), None)
    place = str(error.get("code", "")).partition(".")[0] if error else ""
    if tls is not None and re.search(r"1\.[23]$", str(tls.get("version", ""))):
        yield "name", str(tls.get("host"))
        yield "tcp", f"connected to {tls.get('host')}"
        yield "tls", f"{tls.get('version')}, {tls.get('cipher')}"
        engine = board.files.settings.get("tls", {}).get("engine", board.kind.tls.engine)
        yield "x509", f"verified by {engine}: chain, name, dates"
    elif str(error and error.get("code")) == "tls.refused":
        yield "name", seen.host
    elif place == "x509" or str(error and error.get("code")).startswith("tls.alert"):
        # Their certificates were exchanged, so there was somebody to exchange them with.
        yield "name", seen.host
        yield "tcp", "connected"
        yield "tls", "versions and ciphers were agreed on"
        sent_by = str(error and error.get("detail"))
        if broken == "client-certificate" and "from the broker" in sent_by:
            # A board shows its own only after it has verified the broker's.
            yield "x509", "the board took it, and showed its own"
    if mqtt is None:
        return
    yield "client-certificate", "the broker took it"
    yield "mqtt", f"client {mqtt.get('client_id')}, broker {mqtt.get('host')}:{mqtt.get('port')}"
    published = board.last("publish")
    at = board.at(published) if published else None
    is_recent = at is not None and at > seen.now - RECENT
    passed = _passed(seen, str(mqtt.get("client_id", "")))
    if board.is_connected() and (is_recent or passed):
        yield "authorization", "its messages are taken"
        topic = published.get("topic") if published else ""
        yield "traffic", f"the broker: {passed[-1]}" if passed else f"published to {topic}"


def _passed(seen: Sightings, client: str) -> list[str]:
    """The broker's lines of late on messages of this client, since the board's boot."""
    said = re.compile(rf"(PUBLISH|PUBACK|PINGREQ|SUBACK) (from|to) {re.escape(client)}\b")
    return [one.text for one in seen.recent() if client and said.search(one.text)]
