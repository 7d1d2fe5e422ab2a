"""Resets one upon the other, at any moment of a start: the board comes back, its files whole."""

from __future__ import annotations

import random
import time

import pytest

from keyfob_host.transport.files import hashes

pytestmark = [pytest.mark.rung("firmware"), pytest.mark.timeout(1800)]

# Of a start, which on a chip takes seconds; a reset in the middle of a write is none of these.
LONGEST_S = 1.2
FILES = ["/keyfob.json", "/id/active", "/id/a/manifest.json", "/id/b/manifest.json", "/main.py"]


@pytest.mark.parametrize(
    "count", [8, pytest.param(200, marks=pytest.mark.long)], ids=["a-few", "many"]
)
def test_resets_in_quick_succession_break_nothing(board, broker, case, count) -> None:
    case.criterion(
        "After resets at random moments the board starts by itself, connects with the identity "
        "that it had, and no file has changed."
    )
    with board.repl() as repl:
        before = hashes(repl, FILES)
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    waits = [draw.uniform(0, LONGEST_S) for _ in range(count)]
    case.measure("waits between resets", [1000 * wait for wait in waits], unit="ms")
    case.evidence("random seed", str(seed))
    for wait_s in waits:
        board.reset()
        time.sleep(wait_s)
    board.reset()
    broker.mark()
    assert board.wait_event("store.loaded")["cert"] == board.fingerprint()
    board.wait_event("mqtt.up")
    broker.wait_log(f"New client connected from .* as {board.device_id} ")
    with board.repl() as repl:
        assert hashes(repl, FILES) == before
