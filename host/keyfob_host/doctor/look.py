"""Everything that is looked at for one board, in an order that disturbs nothing.

Logs are read before this host connects to the broker itself, so that its own attempt is not
taken for the board's. Bounded: `LIMIT_S` for the board, 3 s for the address (`served`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from keyfob_host.boards import BoardRef
from keyfob_host.doctor.board_look import look_at_board
from keyfob_host.doctor.broker_look import find_own, log_bytes, look_at_broker, with_clock
from keyfob_host.doctor.judge_certificates import find_certificate
from keyfob_host.doctor.served import look_at_served
from keyfob_host.doctor.sightings import BoardSight, BrokerSight, Served, Sightings
from keyfob_host.home import Home
from keyfob_host.virtual.network import BENCH_DOMAIN

LIMIT_S = 7.0  # with an address that does not answer it is 10 in all
_LOOPBACK = "127.0.0.1"


def look(
    ref: BoardRef,
    home: Home,
    *,
    reset: bool = False,
    read_files: bool = False,
    broker_log: Path | None = None,
    on_step: Callable[[str], None] = lambda _text: None,
) -> Sightings:
    """Look at ``ref`` and its broker. Errors: those of `open_board`, ``file.*`` of a log."""
    on_step(f"listening to {ref.name}, at most {LIMIT_S:g} s")
    board = look_at_board(ref, limit_s=LIMIT_S, reset=reset, read_files=read_files)
    return look_around(home, board, look_at_broker(home, broker_log), on_step=on_step)


def look_around(
    home: Home,
    board: BoardSight,
    broker: BrokerSight,
    *,
    on_step: Callable[[str], None] = lambda _text: None,
) -> Sightings:
    """With both ends looked at: the address between them, and the board's own certificate."""
    host, port = _address(board, broker)
    served, known_bytes = None, log_bytes(broker)
    if host:
        on_step(f"looking at {host}:{port}")
        here = _LOOPBACK if board.kind.virtual and _is_of_bench(host) else None
        # Not through the tap, whose events are the board's.
        past_tap = broker.own_port if port == broker.port and here else None
        served = look_at_served(host, port, here, past_tap)
        broker = with_clock(broker, known_bytes)
    own, intermediates = _own(home, board)
    return Sightings(
        now=datetime.now(timezone.utc), board=board, broker=_if_same(broker, served),
        served=served, own=own, intermediates=intermediates, host=host, port=port,
    )  # fmt: skip


def _address(board: BoardSight, broker: BrokerSight) -> tuple[str, int]:
    """Where the board connects: its settings, else what it told, else this bench's broker."""
    section: Any = board.files.settings.get("broker")
    if isinstance(section, dict) and isinstance(section.get("host"), str):
        return section["host"], int(section.get("port", 8883))
    up = board.last("mqtt.up")
    if up is not None:
        return str(up.get("host")), int(up.get("port", 8883))
    return (broker.name, broker.port) if broker.is_ours and broker.is_up else ("", 0)


def _own(home: Home, board: BoardSight) -> tuple[Any, tuple[Any, ...]]:
    loaded = board.last("store.loaded")
    here = find_own(home, str(loaded.get("cert"))) if loaded else None
    if here is not None:
        return here
    return find_certificate(board.files.cert), ()


def _if_same(broker: BrokerSight, served: Served | None) -> BrokerSight:
    """Without what is known of this bench's broker where the board is sent to another host."""
    if served is None or not broker.is_ours:
        return broker
    is_here = _is_of_bench(served.host) or served.host in (broker.name, "localhost", _LOOPBACK)
    return broker if is_here or served.port == broker.port else replace(BrokerSight())


def _is_of_bench(host: str) -> bool:
    return host.endswith(BENCH_DOMAIN)
