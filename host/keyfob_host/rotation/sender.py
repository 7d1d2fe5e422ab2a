"""Bring one offer to one board, and wait for what comes of it.

The board tells its state after each message; where it stays silent, the last message is
sent again, which harms nothing. What a board that is off is sent waits at the broker, if
that keeps its session. Interrupted here, the same offer cannot go on (it is not kept); a
new one begins from its start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_bench import not_running
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.listeners import loopback_of
from keyfob_host.mqtt_host import HostClient, Message
from keyfob_host.pki import bench
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.state import BoardState, read_state

_STATE_WAIT_S = 2.0  # a retained message comes at once
_ANSWER_WAIT_S = 10.0
_SILENCE_S = 20.0
_SLICE_S = 2.0

OnStep = Callable[[str], None]


def bench_client(home: Home) -> HostClient:
    """A client of the bench's running broker, not connected yet. Errors: ``broker.down``."""
    broker = MosquittoBroker.attach(home.broker_dir)
    if broker is None:
        raise not_running()
    return HostClient(
        loopback_of(broker.host), broker.port, bench.host_dir(home),
        Path(broker.identity_dir) / "ca.pem", server_name=broker.identity_dir.name,
    )  # fmt: skip


def topic(device_id: str, name: str) -> str:
    """Of ``set``, ``state`` or ``request``."""
    return f"devices/{device_id}/identity/{name}"


def board_state(client: HostClient, device_id: str) -> BoardState:
    """What the board told last. Errors: ``rotate.no-state``."""
    client.subscribe(topic(device_id, "state"))
    client.subscribe(f"devices/{device_id}/status")
    try:
        return _next_state(client, device_id, _STATE_WAIT_S)
    except KeyfobHostError as error:
        if error.code != "broker.no-message":
            raise
    # A broker that was restarted may have forgotten it; a board that is connected tells it.
    client.publish(topic(device_id, "set"), b"state")
    try:
        return _next_state(client, device_id, _ANSWER_WAIT_S)
    except KeyfobHostError as error:
        if error.code != "broker.no-message":
            raise
        raise KeyfobHostError(
            "rotate.no-state",
            "the board has told nothing of its identity: it was never connected to this broker, "
            "or its firmware is older",
            evidence=f"no retained message on {topic(device_id, 'state')}",
            fix="keyfob sync, then keyfob monitor; "
            f"over the serial port: keyfob provision --identity {device_id}",
            status=ExitStatus.NETWORK,
        ) from None


def deliver(
    client: HostClient,
    delivery: Delivery,
    state: BoardState,
    *,
    limit_s: float,
    on_step: OnStep = lambda _text: None,
) -> None:
    """Send until the board is connected with it. ``state``: of `board_state`.

    Errors: those of `Delivery.next`, ``rotate.timeout``, ``broker.*``.
    """
    device_id = delivery.offer.device_id
    end = time.monotonic() + limit_s
    heard = time.monotonic()
    told = ""
    message = delivery.next(state, time.monotonic())
    while not delivery.is_committed:
        if message is not None:
            client.publish(topic(device_id, "set"), message)
        text = _progress(client, delivery, state)
        if text != told:
            on_step(f"  {text}")
            told = text
        message = None
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise _timeout(device_id, limit_s, told)
        try:
            state = _next_state(client, device_id, min(_SLICE_S, left_s))
        except KeyfobHostError as error:
            if error.code != "broker.no-message" or "connection ended" in error.evidence:
                raise
            if time.monotonic() - heard > _SILENCE_S:
                heard = time.monotonic()
                message = delivery.last
            continue
        heard = time.monotonic()
        message = delivery.next(state, time.monotonic())


def _next_state(client: HostClient, device_id: str, timeout_s: float) -> BoardState:
    found: list[BoardState] = []

    def take(message: Message) -> bool:
        state = read_state(message.payload)
        found.extend([state] if state is not None else [])
        return state is not None

    client.wait_message(topic(device_id, "state"), take, timeout_s)
    return found[-1]


def _progress(client: HostClient, delivery: Delivery, state: BoardState) -> str:
    total = delivery.total_bytes
    if state.todo == "finish" or delivery.sent_bytes == total:
        return "the board checks it, and tries to connect with it"
    if state.offer_s == delivery.offer.created_s:
        return f"{delivery.sent_bytes} of {total} bytes"
    return "offered; the board judges the signature"


def _timeout(device_id: str, limit_s: float, told: str) -> KeyfobHostError:
    return KeyfobHostError(
        "rotate.timeout",
        f"the board was not done within {limit_s:g} s; it keeps its identity until it is",
        evidence=f"{device_id}: last seen: {told}",
        fix="keyfob monitor, to see whether it is connected; then the same command again, "
        "with a longer --limit-s",
        status=ExitStatus.NETWORK,
    )
