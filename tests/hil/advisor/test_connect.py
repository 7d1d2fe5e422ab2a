"""The first words of a session: CONNECT, and what the device makes of a refusal."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.rung("mqtt"), pytest.mark.timeout(600)]
_PROMPT_S = 10.0  # from TLS to CONNECT
_LIMIT_S = 150.0  # a device that was refused may back off for minutes
# Server unavailable: a return code of 3.1.1, a reason code of 5.0.
_UNAVAILABLE = {4: 3, 5: 0x88}


def test_well_formed_connect_is_sent(scripted, case) -> None:
    case.criterion(
        f"The device sends a well-formed CONNECT, its first packet, within {_PROMPT_S:g} s of "
        "connecting, and stays once it is accepted."
    )
    seen = scripted.wait_packet("CONNECT")
    connection = scripted.connections[seen.connection - 1]
    case.evidence("CONNECT", _described(seen.packet))
    took_s = seen.at_s - connection.opened_s
    case.measure("TCP to CONNECT", [1000 * took_s], unit="ms")
    assert took_s <= _PROMPT_S, f"it took {took_s:.1f} s"
    scripted.look(lambda: connection if not connection.is_open else None, 2.0)
    assert connection.is_open, f"it did not stay: {connection.end}"
    if not seen.packet.keepalive_s:
        case.warn("it asks for no keep alive (0): a connection that is dead may not be noticed")
    if not seen.packet.client_id:
        case.warn("it has no client identifier of its own, so it cannot have a session")


def test_refusal_for_now_is_tried_again(scripted, case) -> None:
    case.criterion(
        "After a CONNACK that says the server is unavailable the device tries again by itself, "
        "and not at once."
    )
    session = scripted.wait_session()
    rule = scripted.refuse("CONNACK", _UNAVAILABLE[session.version], times=2)
    scripted.disconnect("cut")
    scripted.mark()
    scripted.wait(lambda: rule.is_over or None, _LIMIT_S, "a second attempt after a refusal")
    scripted.wait_session(_LIMIT_S)
    waits = scripted.waits()
    case.measure("waits before attempts", [1000 * wait for wait in waits], unit="ms")
    assert max(waits) > 0.01, "it tried again without any wait"


def _described(connect) -> str:
    will = connect.will
    lines = [
        str(connect),
        f"user name {connect.username!r}, password: {'yes' if connect.has_password else 'no'}",
        f"will on {will.topic!r}, QoS {will.qos}, retain {will.retain}" if will else "no will",
    ]
    return "\n".join(lines)
