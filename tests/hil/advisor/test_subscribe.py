"""Subscriptions, and what a device does about a SUBACK that does not come.

A subscription that was never acknowledged may not exist: a device that waits for its SUBACK
for ever is never sent a command. MQTT itself has no rule here.
"""

from __future__ import annotations

import pytest
from traffic import CONNECTS_S, LIMIT_S, command_topic, deliver, harmless, subscribed, warn_of_ends

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(900)]


def test_topics_are_subscribed_to(device, scripted, case) -> None:
    case.criterion("The device subscribes to a topic filter and goes on when that is granted.")
    session = scripted.wait_session(CONNECTS_S)
    seen = subscribed(device, scripted)
    case.evidence("first SUBSCRIBE", str(seen))
    assert session.is_open, f"the connection ended after it: {session.end}"


def test_message_of_a_subscription_is_acknowledged(device, scripted, case) -> None:
    case.criterion("A QoS 1 message of a subscription is acknowledged with its packet identifier.")
    scripted.wait_session(CONNECTS_S)
    topic = command_topic(device, scripted)
    done = deliver(scripted, topic, harmless(64))
    assert done.answer, f"it was not acknowledged within {LIMIT_S:g} s"
    warn_of_ends(done, "it", case)


def test_subscription_without_suback_is_asked_for_again(device, scripted, case) -> None:
    case.criterion(
        f"A SUBSCRIBE without SUBACK is sent again within {LIMIT_S:g} s: with its packet "
        "identifier on this connection, or on the next after closing this one."
    )
    scripted.withhold("SUBACK", times=1)
    scripted.session_present = False  # a subscription that was never granted is not kept
    device.restart()
    scripted.wait_session(CONNECTS_S)
    first = subscribed(device, scripted)
    case.evidence("without SUBACK", str(first))
    wanted = {topic_filter for topic_filter, _ in first.packet.filters}

    def is_again(packet) -> bool:
        return wanted <= {topic_filter for topic_filter, _ in packet.filters}

    again = scripted.find_packet("SUBSCRIBE", is_again, LIMIT_S)
    assert again is not None, (
        f"it waited for its SUBACK for more than {LIMIT_S:g} s, without its subscription"
    )
    case.evidence("asked for again", str(again))
    is_live = again.connection == first.connection
    where = "on the same connection" if is_live else "on another connection"
    case.measure("time until it asked again", [again.at_s - first.at_s], unit="s", note=where)
    if is_live and again.packet.packet_id != first.packet.packet_id:
        case.warn(
            f"it asked again with packet identifier {again.packet.packet_id}, not "
            f"{first.packet.packet_id}"
        )
