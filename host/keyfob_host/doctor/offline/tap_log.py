"""What ``keyfob tap`` wrote: each connection's verdict, the certificates shown, the name asked for.

The dates in it were judged by the tap's clock when it passed; here the certificates themselves
are taken again. A line that is no event is passed over.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.offline.signs import LogRead, Sign, merged
from keyfob_host.doctor.offline.stamps import split
from keyfob_host.printable import LINE_CHARS, printable

_MOST_CERTIFICATES = 16
_MOST_CHAINS = 200


@dataclass
class TapRead(LogRead):
    """``served`` and ``shown``: chains in DER of the broker's and of boards, each once;
    ``names``: what boards asked for."""

    served: dict[tuple[bytes, ...], datetime | None] = field(default_factory=dict)
    shown: dict[tuple[bytes, ...], datetime | None] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def read_tap_log(where: str, lines: list[tuple[int, str]], now: datetime) -> TapRead:
    """One JSON object a line, as `keyfob_host.doctor.tap.TapEvent.as_dict` gives."""
    read = TapRead(where, "tap's log", len(lines))
    signs: list[Sign] = []
    half_open: dict[str, Sign | None] = {}  # by connection, while no summary is there
    for number, line in lines:
        event = _event(line)
        if event is None:
            continue
        at, _ = split(str(event.get("at", "")), now)
        read.saw(at)
        what = event.get("what")
        if event.get("from") == "broker" and what != "refused":
            # It is there now, so a time at which it was not is over.
            signs = [replace(one, is_over=True) if one.kind == "refused" else one for one in signs]
        if what == "certificate":
            _take_chain(read, event, at)
        elif what == "client-hello":
            name = event.get("server_name")
            if isinstance(name, str) and name and name not in read.names:
                read.names.append(printable(name, limit=LINE_CHARS))
        elif what in ("summary", "half-open"):
            sign = None if event.get("is_well") else _sign(f"{where}:{number}", event, at)
            connection = str(event.get("connection"))
            if what == "half-open":
                half_open[connection] = sign
                continue
            half_open.pop(connection, None)
            if sign is not None:
                signs.append(sign)
        elif what == "refused":
            why = printable(str(event.get("why", "")), limit=LINE_CHARS)
            causes = ("tcp.listener-down", "tcp.unreachable")
            text = f"the broker takes no connection: {why}"
            signs.append(Sign("wire", "refused", text, f"{where}:{number}", causes, at))
    read.signs = merged([*signs, *(one for one in half_open.values() if one is not None)])
    return read


def _event(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _take_chain(read: TapRead, event: dict[str, Any], at: datetime | None) -> None:
    ders = event.get("der")
    if not isinstance(ders, list):
        return
    try:
        chain = tuple(
            base64.b64decode(one, validate=True) for one in ders[:_MOST_CERTIFICATES]
        )  # fmt: skip
    except (binascii.Error, TypeError, ValueError):
        return
    kept = read.served if event.get("from") == "broker" else read.shown
    if chain and (chain in kept or len(kept) < _MOST_CHAINS):
        kept[chain] = at


def _sign(where: str, event: dict[str, Any], at: datetime | None) -> Sign | None:
    told = event.get("causes")
    known = load_catalogue()
    causes = tuple(
        one for one in told if isinstance(one, str) and one in known
    ) if isinstance(told, list) else ()  # fmt: skip
    if not causes:
        return None
    alert = event.get("alert")
    meaning = printable(str(event.get("meaning", "")), limit=LINE_CHARS)
    kind, text = meaning, meaning
    if isinstance(alert, dict):
        kind = f"alert {alert.get('number')} from the {alert.get('from')}"
        text = f"{kind}: {meaning}"
    # An end without an alert says who closed, and the one who did knows why.
    is_echo = not isinstance(alert, dict)
    kind, text = (printable(one, limit=LINE_CHARS) for one in (kind, text))
    return Sign("wire", kind, text, where, causes, at, is_echo=is_echo)
