"""The keep alive: a device is heard within it, and notices when the broker is not."""

from __future__ import annotations

import time

import pytest
from traffic import CONNECTS_S

pytestmark = [pytest.mark.rung("mqtt"), pytest.mark.timeout(900)]
_LONGEST_S = 60  # more would have the case take minutes


def keep_alive_s(session) -> int:
    """What it connected with; 0 is none, and nothing to be tested."""
    found = session.connect.keepalive_s
    if not found:
        pytest.skip("it connects without a keep alive: neither side notices a dead connection")
    if found > _LONGEST_S:
        pytest.skip(f"its keep alive is {found} s; up to {_LONGEST_S} s are waited for")
    return found


def test_device_is_heard_within_its_keep_alive(device, scripted, case) -> None:
    case.criterion(
        "While the connection stands, the device is heard within 1.5 keep alive periods, after "
        "which a broker closes it (MQTT-3.1.2-24)."
    )
    session = scripted.wait_session(CONNECTS_S)
    period_s = keep_alive_s(session)
    scripted.look(lambda: None if session.is_open else True, 2 * period_s)
    assert session.is_open, f"the connection ended within 2 periods: {session.end}"
    times = [one.at_s for one in scripted.packets if one.connection == session.number]
    gaps = [
        later - sooner for sooner, later in zip(times, [*times[1:], time.monotonic()], strict=True)
    ]
    case.measure("time between packets", gaps, unit="s", note=f"keep alive of {period_s} s")
    assert max(gaps) <= 1.5 * period_s, (
        f"it said nothing for {max(gaps):.1f} s, with a keep alive of {period_s} s"
    )
    if max(gaps) > 1.1 * period_s:
        case.warn(f"it said nothing for {max(gaps):.1f} s, longer than its keep alive")


def test_connection_without_pingresp_is_closed(device, scripted, case) -> None:
    case.criterion(
        "A device that gets no PINGRESP closes the connection within 1.5 keep alive periods of "
        "its PINGREQ, and connects again."
    )
    session = scripted.wait_session(CONNECTS_S)
    period_s = keep_alive_s(session)
    # Nothing else is to tell it that somebody is there.
    for answer in ("PINGRESP", "PUBACK", "PUBREC", "SUBACK"):
        scripted.withhold(answer)
    scripted.mark()
    ping = scripted.look(
        lambda: next(iter(scripted.received("PINGREQ")), None) or (not session.is_open or None),
        2 * period_s + 5,
    )
    if ping is None:
        pytest.skip("it sends no PINGREQ: it always had something else to say, or it never pings")
    if ping is True:
        case.warn(f"it closed the connection before any PINGREQ: {session.end}")
    else:
        scripted.look(lambda: None if session.is_open else True, 3 * period_s)
        assert not session.is_open, (
            f"it took the connection for a good one for {3 * period_s} s after a PINGREQ that "
            "nobody answered"
        )
        waited_s = session.ended_s - ping.at_s
        case.measure(
            "PINGREQ to the end of the connection", [waited_s], unit="s",
            note=f"keep alive of {period_s} s",
        )  # fmt: skip
        if waited_s > 1.5 * period_s:
            case.warn(f"it closed only after {waited_s / period_s:.1f} keep alive periods")
    scripted.honest()
    scripted.wait_session(CONNECTS_S)
