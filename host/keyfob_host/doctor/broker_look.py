"""Look at the broker of a board: its log, its certificates and lists, what its tap saw.

The bench's own broker is known in all of it, running or not; of any other there is its log,
if it was named. Nothing is asked of a broker here: see `keyfob_host.doctor.served`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509

from keyfob_host.broker import MosquittoBroker
from keyfob_host.doctor.sightings import BrokerSight, LogLine, log_line
from keyfob_host.doctor.tap_daemon import EVENTS, tap_of
from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.home import Home
from keyfob_host.pki.crl import read_crls
from keyfob_host.pki.identity import load_certs

_TAIL_BYTES = 512 << 10
_MOST_LINES = 4000
_SAME = timedelta(seconds=5)  # a log has whole seconds
_Found = TypeVar("_Found")


def look_at_broker(home: Home, log: Path | None = None) -> BrokerSight:
    """The bench's broker; with ``log`` any other's. Error: ``file.*`` of that log."""
    tap = tap_of(home.broker_dir)
    taps = _verdicts(home.broker_dir / EVENTS) if tap else ()
    port, own_port = (tap.port, tap.target[1]) if tap else (0, 0)
    if log is not None:
        with explain_os_error(log, "read the broker's log"):
            return BrokerSight(
                log=_log(_tail(log)), log_path=str(log), taps=taps, port=port, own_port=own_port
            )  # fmt: skip
    running = MosquittoBroker.attach(home.broker_dir)
    path = home.broker_dir / MosquittoBroker.LOG
    if running is None:
        return BrokerSight(
            is_ours=path.exists(), log=_log(_tail_if_there(path)), log_path=str(path), taps=taps,
            port=port, own_port=own_port,
        )  # fmt: skip
    crl = running.crl_path
    return BrokerSight(
        is_ours=True,
        is_up=tap is None or tap.pid is not None,
        name=running.identity_dir.name,
        port=tap.port if tap else running.port,
        own_port=running.port,
        started_at=datetime.now(timezone.utc) - timedelta(seconds=running.uptime_s),
        clients_ca_at=_changed_at(running.ca_pem_path),
        log=_log(_tail_if_there(path)),
        log_path=str(path),
        chain=_or_none(lambda: load_certs(running.identity_dir / "chain.pem", "its certificate")),
        clients_ca=_or_none(lambda: load_certs(running.ca_pem_path, "its CA file")),
        crls=_or_none(lambda: read_crls(crl)) if crl else (),
        taps=taps,
    )


def with_clock(broker: BrokerSight, known_bytes: int) -> BrokerSight:
    """``broker`` by this host's clock, where its log has grown beyond ``known_bytes`` just now.

    What was written a moment ago has the broker's time in it, and the file this host's.
    """
    path = Path(broker.log_path)
    changed = _changed_at(path)
    if changed is None or log_bytes(broker) <= known_bytes:
        return broker
    last = next((one.at for one in reversed(_log(_tail_if_there(path))) if one.at), None)
    if last is None:
        return broker
    ahead = last - changed
    if abs(ahead) < _SAME:
        return replace(broker, clock_ahead_s=0.0)
    log = tuple(replace(one, at=one.at - ahead if one.at else None) for one in broker.log)
    return replace(broker, log=log, clock_ahead_s=ahead.total_seconds())


def log_bytes(broker: BrokerSight) -> int:
    """How much it has written; 0 where that is not known."""
    try:
        return Path(broker.log_path).stat().st_size if broker.log_path else 0
    except OSError:
        return 0


def find_own(
    home: Home, prefix: str
) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]] | None:
    """The device identity here whose certificate's SHA-256 begins so, as a board tells it."""
    from cryptography.hazmat.primitives import hashes

    for path in sorted(home.certs_dir.glob("device/[!.]*/chain.pem")):
        chain = _or_none(partial(load_certs, path, "the certificate"))
        if chain and chain[0].fingerprint(hashes.SHA256()).hex().startswith(prefix):
            return chain[0], chain[1:]
    return None


def _log(text: str) -> tuple[LogLine, ...]:
    return tuple(log_line(line) for line in text.splitlines()[-_MOST_LINES:])


def _tail_if_there(path: Path) -> str:
    with suppress(OSError):
        return _tail(path)
    return ""


def _tail(path: Path) -> str:
    """The end of the file, from the beginning of a line."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    return text if size <= _TAIL_BYTES else text.partition("\n")[2]


def _or_none(read: Callable[[], Sequence[_Found]]) -> tuple[_Found, ...]:
    """Nothing for what cannot be read: `keyfob cert check` says why."""
    try:
        return tuple(read())
    except KeyfobHostError:
        return ()


def _changed_at(path: Path) -> datetime | None:
    with suppress(OSError):
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    return None


def _verdicts(path: Path) -> tuple[dict[str, Any], ...]:
    """Of the connections that said something: a link may be tried out without a byte."""
    found = []
    for line in _tail_if_there(path).splitlines():
        with suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            if event["what"] in ("summary", "half-open") and said_something(event):
                found.append(event)
    return tuple(found)


def said_something(event: dict[str, Any]) -> bool:
    """Whether a tap's ``event`` at a connection's end tells of more than that it was opened."""
    is_empty = event["ended_by"] == "board" and not event["after"]
    return bool(event["causes"] or event["is_well"]) and not is_empty
