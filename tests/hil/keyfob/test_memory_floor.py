"""A week's events in a row: what is free of the heap must not get less with them.

A week is taken for what happens in it and not for its hours: the broker restarts now and
then, commands come and are answered with readings, and certificates are replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from rotating import rotate

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(7200)]

# Of the heap. Its collector takes what looks like an address for one, so what is free differs
# from time to time; what each event leaves behind is more than that after so many.
TOLERANCE = 0.02
SELDOM = 6
WEEK = pytest.mark.long


@pytest.fixture
def lowest(board, broker) -> Callable[[int, int], int]:
    """``lowest(colour, times)``: the least heap that is free with each of so many commands, which
    a reading answers too; the colours of one test differ."""

    def send(colour: int, times: int) -> int:
        found = []
        topic = f"devices/{board.device_id}"
        broker.wait_subscribed(board.device_id)
        with broker.client() as client:
            for number in range(times):
                color = [colour, number // 256, number % 256]
                client.publish(f"{topic}/command", json.dumps({"color": color, "period_s": 1}))

                def answers(one, color=color) -> bool:
                    return not one.retain and json.loads(one.payload)["color"] == color

                state = client.wait_message(f"{topic}/state", answers)
                found.append(json.loads(state.payload)["free_bytes"])
        return min(found)

    return send


@pytest.fixture
def holds(board, case) -> Callable[[list[int]], None]:
    """``holds(free_bytes)``: the least of the last third is that of the first. One a connection."""

    def check(free_bytes: list[int]) -> None:
        case.measure("free heap", free_bytes, unit="bytes", note="the least of each connection")
        third = len(free_bytes) // 3
        first, last = min(free_bytes[:third]), min(free_bytes[-third:])
        case.evidence("low-water mark", f"first third {first} bytes, last third {last} bytes")
        assert last >= first - TOLERANCE * board.ref.kind.heap_bytes

    return check


@pytest.mark.parametrize(
    ("restarts", "commands"),
    [pytest.param(12, 4, id="short"), pytest.param(168, 60, id="week", marks=WEEK)],
)
def test_free_heap_does_not_fall_with_connections_and_commands(
    board, broker, case, lowest, holds, restarts, commands
) -> None:
    case.criterion(
        f"Over {restarts} connections and {restarts * commands} commands with their readings "
        "the least heap that was free in the last third is that of the first, within "
        f"{TOLERANCE:.0%} of the heap. A board of little memory may start again, having said "
        f"why, after one connection in {SELDOM}."
    )
    board.reset()
    board.connected()
    free_bytes = []
    for number in range(restarts):
        free_bytes.append(lowest(number, commands))
        broker.restart()
        board.wait_event("mqtt.up")
    resets = len(board.events("boot")) - 1
    told = [one for one in board.events("error") if one["code"] == "tls.no-memory"]
    assert resets <= len(told)
    assert resets <= restarts // SELDOM
    if resets:
        case.warn(f"it started again {resets} times, its heap being in pieces")
    holds(free_bytes)


@pytest.mark.parametrize("times", [3, pytest.param(21, id="week", marks=WEEK)])
def test_free_heap_does_not_fall_with_new_certificates(
    board, broker, ca, case, lowest, holds, times
) -> None:
    case.criterion(
        f"After each of {times} certificates sent over MQTT the board has as much free heap as "
        f"before, within {TOLERANCE:.0%} of the heap."
    )
    board.provision(board.identity)  # afterwards it has another certificate
    free_bytes = []
    for number in range(times):
        with broker.client() as client:
            rotate(board, client, ca.authority, ca.authority)
        board.wait_event("store.committed")
        board.connected()
        free_bytes.append(lowest(number, 4))
    holds(free_bytes)
