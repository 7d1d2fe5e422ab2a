"""What a device publishes, and what it does about a PUBACK that does not come.

MQTT 3.1.1 section 4.4 asks for a message to be sent again on the next connection only, and
leaves it open whether also on this one; 5.0 forbids that.
"""

from __future__ import annotations

import time

import pytest
from traffic import CONNECTS_S, LIMIT_S, first_publish

pytestmark = [pytest.mark.rung("traffic"), pytest.mark.timeout(900)]


def test_message_is_published_after_connecting(device, scripted, case) -> None:
    case.criterion("The device publishes a message once it is connected.")
    session = scripted.wait_session(CONNECTS_S)
    seen = first_publish(scripted)
    case.measure("CONNECT to first PUBLISH", [1000 * (seen.at_s - session.opened_s)], unit="ms")
    case.evidence("first message", str(seen))


def test_retained_message_is_published(device, scripted, case) -> None:
    case.criterion("The device publishes a message with the retain flag, such as its status.")
    scripted.wait_session(CONNECTS_S)
    seen = first_publish(scripted, lambda packet: packet.retain, "retained message")
    case.evidence("first retained message", str(seen))


def test_message_without_puback_is_sent_again(version, scripted, case) -> None:
    """Which, and how, depends on the protocol's version."""
    if version == 5:
        case.criterion(
            "A QoS 1 message without PUBACK is sent again with DUP and its packet identifier on "
            "the next connection, and never while this one stands (MQTT 5.0, MQTT-4.4.0-1)."
        )
    else:
        case.criterion(
            f"A QoS 1 message without PUBACK is sent again within {LIMIT_S:g} s, with DUP and its "
            "packet identifier: on this connection, or on the next after closing this one "
            "(MQTT 3.1.1, MQTT-4.4.0-1)."
        )
    scripted.withhold("PUBACK", times=1)
    scripted.mark()
    first = first_publish(scripted, lambda packet: packet.qos == 1, "message with QoS 1")
    case.evidence("without PUBACK", str(first))

    def is_again(packet) -> bool:
        # By its identifier: another message may well have the same topic and payload.
        return packet.packet_id == first.packet.packet_id and (
            packet.payload == first.packet.payload
        )

    again = scripted.find_packet("PUBLISH", is_again, LIMIT_S)
    was_cut = again is None
    if again is None:
        scripted.disconnect("cut")
        again = scripted.find_packet("PUBLISH", is_again, LIMIT_S)
    assert again is not None, (
        f"it was not sent again with packet identifier {first.packet.packet_id}, neither within "
        f"{LIMIT_S:g} s nor when the connection was cut then"
    )
    case.evidence("sent again", str(again))
    is_live = again.connection == first.connection
    where = "on the same connection" if is_live else "on another connection"
    case.measure("time until it was sent again", [again.at_s - first.at_s], unit="s", note=where)
    assert again.packet.dup, f"it was sent again {where} without the DUP flag (MQTT-3.3.1-1)"
    assert not (is_live and version == 5), (
        "it was sent again while the connection stood, which MQTT 5.0 forbids (MQTT-4.4.0-1)"
    )
    if was_cut and version == 4:
        case.warn(
            f"it waited for the PUBACK for more than {LIMIT_S:g} s, and sent the message again "
            "only when the connection was cut"
        )


def test_message_is_acknowledged_to_its_end(device, scripted, case) -> None:
    """At QoS 1 and 2: what a broker acknowledged is not sent again (section 4.3)."""
    case.criterion("A message that the broker acknowledged is not sent again after a reconnect.")
    scripted.wait_session(CONNECTS_S)
    first = first_publish(scripted, lambda packet: packet.qos == 1, "message with QoS 1")
    time.sleep(0.5)  # for the PUBACK to arrive
    scripted.disconnect("cut")
    scripted.wait_session(CONNECTS_S)
    again = scripted.find_packet(
        "PUBLISH", lambda packet: packet.dup and packet.packet_id == first.packet.packet_id, 5.0
    )
    assert again is None or again.packet.payload != first.packet.payload, (
        f"it was sent again although it was acknowledged: {again}"
    )
