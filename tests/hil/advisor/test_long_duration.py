"""A device over a longer time: a link that comes and goes, a server that is long away.

As long as ``KEYFOB_LONG_S`` says (seconds; 600 without it), and in a short form of half a
minute that is run with the others. Breaks and their lengths are drawn by a seed, so that a
run can be had again.
"""

from __future__ import annotations

import os
import random
import re
import time
from itertools import pairwise

import pytest

from keyfob_host.hil.backoff_shape import MIN_WAITS, classify
from keyfob_host.relay import Fault

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(0)]

_SEED = 1
_SHORT_S = 20.0
_LONG_S = float(os.environ.get("KEYFOB_LONG_S", "600"))
# The longest a device that backs off may sleep when the server is back, and connect.
_BACK_S = 300.0
_QUICK_S = 60.0  # after a short break
_STAND_S, _BREAK_S = (2.0, 6.0), (0.5, 4.0)
_KINDS = ("cut", "stall", "half-close")
_POLL_S = 0.05
_GROWING = 10  # of the waits: those after them are at a device's limit, and grow no more
_SAME_ATTEMPT_S = 0.05  # one attempt may open several connections: another address, once more


def test_short_breaks_of_the_link_are_outlived(device, broker, case) -> None:
    _outlive_breaks(device, broker, case, _SHORT_S)


@pytest.mark.long
def test_intermittent_connectivity_is_outlived(device, broker, case) -> None:
    _outlive_breaks(device, broker, case, _LONG_S)


@pytest.mark.long
def test_long_absence_of_the_server_is_outlived(device, broker, case) -> None:
    case.criterion(
        f"The device looks for a server that is away, ever less often, and is back within "
        f"{_BACK_S:g} s of the server's return."
    )
    _connect(device, broker)
    known = broker.tap.connections[-1].number
    broker.stop()
    time.sleep(_LONG_S)
    seen = [one for one in broker.tap.connections if one.number > known]
    waits = [after.opened_s - before.opened_s for before, after in pairwise(seen)]
    waits = [wait for wait in waits if wait > _SAME_ATTEMPT_S]
    first = [1000 * wait for wait in waits[:_GROWING]]
    found = classify([first]) if len(waits) >= MIN_WAITS else None
    note = found.text if found else "too few to tell their shape"
    case.measure("waits between attempts", waits, unit="s", note=note)
    accepted = _accepted(device, broker)
    broker.start()
    took_s = _wait_back(device, broker, accepted, _BACK_S)
    _summary(case, _LONG_S, [took_s], f"{len(waits) + 1} attempts while the server was away")
    if found and found.grows is False:
        case.warn(f"it looked as often at the end as in the beginning: {found.text}")


def _outlive_breaks(device, broker, case, duration_s: float) -> None:
    case.criterion(
        f"Over {duration_s:g} s in which the link is cut, stalls and is closed by halves, the "
        f"device is back within {_QUICK_S:g} s after each break."
    )
    draw = random.Random(_SEED)
    _connect(device, broker)
    backs, breaks, end = [], [], time.monotonic() + duration_s
    while time.monotonic() < end:
        time.sleep(draw.uniform(*_STAND_S))
        kind, length_s = draw.choice(_KINDS), draw.uniform(*_BREAK_S)
        accepted = _accepted(device, broker)
        broker.relay.fail(Fault(kind))
        time.sleep(length_s)
        broker.relay.clear()
        breaks.append(f"{kind} for {length_s:.1f} s")
        # A stall that was short enough is outlived without a new connection.
        if kind != "stall":
            backs.append(_wait_back(device, broker, accepted, _QUICK_S))
            breaks[-1] += f", back after {backs[-1]:.1f} s"
    _summary(case, duration_s, backs, "\n".join(breaks))


def _connect(device, broker) -> None:
    accepted = _accepted(device, broker)
    device.restart()
    broker.relay.cut()
    _wait_back(device, broker, accepted, _QUICK_S)


def _accepted(device, broker) -> int:
    """How many sessions of the device's mosquitto has begun."""
    name = re.escape(device.name) if device.name else r"\S+"
    return len(re.findall(f"New client connected from .* as {name} ", broker.log()))


def _wait_back(device, broker, accepted: int, limit_s: float) -> float:
    """Seconds until the device is connected again."""
    began = time.monotonic()
    while _accepted(device, broker) <= accepted:
        assert time.monotonic() < began + limit_s, f"it did not come back within {limit_s:g} s"
        time.sleep(_POLL_S)
    return time.monotonic() - began


def _summary(case, duration_s: float, backs, text: str) -> None:
    case.measure("time until it was back", backs, unit="s")
    case.evidence("summary", f"{duration_s:g} s, {len(backs)} times back\n{text}")
