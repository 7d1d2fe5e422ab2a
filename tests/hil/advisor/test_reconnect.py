"""How long a device waits before it connects again: jittered, exponential, linear or constant.

A fleet that lost its broker at one moment comes back at one moment where each device waits
as long as the others; so waits are to be random, and within bounds that grow
(`keyfob_host.hil.backoff_shape`). What is measured is the time from the end of one
connection to the beginning of the next, whoever ended it.
"""

from __future__ import annotations

import time

import pytest

from keyfob_host.hil.backoff_shape import MIN_WAITS, classify

pytestmark = [pytest.mark.rung("mqtt"), pytest.mark.timeout(1200)]

_ATTEMPTS, _ROUNDS = 5, 2
_LIMIT_S = 150.0  # for one attempt
_STAND_S = 3.0  # so long a session stands before it is ended: what failed before is forgotten
_PATIENCE_S = 0.3  # after that the broker ends a connection whose CONNACK it withholds
_MOST_ENDS = 10  # of an unstable connection
_LONG_ENOUGH_S = 60.0  # of waits, to see how they go on
_CRITERION = (
    "its waits before the next attempts are random within bounds that grow; a warning where "
    "they grow without being random, or are random without growing."
)


def test_waits_are_jittered_when_connack_is_withheld(device, scripted, case) -> None:
    case.criterion(f"The device gives up a connection without CONNACK by itself, and {_CRITERION}")
    given_up_s = _given_up(device, scripted)
    case.measure("given up without CONNACK after", [1000 * given_up_s], unit="ms")
    _judge(case, [_withheld_round(device, scripted, _PATIENCE_S) for _ in range(_ROUNDS)])


@pytest.mark.long
def test_waits_are_jittered_when_the_device_itself_gives_up(device, scripted, case) -> None:
    case.criterion(f"With nobody but the device ending connections without CONNACK, {_CRITERION}")
    _judge(case, [_withheld_round(device, scripted, None) for _ in range(_ROUNDS)])


def test_waits_are_jittered_after_the_server_disconnects(scripted, case) -> None:
    case.criterion(f"When the server ended the connection and takes no other one, {_CRITERION}")
    rounds = []
    for _ in range(_ROUNDS):
        _stand(scripted)
        rule = scripted.close("CONNECT", times=_ATTEMPTS - 1)
        scripted.mark()
        scripted.disconnect("disconnect")
        rounds.append(_waits(scripted, rule))
    _judge(case, rounds)


def test_waits_are_jittered_on_an_unstable_connection(scripted, case) -> None:
    case.criterion(f"When each connection ends just after its CONNACK, {_CRITERION}")
    _stand(scripted)
    rule = scripted.close("CONNECT", answered=True, after_s=_PATIENCE_S)
    scripted.mark()
    scripted.disconnect("disconnect")
    for count in range(1, _MOST_ENDS + 1):
        scripted.wait(
            lambda count=count: len(scripted.waits()) >= count or None, _LIMIT_S, "an attempt"
        )
        if _is_enough(_ms(scripted.waits())):
            break
    waits = _ms(scripted.waits())
    scripted.rules.remove(rule)
    _judge(case, [waits])


def _given_up(device, scripted) -> float:
    """Seconds until the device leaves a connection whose CONNACK does not come."""
    scripted.wait_session(_LIMIT_S)
    scripted.withhold("CONNACK", times=1)
    scripted.mark()
    device.restart()
    connect = scripted.wait_packet("CONNECT", timeout_s=_LIMIT_S)
    connection = scripted.connections[connect.connection - 1]
    scripted.look(lambda: None if connection.is_open else True, _LIMIT_S)
    assert not connection.is_open, f"it still waited for its CONNACK after {_LIMIT_S:g} s"
    return connection.ended_s - connect.at_s


def _withheld_round(device, scripted, patience_s: float | None) -> list[float]:
    """The waits after each of five connections without CONNACK, in ms."""
    _stand(scripted)
    rule = scripted.withhold("CONNACK", times=_ATTEMPTS)
    if patience_s is not None:
        scripted.close("CONNECT", times=_ATTEMPTS, answered=True, after_s=patience_s)
    scripted.mark()
    device.restart()
    waits = _waits(scripted, rule)
    return waits[-_ATTEMPTS:]  # before them may be how long the restart took


def _stand(scripted) -> None:
    """The device is connected, and has been for a while."""
    while True:
        session = scripted.wait_session(_LIMIT_S)
        left_s = session.opened_s + _STAND_S - time.monotonic()
        if scripted.look(lambda one=session: None if one.is_open else True, left_s) is None:
            return


def _waits(scripted, rule) -> list[float]:
    """Those since the mark, once ``rule`` is over and the device was let in again."""
    while not rule.is_over:
        scripted.wait_packet("CONNECT", timeout_s=_LIMIT_S)
    scripted.wait_session(_LIMIT_S)
    return _ms(scripted.waits())


def _ms(waits_s) -> list[float]:
    return [1000 * wait for wait in waits_s]


def _is_enough(waits) -> bool:
    """Whether more of an unstable connection's waits would tell nothing new."""
    if len(waits) < MIN_WAITS:
        return False
    found = classify([waits])
    if found.shape == "jittered" and found.grows:
        return True
    return sum(waits) > 1000 * _LONG_ENOUGH_S and found.shape in ("jittered", "exponential")


def _judge(case, rounds) -> None:
    found = classify(rounds)
    for number, waits in enumerate(rounds, 1):
        name = "waits before attempts" + (f", round {number}" if len(rounds) > 1 else "")
        case.measure(name, waits, unit="ms", note=found.shape)
    case.evidence("waits", found.text)
    assert found.shape in ("jittered", "exponential"), f"they are {found.shape}: {found.text}"
    if found.shape == "exponential":
        case.warn(
            f"they are exponential without any chance, so a fleet stays in step: {found.text}"
        )
    elif found.grows is False:
        case.warn(f"they are random, but do not grow: {found.text}")
